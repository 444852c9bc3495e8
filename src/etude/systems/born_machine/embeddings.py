"""Embeddings: a number becomes the values of d orthonormal functions.

Born's rule needs them orthonormal: then the integral over a site is a trace over its index, and
log Z, marginals and samples are exact. Each holds on its own range, to which data are scaled.

>>> import jax.numpy as jnp
>>> legendre = Embedding("legendre", 3)
>>> legendre.low, legendre.high
(-1.0, 1.0)
>>> [round(value, 3) for value in legendre(jnp.array(0.5)).tolist()]
[0.707, 0.612, -0.198]
"""

import difflib
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from etude.systems.born_machine import orthogonal

EMBEDDINGS = ("fourier", *orthogonal.FAMILIES, "onehot")


class Embedding(eqx.Module):
    """`dim` functions of one number, orthonormal on `(low, high)`. Holds nothing that learns.

    | name | range | functions |
    |---|---|---|
    | fourier | (0, 1) | 1, sqrt2 cos 2 pi x, sqrt2 sin 2 pi x, sqrt2 cos 4 pi x, ... |
    | legendre | (-1, 1) | Legendre polynomials |
    | hermite | (-4, 4) | polynomials times exp(-x^2/2) |
    | chebyshev1 | (-0.99, 0.99) | polynomials times (1 - x^2)^(-1/4) |
    | chebyshev2 | (-1, 1) | polynomials times (1 - x^2)^(1/4) |
    | onehot | 0, 1, ..., dim - 1 | unit vectors; x is a whole number, sums take integrals' place |

    The polynomials are orthonormal on the range as it stands: where the classical ones need a
    wider one (Hermite, Chebyshev of the first kind) these differ from them accordingly.

    Raises ValueError for an unknown name or a `dim` below 1.

    >>> import jax.numpy as jnp
    >>> Embedding("onehot", 2)(jnp.array([1, 0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    name: str = eqx.field(static=True)
    dim: int = eqx.field(static=True)

    def __check_init__(self):
        if self.name not in EMBEDDINGS:
            near = difflib.get_close_matches(self.name, EMBEDDINGS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"Embedding(name): got {self.name!r}, expected one of {EMBEDDINGS}.{hint}"
            )
        if self.dim < 1:
            raise ValueError(f"Embedding(dim): got {self.dim}, expected 1 or more.")

    @property
    def discrete(self) -> bool:
        """Whether x counts states instead of measuring something."""
        return self.name == "onehot"

    @property
    def low(self) -> float:
        """The lower end of the range."""
        return -self.high if self.name in orthogonal.FAMILIES else 0.0

    @property
    def high(self) -> float:
        """The upper end of the range."""
        if self.name in orthogonal.FAMILIES:
            return orthogonal.FAMILIES[self.name].half_width
        return float(self.dim - 1) if self.discrete else 1.0

    def __call__(self, x: Real[Array, "*shape"]) -> Float[Array, "*shape dim"]:
        """The values of the functions at `x`, in the precision of `x`."""
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
        if self.discrete:
            return (jnp.round(x)[..., None] == jnp.arange(self.dim, dtype=x.dtype)).astype(x.dtype)
        if self.name == "fourier":
            return fourier(x, self.dim)
        return orthogonal.polynomials(orthogonal.FAMILIES[self.name], self.dim, x)


def fourier(x: Float[Array, "*shape"], dim: int) -> Float[Array, "*shape dim"]:
    """1, sqrt2 cos 2 pi x, sqrt2 sin 2 pi x, ...: orthonormal on (0, 1)."""
    waves = 2 * np.pi * np.arange(1, dim // 2 + 1)
    angle = x[..., None] * jnp.asarray(waves, x.dtype)
    pairs = jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1).reshape(*x.shape, -1) * math.sqrt(2)
    return jnp.concatenate([jnp.ones_like(x)[..., None], pairs], -1)[..., :dim]


class ProductIntegrals(eqx.Module):
    """Integrals of products of two functions of a continuous embedding, in closed form.

    For a symmetric matrix rho over the index of a site, `coefficients(rho)` are those of the
    density phi(x)' rho phi(x) in a basis (trigonometric or Legendre) whose integrals are known.
    `t` is a coordinate on `(start, 1)`; `to_x` gives the embedding's.

    >>> import jax.numpy as jnp
    >>> integrals = ProductIntegrals(Embedding("legendre", 2))
    >>> uniform = integrals.coefficients(jnp.diag(jnp.array([1.0, 0.0])))
    >>> float(jnp.dot(uniform, integrals.cumulative(jnp.array(0.0))))
    0.5
    """

    embedding: Embedding

    def __check_init__(self):
        if self.embedding.discrete:
            raise ValueError("ProductIntegrals: a one-hot embedding has sums, no integrals.")

    @property
    def start(self) -> float:
        """t at the lower end of the range; at the upper end it is 1."""
        return 0.0 if self.embedding.name == "fourier" else -1.0

    def to_x(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """x at the coordinate t."""
        if self.embedding.name == "fourier":
            return t
        return orthogonal.from_unit(orthogonal.FAMILIES[self.embedding.name], t)

    def coefficients(self, rho: Float[Array, "*shape dim dim"]) -> Float[Array, "*shape terms"]:
        """Coefficients of the density phi' rho phi dx/dt."""
        return jnp.einsum("...ij,ijk->...k", rho, jnp.asarray(self._table(), rho.dtype))

    def density(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape terms"]:
        """The basis functions at t."""
        terms = self._table().shape[-1]
        if self.embedding.name == "fourier":
            return fourier(t, terms)
        return orthogonal.legendre_terms(t, terms)

    def cumulative(self, t: Float[Array, "*shape"]) -> Float[Array, "*shape terms"]:
        """The integrals of the basis functions from `start` to t."""
        terms = self._table().shape[-1]
        if self.embedding.name != "fourier":
            return orthogonal.legendre_integrals(t, terms)
        waves = jnp.asarray(2 * np.pi * np.arange(1, terms // 2 + 1), t.dtype)
        angle = t[..., None] * waves
        pairs = jnp.stack([jnp.sin(angle), 1 - jnp.cos(angle)], -1) / waves[:, None]
        pairs = pairs.reshape(*t.shape, -1) * math.sqrt(2)
        return jnp.concatenate([t[..., None], pairs], -1)[..., :terms]

    def _table(self) -> np.ndarray:
        name, dim = self.embedding.name, self.embedding.dim
        if name != "fourier":
            return orthogonal.product_series(orthogonal.FAMILIES[name], dim)
        # Products have at most twice the frequency; equidistant points integrate them exactly.
        terms = 4 * (dim // 2) + 1
        points = np.arange(2 * terms) / (2 * terms)
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            wide = np.asarray(fourier(jnp.asarray(points), terms))
        return np.einsum("qi,qj,qk->ijk", wide[:, :dim], wide[:, :dim], wide) / len(points)
