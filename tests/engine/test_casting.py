"""Half precision against NumPy: what is cast, what is not, and how the loss scale moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.engine.precision import (
    GROWTH_INTERVAL,
    LARGEST_SCALE,
    LossScale,
    cast,
    cast_inputs,
    cast_like,
    widened,
)

TREE = {
    "real": jnp.linspace(-3, 3, 7),
    "half": jnp.ones(2, jnp.bfloat16),
    "complex": jnp.ones(2, jnp.complex64),
    "count": jnp.arange(3),
    "flag": jnp.array([True]),
    "key": jax.random.key(0),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_real_numbers_are_cast_and_nothing_else(precision):
    found = cast(TREE, precision)
    for name, leaf in TREE.items():
        real = name in ("real", "half") and precision != "float32"
        assert found[name].dtype == (jnp.dtype(precision) if real else leaf.dtype)
    if precision == "float16":
        assert np.array_equal(found["real"], np.linspace(-3, 3, 7, dtype="f4").astype("f2"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_targets_are_never_cast(precision):
    x, y = jnp.ones(2), jnp.full(2, 70000.0)  # more than float16 holds
    assert [a.dtype.name for a in cast_inputs((x, y), precision, None)] == [precision, "float32"]
    named = cast_inputs({"x": x, "y": y}, precision, lambda batch: batch["x"])
    assert (named["x"].dtype.name, named["y"].dtype.name) == (precision, "float32")
    alone = cast_inputs({"x": x, "y": y}, precision, None)
    assert {a.dtype.name for a in alone.values()} == {"float32"}


def test_sums_are_made_in_float32_at_least():
    for dtype, expected in [
        ("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32"),
        ("int8", "float32"), ("bool", "float32"), ("complex64", "complex64"),
    ]:  # fmt: skip
        assert widened(jnp.ones(2, dtype)).dtype.name == expected
    back = cast_like({"w": jnp.ones(2)}, {"w": jnp.ones(2, jnp.bfloat16)})
    assert back["w"].dtype == jnp.bfloat16


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3 * GROWTH_INTERVAL)), max_size=8))
def test_the_loss_scale_doubles_after_good_steps_and_halves_after_a_bad_one(runs):
    """Against a loop by hand; runs of one kind of step at a time."""
    step = jax.jit(lambda scale, finite: scale.after(finite))
    found, factor, good = LossScale.first(), float(LossScale.first().factor), 0
    for finite, count in runs:
        for _ in range(count if finite else min(count, 20)):
            found = step(found, jnp.bool(finite))
            if not finite:
                factor, good = max(factor / 2, 1.0), 0
            elif good + 1 >= GROWTH_INTERVAL:
                factor, good = min(factor * 2, LARGEST_SCALE), 0
            else:
                good += 1
        assert (float(found.factor), int(found.good_steps)) == (factor, good)
