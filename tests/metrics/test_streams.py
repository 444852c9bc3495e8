"""Mean and variance against NumPy in float64, however the stream is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.metrics import Mean, Variance

cuts = st.tuples(st.integers(0, 10**6), st.sampled_from([0, 5, 12]))


@given(cuts, st.sampled_from([0.0, 1e4]))
def test_uneven_parts_equal_one_pass(case, offset):
    seed, cut = case
    rng = np.random.default_rng(seed)
    x = rng.normal(offset, 2, 12).astype(np.float32)
    w = (rng.uniform(0, 3, 12) * (rng.random(12) < 0.7)).astype(np.float32)
    w[0] = 1
    x[w == 0] = np.nan  # what does not count may be anything
    kept = x[w > 0].astype(np.float64)
    expected = np.average(kept, weights=w[w > 0])
    spread = np.average((kept - expected) ** 2, weights=w[w > 0])
    mean, variance = (
        kind.empty()
        .update(jnp.asarray(x[:cut]), jnp.asarray(w[:cut]))
        .merge(kind.empty().update(jnp.asarray(x[cut:]), jnp.asarray(w[cut:])))
        .compute()
        for kind in (Mean, Variance)
    )
    np.testing.assert_allclose(mean, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, spread, rtol=1e-3, atol=1e-6)


def test_a_masked_integer_mean():
    values, mask = jnp.array([1, 2, 30]), jnp.array([True, True, False])
    assert Mean.of(values, mask).compute() == 1.5


@pytest.mark.parametrize("kind", [Mean, Variance])
def test_nothing_counted_is_nan_and_a_neutral_element(kind):
    assert jnp.isnan(kind.empty().compute())
    some = kind.empty().update(jnp.array([1.0, 4.0]))
    for merged in (some.merge(kind.empty()), kind.empty().merge(some)):
        assert merged.compute() == some.compute()


def test_sums_do_not_stall_beyond_float32_also_when_compiled():
    """2**24 ones and then 3000 twos, one at a time: plain float32 would add each 2 as 2 but
    count no sample more."""
    start = Mean(jnp.array([2.0**24, 0.0]), jnp.array([2.0**24, 0.0]))

    @jax.jit
    def run(mean):
        step = Mean.of(jnp.array([2.0]))
        return jax.lax.fori_loop(0, 3000, lambda _, m: m.merge(step), mean)

    end = run(start)
    assert np.asarray(end.weight, np.float64).sum() == 2**24 + 3000
    assert np.asarray(end.total, np.float64).sum() == 2**24 + 6000


def test_many_small_merges_keep_the_variance():
    x = np.random.default_rng(0).normal(1e3, 1, 20_000).astype(np.float32)

    def step(state, value):
        return state.update(value), None

    state, _ = jax.lax.scan(step, Variance.empty(), jnp.asarray(x))
    np.testing.assert_allclose(state.compute(), x.astype(np.float64).var(), rtol=1e-5)
