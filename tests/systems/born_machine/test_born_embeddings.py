"""Embeddings: orthonormal on their range, and the integrals of their products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings, strategies as st

from etude.systems.born_machine import EMBEDDINGS, Embedding
from etude.systems.born_machine.embeddings import ProductIntegrals

CONTINUOUS = [name for name in EMBEDDINGS if name != "onehot"]


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def quadrature(embedding: Embedding) -> tuple[np.ndarray, np.ndarray]:
    """Clenshaw-Curtis in the angle: nodes crowd at the ends, where Chebyshev's have roots."""
    angle = (np.arange(4000) + 0.5) * np.pi / 4000
    middle, half = (embedding.low + embedding.high) / 2, (embedding.high - embedding.low) / 2
    weights = 1 - sum(2 * np.cos(2 * k * angle) / (4 * k * k - 1) for k in range(1, 1000))
    return middle + half * np.cos(angle), weights * half * 2 / 4000


@pytest.mark.parametrize("dim", [2, 10, 30])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_orthonormal_on_the_stated_range(name, dim):
    # The original's Hermite had pi^(1/4) on the diagonal, its Chebyshev 0.82 .. 0.93.
    embedding = Embedding(name, dim)
    x, weights = quadrature(embedding)
    phi = np.asarray(jax.jit(embedding)(jnp.asarray(x)))
    assert abs(np.einsum("q,qi,qj->ij", weights, phi, phi) - np.eye(dim)).max() < 1e-6


def test_the_functions_are_those_of_the_textbook():
    x = np.linspace(-0.99, 0.99, 41)
    legendre = Embedding("legendre", 8)(jnp.asarray(x))
    chebyshev = Embedding("chebyshev2", 8)(jnp.asarray(x))
    hermite = Embedding("hermite", 3)(jnp.asarray(x))
    for k in range(8):
        expected = scipy.special.eval_legendre(k, x) * np.sqrt(k + 0.5)
        np.testing.assert_allclose(legendre[:, k], expected, atol=1e-12)
        expected = scipy.special.eval_chebyu(k, x) * np.sqrt(2 / np.pi) * (1 - x**2) ** 0.25
        np.testing.assert_allclose(chebyshev[:, k], expected, atol=1e-12)
    # On (-4, 4) little is cut off the first Hermite functions.
    for k in range(3):
        norm = np.sqrt(2.0**k * scipy.special.factorial(k) * np.sqrt(np.pi))
        expected = scipy.special.eval_hermite(k, x) * np.exp(-(x**2) / 2) / norm
        np.testing.assert_allclose(hermite[:, k], expected, atol=1e-5)


@pytest.mark.slow
@settings(max_examples=15)
@given(
    name=st.sampled_from(CONTINUOUS),
    dim=st.sampled_from([1, 2, 5]),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_integrals_of_products_agree_with_quadrature(name, dim, share, seed):
    embedding = Embedding(name, dim)
    integrals = ProductIntegrals(embedding)
    root = np.random.default_rng(seed).normal(size=(dim, dim))
    rho = root @ root.T
    t = jnp.asarray(integrals.start + share * (1 - integrals.start))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    # In the coordinate t; dx/dt by a central difference of the map.
    ts = (nodes + 1) / 2 * (float(t) - integrals.start) + integrals.start
    slope = (integrals.to_x(jnp.asarray(ts + 1e-5)) - integrals.to_x(jnp.asarray(ts - 1e-5))) / 2e-5
    phi = np.asarray(embedding(integrals.to_x(jnp.asarray(ts))))
    density = np.einsum("qi,ij,qj->q", phi, rho, phi) * np.asarray(slope)
    expected = weights @ density * (float(t) - integrals.start) / 2
    found = integrals.coefficients(jnp.asarray(rho)) @ integrals.cumulative(t)
    assert float(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_values_and_slopes_are_finite_at_the_ends(name):
    embedding = Embedding(name, 6)
    ends = jnp.asarray([embedding.low, embedding.high], jnp.float32)
    assert np.isfinite(embedding(ends)).all()
    assert np.isfinite(jax.jacrev(embedding)(ends)).all()


def test_a_wrong_name_is_refused_with_a_near_one():
    with pytest.raises(ValueError, match="Did you mean 'chebyshev1'"):
        Embedding("chebychev1", 3)
    with pytest.raises(ValueError, match="1 or more"):
        Embedding("fourier", 0)
