"""Likelihoods in closed form, distances against SciPy and by what they can tell apart."""

import sys
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import linalg, stats
from scipy.spatial import distance
from sklearn.datasets import make_circles

from etude.systems.born_machine.metrics import (
    Moments,
    frechet_distance,
    likelihoods,
    maximum_mean_discrepancy,
    median_distance,
    sliced_wasserstein,
)

sys.path.insert(0, str(Path(__file__).parent))
from born_toy import machine

KEY = jax.random.key(5)


def test_likelihoods_are_those_of_the_normal_densities():
    toy = machine()
    x = jax.random.uniform(KEY, (40, 2), minval=-1, maxval=1)
    labels = jax.random.randint(KEY, (40,), 0, 2)
    found = likelihoods(toy, x, labels)
    conditional = np.stack(
        [stats.multivariate_normal(mean, 0.25**2 * np.eye(2)).logpdf(x) for mean in toy.means],
        axis=1,
    )
    joint = conditional + np.log([0.3, 0.7])
    rows = np.arange(40), np.asarray(labels)
    posterior = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(found["nll"], -conditional[rows], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["genloss"], -joint[rows], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["clsloss"], -posterior[rows], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["acc"], joint.argmax(axis=1) == rows[1])


def test_a_density_has_no_floor():
    """The original clamped |psi|^2 at 1e-8: a constant loss with a gradient of exactly zero."""
    toy, x, labels = machine(), jnp.array([[0.99, -0.99]]), jnp.array([0])

    def loss(means):
        moved = eqx.tree_at(lambda m: m.means, toy, means)
        return likelihoods(moved, x, labels)["nll"].sum()

    assert loss(toy.means) > -np.log(1e-8)
    assert np.abs(jax.grad(loss)(toy.means)[0]).min() > 1


def covariance(entries):
    a = np.asarray(entries).reshape(3, 3)
    return a @ a.T


@settings(max_examples=20)
@given(st.lists(st.floats(-2, 2), min_size=24, max_size=24))
def test_frechet_against_scipy_sqrtm(entries):
    a = Moments(np.asarray(entries[:3]), covariance(entries[6:15]) + 1e-3 * np.eye(3))
    b = Moments(np.asarray(entries[3:6]), covariance(entries[15:]) + 1e-3 * np.eye(3))
    cross = linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * cross)
    assert frechet_distance(a, b) == pytest.approx(float(np.real(expected)), abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), abs=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_frechet_of_singular_covariances():
    """More sites than samples: pixels that are always blank, few generated pictures."""
    x = np.random.default_rng(0).normal(size=(5, 30)) * (np.arange(30) > 3)
    y = x + 1.0
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(30)


def test_moments_are_numpys():
    x = np.random.default_rng(0).normal(size=(50, 3))
    np.testing.assert_allclose(Moments.of(x).covariance, np.cov(x.T))
    with pytest.raises(ValueError, match="needs two or more"):
        Moments.of(x[:1])


def test_mmd_against_the_sums_of_its_definition():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(7, 3)), random.normal(size=(5, 3)) + 0.5

    def kernel(a, b):
        squares = np.sum((a - b) ** 2)
        return np.mean([np.exp(-squares / (2 * (0.8 * width) ** 2)) for width in (1.0, 0.25)])

    def between(p, q, same):
        pairs = [
            kernel(a, b) for i, a in enumerate(p) for j, b in enumerate(q) if not same or i != j
        ]
        return np.mean(pairs)

    expected = between(x, x, True) + between(y, y, True) - 2 * between(x, y, False)
    found = maximum_mean_discrepancy(jnp.float32(x), jnp.float32(y), 0.8, (1.0, 0.25))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    both = np.concatenate([x, y])
    median = np.median(distance.pdist(both))
    np.testing.assert_allclose(median_distance(jnp.float32(x), jnp.float32(y)), median, rtol=1e-5)


def test_mmd_is_unbiased():
    """Zero on average where the distributions are equal; the biased one is always positive."""
    keys = jax.random.split(KEY, 400)

    def trial(key):
        first, second = jax.random.split(key)
        x, y = jax.random.normal(first, (10, 2)), jax.random.normal(second, (10, 2))
        return maximum_mean_discrepancy(x, y, 1.0)

    found = np.asarray(jax.jit(jax.vmap(trial))(keys))
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(len(found))
    assert found.min() < 0


def test_circles_and_a_blob_of_their_covariance():
    """The original's distance sees two moments, and so cannot tell these apart.

    Neither can a kernel as wide as the median distance; those beside it can.
    """
    circles, _ = make_circles(1200, noise=0.05, factor=0.3, random_state=0)
    moments = Moments.of(circles)
    random = np.random.default_rng(1)
    blob = random.multivariate_normal(moments.mean, moments.covariance, 600)
    # Exactly the covariance of the circles.
    blob = blob - blob.mean(axis=0)
    blob = blob @ np.linalg.inv(linalg.sqrtm(np.cov(blob.T))) @ linalg.sqrtm(moments.covariance)
    blob = blob + moments.mean
    assert frechet_distance(moments, Moments.of(blob)) < 1e-8
    first, second, blob = (
        jnp.asarray(x, jnp.float32) for x in (circles[:600], circles[600:], blob)
    )
    mmd, swd = jax.jit(maximum_mean_discrepancy), jax.jit(sliced_wasserstein)
    assert mmd(first, blob) > 10 * max(abs(mmd(first, second)), 1e-4)
    wide = jax.jit(partial(maximum_mean_discrepancy, widths=(1.0,)))
    assert mmd(first, blob) > 10 * abs(wide(first, blob))
    assert swd(first, blob, KEY) > 1.5 * swd(first, second, KEY)


@settings(max_examples=20)
@given(n=st.sampled_from([3, 4, 6]), m=st.sampled_from([2, 4, 9]), seed=st.integers(0, 1000))
def test_sliced_wasserstein_in_one_dimension_is_scipys(n, m, seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(n, 1)), random.normal(size=(m, 1)) + 1
    expected = stats.wasserstein_distance(x[:, 0], y[:, 0])
    found = sliced_wasserstein(jnp.float32(x), jnp.float32(y), KEY, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_sliced_wasserstein_of_a_shift():
    """Every projection moves by the shift along it: E|cos| = 2/pi of its length in the plane."""
    x = jax.random.normal(KEY, (200, 2))
    found = sliced_wasserstein(x, x + jnp.array([3.0, 4.0]), KEY, 4000)
    np.testing.assert_allclose(found, 5 * 2 / np.pi, rtol=0.03)


@pytest.mark.parametrize(
    "loss", [maximum_mean_discrepancy, lambda x, y: sliced_wasserstein(x, y, KEY)]
)
def test_distances_have_the_gradient_of_finite_differences(loss):
    x, y = jax.random.normal(KEY, (6, 2)), jax.random.normal(jax.random.key(1), (8, 2)) + 1
    direction = jax.random.normal(jax.random.key(2), (6, 2))
    width = {} if loss is not maximum_mean_discrepancy else {"bandwidth": 1.5}
    slope = jnp.sum(jax.grad(lambda x: loss(x, y, **width))(x) * direction)
    step = 1e-2
    ends = [loss(x + s * step * direction, y, **width) for s in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=0.03, atol=1e-4)
