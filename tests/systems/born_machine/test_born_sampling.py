"""Samples against the exact marginals and conditionals; gradients against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from etude.systems.born_machine import BornMachine, Embedding, sample, site_matrices
from etude.systems.born_machine.embeddings import ProductIntegrals


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def make(name: str, dim: int, sites: int = 3, dtype=jnp.float64, **options) -> BornMachine:
    key, embedding = jax.random.key(5), Embedding(name, dim)
    return BornMachine.create(key, sites, 2, embedding, 4, init="gaussian", dtype=dtype, **options)


def cumulative(machine: BornMachine, rho: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The distribution function of a site with density matrix `rho`, by the trapezoidal rule."""
    grid = np.linspace(machine.embedding.low, machine.embedding.high, 20001)
    phi = np.asarray(machine.embedding(jnp.asarray(grid)))
    density = np.einsum("qi,ij,qj->q", phi, rho, phi)
    total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    return np.interp(x, grid, total)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.complex128])
def test_one_hot_samples_pass_chi_square_on_the_joint_distribution(dtype):
    machine = make("onehot", 2, dtype=dtype, out_position=1)
    labels = jnp.asarray([0, 1] * 3000)
    x = np.asarray(sample(machine, jax.random.key(0), labels), int)
    states = jnp.asarray(np.indices((2, 2, 2)).reshape(3, -1).T, float)
    for label in (0, 1):
        p = np.exp(machine.log_conditional(states, jnp.full(8, label)))
        counts = np.bincount(x[label::2] @ [4, 2, 1], minlength=8)
        assert scipy.stats.chisquare(counts, 3000 * p).pvalue > 1e-3
    same = sample(machine, jax.random.key(0), 1, 3000)  # one class takes another path
    counts = np.bincount(np.asarray(same, int) @ [4, 2, 1], minlength=8)
    assert scipy.stats.chisquare(counts, 3000 * p).pvalue > 1e-3


CONTINUOUS = ["fourier", "legendre", "hermite", "chebyshev1", "chebyshev2"]
DRAWS = [
    ("legendre", "exact"),
    ("legendre", "secant"),
    ("fourier", "bins"),
    # Another embedding is another basis, orthonormal by test_born_embeddings.
    *(
        pytest.param(name, "exact", marks=pytest.mark.slow)
        for name in CONTINUOUS
        if name != "legendre"
    ),
]


@pytest.mark.parametrize(("name", "method"), DRAWS)
def test_samples_pass_kolmogorov_smirnov_on_every_site(name, method):
    machine = make(name, 4)
    x = np.asarray(sample(machine, jax.random.key(2), 1, 4000, method=method, bins=1000))
    assert machine.embedding.low <= x.min()
    assert x.max() <= machine.embedding.high
    for site, rho in enumerate(np.asarray(site_matrices(machine, 1))):
        found = scipy.stats.kstest(x[:, site], lambda t, rho=rho: cumulative(machine, rho, t))
        assert found.pvalue > 1e-3


def test_the_second_site_follows_its_conditional_distribution():
    machine = make("legendre", 3, sites=2)
    x = np.asarray(sample(machine, jax.random.key(3), 0, 4000))
    grid = np.linspace(-1, 1, 2001)
    levels = []
    for first, second in x[:400]:
        points = jnp.asarray(np.stack([np.full(2001, first), grid], 1))
        density = np.exp(machine.log_conditional(points, jnp.zeros(2001, int)))
        total = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
        levels.append(np.interp(second, grid, total / total[-1]))
    assert scipy.stats.kstest(levels, "uniform").pvalue > 1e-3


def test_exact_samples_solve_the_equation_of_their_uniform_number():
    machine = make("legendre", 5, sites=1, dtype=jnp.float32, out_position=1)
    x = np.asarray(sample(machine, jax.random.key(4), 0, 500), float)[:, 0]
    u = jax.random.uniform(jax.random.key(4), (1, 500), jnp.float32)[0]
    rho = np.asarray(site_matrices(machine, 0), float)[0]
    np.testing.assert_allclose(cumulative(machine, rho, x), u, atol=2e-5)


@pytest.mark.parametrize("method", ["exact", "secant"])
def test_no_sample_below_a_spike_at_the_edge_and_no_bias(method):
    # The original extrapolated the first bin: a spike there gave -5268. And half a bin of bias.
    machine = make("legendre", 12, sites=1, out_position=1)
    integrals = ProductIntegrals(machine.embedding)
    spike = machine.embedding(jnp.asarray([-1.0]))[0]  # the narrowest density at the edge
    left = jnp.zeros_like(machine.left).at[0, 0, :, 0].set(spike)
    centre = jnp.zeros_like(machine.centre).at[0, :, 0].set(1.0)
    machine = BornMachine(left, centre, machine.right, machine.embedding)
    x = np.asarray(sample(machine, jax.random.key(0), 0, 20000, method=method, bins=200))[:, 0]
    assert x.min() >= -1
    t, weights = np.polynomial.legendre.leggauss(40)
    phi = np.asarray(machine.embedding(integrals.to_x(jnp.asarray(t))))
    p = (phi @ np.asarray(spike)) ** 2 * weights
    mean = (p @ t) / p.sum()
    deviation = np.sqrt((p @ (t - mean) ** 2) / p.sum() / 20000)
    assert abs(x.mean() - mean) < 4 * deviation


@pytest.mark.parametrize("method", ["exact", "secant"])
def test_gradients_of_samples_agree_with_finite_differences(method):
    machine = make("legendre", 3)
    arrays, rest = eqx.partition(machine, eqx.is_inexact_array)
    target = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    labels = jnp.asarray([0, 1, 1, 0])

    @jax.jit
    def loss(arrays):
        x = sample(eqx.combine(arrays, rest), jax.random.key(8), labels, method=method, bins=20)
        return (x * target).sum()

    step = jax.tree.map(
        lambda a: jnp.asarray(np.random.default_rng(1).normal(size=a.shape)), arrays
    )
    slope = sum(
        (g * s).sum()
        for g, s in zip(jax.tree.leaves(jax.grad(loss)(arrays)), jax.tree.leaves(step), strict=True)
    )
    ahead, behind = (
        loss(jax.tree.map(lambda a, s, h=h: a + h * s, arrays, step)) for h in (1e-6, -1e-6)
    )
    assert float(slope) == pytest.approx(float(ahead - behind) / 2e-6, rel=1e-4)
    assert abs(float(slope)) > 1e-3


def test_memory_is_linear_in_samples():
    # The original asked for 409.6 GB at 16 samples of 4 features, d=3, D=10, 200 bins.
    machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("fourier", 3), 10)

    def used(n):
        run = jax.jit(lambda key: sample(machine, key, 0, n, method="secant"))
        memory = run.lower(jax.random.key(0)).compile().memory_analysis()
        return memory.temp_size_in_bytes

    few, many = used(256), used(1024)
    assert many < 5 * few
    assert many < 2**26


def test_wrong_arguments_are_refused():
    machine = make("legendre", 3)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="Did you mean 'secant'"):
        sample(machine, key, 0, 5, method="secand")
    with pytest.raises(ValueError, match="expected 0 to 1"):
        sample(machine, key, 2, 5)
    with pytest.raises(ValueError, match="say how many"):
        sample(machine, key, 0)
    with pytest.raises(ValueError, match="leave n out"):
        sample(machine, key, jnp.asarray([0, 1]), 3)
