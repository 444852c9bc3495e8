"""Purification: the density rises, the radius holds, and Gibbs draws from the conditional."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from etude.systems.born_machine.attacks import pgd
from etude.systems.born_machine.config_attacks import PurificationConfig
from etude.systems.born_machine.purification import (
    detection_rates,
    detection_thresholds,
    purify,
    purify_by_gibbs,
    purify_by_likelihood,
)

sys.path.insert(0, str(Path(__file__).parent))
from born_toy import machine, sampler

KEY = jax.random.key(8)
DOMAIN = (-1.0, 1.0)
TOY = machine()
NORMS = ("linf", "l2")


def length(offset, norm):
    offset = np.asarray(offset, float)
    return np.abs(offset).max(axis=1) if norm == "linf" else np.linalg.norm(offset, axis=1)


LIKELIHOOD = {
    norm: jax.jit(partial(purify_by_likelihood, TOY.log_marginal, domain=DOMAIN, norm=norm))
    for norm in NORMS
}
GIBBS = {
    norm: jax.jit(
        partial(purify_by_gibbs, TOY.log_marginal, domain=DOMAIN, norm=norm, sweeps=3, num_bins=20)
    )
    for norm in NORMS
}


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=15)
@given(radius=st.floats(0, 1.5), seed=st.integers(0, 50))
def test_both_stay_within_the_radius_and_the_domain(norm, radius, seed):
    x = jax.random.uniform(jax.random.key(seed), (25, 2), minval=-1, maxval=1)
    ascended = LIKELIHOOD[norm](x, radius=jnp.asarray(radius))
    drawn = GIBBS[norm](x, jax.random.key(seed), radius=jnp.asarray(radius))
    for moved in (ascended, drawn):
        assert length(moved - x, norm).max() <= radius * (1 + 1e-4) + 1e-5
        assert np.abs(moved).max() <= 1 + 1e-6
    assert np.all(TOY.log_marginal(ascended) >= TOY.log_marginal(x) - 1e-5)


def test_ascent_reaches_the_nearest_mode_or_the_edge_of_the_ball():
    x = jnp.array([[0.9, 0.2], [0.6, 0.2]])
    moved = purify_by_likelihood(
        machine(priors=(1e-6, 1.0)).log_marginal, x, radius=0.2, domain=DOMAIN, norm="l2",
        num_steps=60,
    )  # fmt: skip
    np.testing.assert_allclose(moved, [[0.7, 0.2], [0.5, 0.2]], atol=0.01)


def test_gibbs_draws_from_the_conditional():
    """One visit of one site, against the conditional density of a mixture, by its CDF."""
    x = jnp.broadcast_to(jnp.array([[0.1, -0.2]]), (4000, 2))
    only_first = jax.jit(
        lambda x: purify_by_gibbs(
            lambda v: TOY.log_marginal(jnp.stack([v[:, 0], x[:, 1]], axis=1)),
            x, KEY, radius=5.0, domain=DOMAIN, num_bins=100,
        )
    )  # fmt: skip
    drawn = np.asarray(only_first(x))[:, 0]
    axis = np.linspace(-1, 1, 4001)
    grid = jnp.stack([jnp.float32(axis), jnp.full(4001, -0.2, jnp.float32)], axis=1)
    density = np.exp(np.asarray(TOY.log_marginal(grid), float))
    cdf = np.cumsum(density) / np.sum(density)
    assert stats.kstest(drawn, lambda v: np.interp(v, axis, cdf)).pvalue > 1e-3


def test_gibbs_leaves_the_density_invariant():
    """Samples of p remain samples of p where radius and domain do not cut."""
    toy = machine(std=0.15)
    parts = [sampler(toy, jax.random.key(c), c, n) for c, n in ((0, 900), (1, 2100))]
    x = jnp.concatenate(parts)
    moved = jax.jit(
        lambda x: purify_by_gibbs(toy.log_marginal, x, KEY, radius=4.0, domain=DOMAIN, sweeps=2)
    )(x)
    for site in range(2):
        assert stats.ks_2samp(np.asarray(x)[:, site], np.asarray(moved)[:, site]).pvalue > 1e-3
    assert np.abs(moved - x).max() > 0.1


def test_purification_undoes_an_attack():
    x = sampler(TOY, KEY, 0, 300)
    labels = jnp.zeros(300, jnp.int32)
    attacked = jax.jit(partial(pgd, TOY.log_weights, epsilon=0.45, domain=DOMAIN))(x, labels)
    purified = LIKELIHOOD["linf"](attacked, radius=0.45)
    assert TOY.log_marginal(purified).mean() > TOY.log_marginal(attacked).mean() + 0.5


def test_a_configuration_names_method_radius_and_units():
    """A tenth of the range is 0.2 here; a seed's norm keeps its name."""
    x = jnp.array([[0.9, -0.9], [-0.9, 0.9]])
    given = {"norm": 2, "method": "gibbs", "num_bins": 10, "sweeps": 2}
    for config in (PurificationConfig(), PurificationConfig.model_validate(given)):
        moved = jax.jit(
            partial(purify, config, TOY.log_marginal, radius=0.1, domain=DOMAIN)
        )(x, KEY)  # fmt: skip
        reached = length(moved - x, config.norm)
        assert np.all((reached > 0.02) & (reached < 0.2001))
    absolute = PurificationConfig(units="absolute")
    moved = jax.jit(partial(purify, absolute, TOY.log_marginal, radius=0.1, domain=DOMAIN))(x, KEY)
    np.testing.assert_allclose(length(moved - x, "linf"), 0.1, rtol=1e-4)


def test_detection_finds_what_is_unlikely_at_the_stated_false_alarms():
    random = np.random.default_rng(0)
    clean, more = random.normal(size=5000), random.normal(size=20_000)
    thresholds = detection_thresholds(clean)
    for percent, threshold in thresholds.items():
        assert threshold == pytest.approx(stats.norm.ppf(percent / 100), abs=0.1)
    rates = detection_rates(clean, more)
    for percent, rate in rates.items():
        assert rate == pytest.approx(percent / 100, abs=0.015)
    shifted = detection_rates(clean, more - 2)
    assert shifted[5] == pytest.approx(stats.norm.cdf(stats.norm.ppf(0.05) + 2), abs=0.03)


def test_refuses_with_the_cure():
    x = jnp.zeros((1, 2))
    with pytest.raises(ValueError, match="expected 0 or more"):
        purify_by_gibbs(TOY.log_marginal, x, KEY, radius=-1.0, domain=DOMAIN)
    with pytest.raises(ValueError, match="expected 1 or more of each"):
        purify_by_gibbs(TOY.log_marginal, x, KEY, radius=1.0, domain=DOMAIN, sweeps=0)
