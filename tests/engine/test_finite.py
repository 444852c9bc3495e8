"""The check of updates for NaN and infinity agrees with NumPy, wherever the bad value is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.engine.turn import _finite

finite = jax.jit(_finite)
SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4), (33, 64), (0, 4)]


@given(
    st.sampled_from(SHAPES),
    st.sampled_from(["float32", "bfloat16", "float16"]),
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 1.0, 0.0, -3.0]), max_size=3),
    st.integers(0, 10**6),
)
def test_agrees_with_numpy(shape, dtype, values, place):
    array = np.ones(shape, np.float32)
    for number, value in enumerate(values):
        if array.size:
            array.flat[(place + number) % array.size] = value
    tree = {"good": jnp.ones(3), "other": jnp.asarray(array).astype(dtype)}
    assert bool(finite(tree)) == bool(np.isfinite(array).all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_largest_finite_values_do_not_overflow(dtype):
    largest = jnp.full((1000, 1000), jnp.finfo(dtype).max, dtype)
    assert bool(finite(largest))
    assert bool(finite(-largest))


def test_nothing_is_finite():
    assert bool(finite({}))
