"""Densities in the plane: normalised, sampled as they say, and of the entropy that they state."""

import jax
import numpy as np
import pytest
from sklearn.datasets import make_moons

import etude as et
from etude.systems.generative.densities import (
    DENSITIES,
    Checkerboard,
    Gaussian2D,
    Gaussians,
    Moons,
    Ring,
)

COUNT = 40_000


@pytest.mark.parametrize("name", DENSITIES)
def test_each_density_sums_to_one_and_its_samples_have_its_entropy(name):
    density = DENSITIES[name]
    step = 0.05
    axis = np.arange(-6 + step / 2, 6, step)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(density.log_density(grid)).sum() * step**2 == pytest.approx(1, abs=2e-4)
    x = np.asarray(density.sample(jax.random.key(0), COUNT))
    surprise = -density.log_density(x)
    error = surprise.std() / np.sqrt(COUNT)
    assert surprise.mean() == pytest.approx(density.entropy, abs=4 * error + 1e-6)


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_fall_where_the_density_says(name):
    """Counts in cells against the density at finer places of them, by chi-square."""
    density = DENSITIES[name]
    edges = np.linspace(-3, 3, 13)
    x = np.asarray(density.sample(jax.random.key(1), COUNT))
    seen, _, _ = np.histogram2d(x[:, 0], x[:, 1], (edges, edges))
    fine = (np.arange(240) + 0.5) * 0.025 - 3
    grid = np.stack(np.meshgrid(fine, fine, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(density.log_density(grid)).reshape(12, 20, 12, 20).sum((1, 3)) * 0.025**2
    expected = COUNT * mass
    cells = expected > 10
    square = ((seen - expected)[cells] ** 2 / expected[cells]).sum()
    assert square < cells.sum() + 5 * np.sqrt(2 * cells.sum())


def test_the_entropies_of_the_literature():
    """Two moons by the reference (twice its .004); Gaussians apart in closed form."""
    assert Moons(0.05).entropy == pytest.approx(0.296, abs=8e-3)
    assert Moons(0.1).entropy == pytest.approx(1.010, abs=8e-3)
    assert Moons(0.2).entropy == pytest.approx(1.681, abs=8e-3)
    apart = np.log(8) + np.log(2 * np.pi * np.e * 0.01**2)
    assert Gaussians(8, 2.0, 0.01).entropy == pytest.approx(apart, abs=1e-5)
    thin = np.log(2 * np.pi * 2.0) + 0.5 * np.log(2 * np.pi * np.e * 0.01**2)
    assert Ring(2.0, 0.01).entropy == pytest.approx(thin, abs=1e-4)


def test_moons_are_those_of_scikit_learn():
    theirs, _ = make_moons(COUNT, noise=0.1, random_state=0)
    ours = np.asarray(Moons(0.1).sample(jax.random.key(2), COUNT))
    error = 4 * theirs.std(0) * np.sqrt(2 / COUNT)
    np.testing.assert_array_less(abs(theirs.mean(0) - ours.mean(0)), error)
    surprise = -Moons(0.1).log_density(theirs)
    assert surprise.mean() == pytest.approx(Moons(0.1).entropy, abs=0.02)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Moons(0.0), "Moons: noise"),
        (lambda: Gaussians(0), "Gaussians: count"),
        (lambda: Ring(-1.0), "Ring: radius"),
        (lambda: Gaussian2D(scale=(1.0, 0.0)), r"Gaussian2D: scale\[1\]"),
        (lambda: Gaussian2D(correlation=1.0), "Gaussian2D: correlation"),
    ],
    ids=["moons", "gaussians", "ring", "scale", "correlation"],
)
def test_densities_that_are_none_are_refused(make, named):
    with pytest.raises(et.ConfigurationError, match=named):
        make()


def test_a_board_has_edges():
    inside, outside = Checkerboard().log_density(np.array([[0.5, 0.5], [0.5, 2.5]]))
    assert inside == pytest.approx(-np.log(8))
    assert outside == -np.inf
