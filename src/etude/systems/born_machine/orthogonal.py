"""Orthonormal functions on an interval, and the exact integrals of their products.

A family is a weight on a symmetric interval. Its polynomials, times the root of the weight, are
orthonormal there; the three-term recurrence comes from Stieltjes' procedure (Gautschi, Orthogonal
Polynomials, 2004, section 2.2), so a weight cut off at the ends of the interval costs nothing in
exactness. Products of two functions are Legendre series in a coordinate t on (-1, 1) in which they
are entire: x/h, or the angle asin(x). Such a series is integrated term by term.
"""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NODES = 256  # of the Gauss-Legendre rule: exact for the products of 100 polynomials and more


class Family(NamedTuple):
    """The interval (-half_width, half_width), the coordinate on it, and which weight."""

    half_width: float
    angular: bool  # x = sin(t asin(h)) instead of x = h t: smooths the roots at -1 and 1
    weight: str


FAMILIES = {
    "legendre": Family(1.0, False, "flat"),
    "hermite": Family(4.0, False, "gaussian"),
    # The weight of the first kind is infinite at -1 and 1, where scaled data lie: cut before.
    "chebyshev1": Family(0.99, True, "inverse root"),
    "chebyshev2": Family(1.0, True, "root"),
}


def root_weight(family: Family, x: Any, xp: Any = jnp) -> Any:
    """The square root of the weight at `x`; `xp` is `jax.numpy` or `numpy`."""
    if family.weight == "flat":
        return xp.ones_like(x)
    if family.weight == "gaussian":
        return xp.exp(-x * x / 2)
    inside = 1 - x * x
    if xp is jnp:  # keep the slope finite at the very ends; no integral changes by 1e-8
        inside = jnp.maximum(inside, 1e-6)
    return inside ** (0.25 if family.weight == "root" else -0.25)


def from_unit(family: Family, t: Any, xp: Any = jnp) -> Any:
    """x of the coordinate t."""
    h = family.half_width
    return xp.sin(t * np.arcsin(h).item()) if family.angular else t * h


@functools.cache
def recurrence(family: Family, dim: int) -> tuple[float, ...]:
    """b_0 .. b_(dim-1) of x p_k = b_(k+1) p_(k+1) + b_k p_(k-1), with p_0 = 1 / b_0.

    There is no diagonal term, because every weight here is even.
    """
    _, x, measure = _quadrature(family)
    measure = measure * root_weight(family, x, np) ** 2
    b = [np.sqrt(measure.sum())]
    before, now = np.zeros_like(x), np.full_like(x, 1 / b[0])
    for k in range(dim - 1):
        after = x * now - (b[k] if k else 0) * before
        b.append(np.sqrt(measure @ after**2))
        before, now = now, after / b[-1]
    return tuple(float(value) for value in b)


def polynomials(family: Family, dim: int, x: Any, xp: Any = jnp) -> Any:
    """The orthonormal functions at `x`, stacked in a new last axis."""
    b = recurrence(family, dim)
    values = [root_weight(family, x, xp) / b[0]]
    for k in range(dim - 1):
        before = b[k] * values[k - 1] if k else xp.zeros_like(x)
        values.append((x * values[k] - before) / b[k + 1])
    return xp.stack(values, -1)


@functools.cache
def product_series(family: Family, dim: int) -> np.ndarray:
    """(dim, dim, terms): phi_i phi_j dx/dt = sum_k series[i, j, k] P_k(t), to rounding."""
    t, x, measure = _quadrature(family)
    phi = polynomials(family, dim, x, np)
    legendre = np.polynomial.legendre.legvander(t, NODES - 1) * (np.arange(NODES) + 0.5)
    # `measure` holds dx/dt, and P_k has squared norm 1 / (k + 1/2).
    series = np.einsum("q,qi,qj,qk->ijk", measure, phi, phi, legendre, optimize=True)
    kept = np.flatnonzero(np.abs(series).max((0, 1)) > 1e-10)[-1] + 1
    return series[:, :, :kept]


def legendre_terms(t: Float[Array, "..."], terms: int) -> Float[Array, "... terms"]:
    """P_0 .. P_(terms-1) at `t`."""
    values = [jnp.ones_like(t), t]
    for k in range(1, terms - 1):
        values.append(((2 * k + 1) * t * values[k] - k * values[k - 1]) / (k + 1))
    return jnp.stack(values[:terms], -1)


def legendre_integrals(t: Float[Array, "..."], terms: int) -> Float[Array, "... terms"]:
    """The integrals of P_0 .. P_(terms-1) from -1 to `t`: (P_(k+1) - P_(k-1)) / (2k + 1)."""
    values = legendre_terms(t, terms + 1)
    below = jnp.concatenate([-jnp.ones_like(t)[..., None], values[..., : terms - 1]], -1)
    width = 2.0 * np.arange(terms) + 1
    return (values[..., 1:] - below) / jnp.asarray(width, t.dtype)


def _quadrature(family: Family) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes t of the rule, their x, and the weights dx."""
    t, weights = np.polynomial.legendre.leggauss(NODES)
    x = from_unit(family, t, np)
    if not family.angular:
        return t, x, weights * family.half_width
    angle = np.arcsin(family.half_width)
    return t, x, weights * angle * np.cos(t * angle)
