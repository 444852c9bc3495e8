"""Layers whose units are coupled to each other."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

import etude as et
from etude.systems.attractor.modules.base import AbstractLayer, fixed, sign, silent


class RecurrentDiscrete(AbstractLayer):
    """Binary units, coupled by ``J``, that take the sign of their field (a tie is +1).

    The diagonal of ``J`` is not part of the trained weights: `weight` has a zero diagonal, which
    no update touches and which the dynamics never reads; the self-couplings stand beside it.
    A positive self-coupling makes fixed points stable and abundant.

    Args:
        features: number of units.
        j_d: self-coupling, a scalar or one per unit.
        threshold: stability asked for by the rule, a scalar or one per unit.
        key: random key; couplings are normal with variance ``1 / features``.
        dtype: type of the couplings.

    Raises:
        ValueError: j_d or threshold does not broadcast to the units.

    >>> layer = RecurrentDiscrete(3, j_d=0.5, threshold=1.0, key=jax.random.key(0))
    >>> jnp.diag(layer.coupling).tolist(), layer.activation(jnp.zeros((1, 3))).tolist()
    ([0.5, 0.5, 0.5], [[1.0, 1.0, 1.0]])
    """

    weight: Float[Array, "units units"]
    self_coupling: et.Fixed
    threshold: et.Fixed

    def __init__(
        self,
        features: int,
        j_d: ArrayLike,
        threshold: ArrayLike,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        dtype = jnp.dtype(dtype)
        self.weight = _couplings(key, features, dtype)
        self.self_coupling = fixed("RecurrentDiscrete: j_d", j_d, (features,), dtype)
        self.threshold = fixed("RecurrentDiscrete: threshold", threshold, (features,), dtype)

    @property
    def coupling(self) -> Float[Array, "units units"]:
        """``J`` as the dynamics sees it: ``J[j, i]`` is the effect of unit j on unit i."""
        return _with_diagonal(self.weight, self.self_coupling.value)

    def operator(self) -> Callable[[Array], Array]:
        coupling = self.coupling
        return lambda x: x @ coupling

    def correlate(self, x: Array, signal: Array) -> RecurrentDiscrete:
        return eqx.tree_at(lambda m: m.weight, silent(self), _with_diagonal(x.T @ signal, 0))

    def activation(self, field: Array) -> Array:
        return sign(field)


class Uncoupled(AbstractLayer):
    """Units that hear only themselves and other layers: ``J`` is its diagonal.

    Nothing in it learns. A wide layer costs no square matrix.

    Args:
        features: number of units.
        j_d: self-coupling, a scalar or one per unit; at zero one sweep settles the layer.
        response: activity of a unit in its field: the sign (a tie is +1), or ``jnp.tanh``.
        dtype: type of the self-couplings.

    Raises:
        ValueError: j_d does not broadcast to the units.

    >>> layer = Uncoupled(3, j_d=0.5)
    >>> layer(jnp.ones((1, 3))).tolist(), layer.activation(jnp.zeros((1, 3))).tolist()
    ([[0.5, 0.5, 0.5]], [[1.0, 1.0, 1.0]])
    """

    self_coupling: et.Fixed
    threshold: et.Fixed
    response: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        j_d: ArrayLike = 0.0,
        response: Callable[[Array], Array] = sign,
        dtype: DTypeLike = jnp.float32,
    ):
        dtype = jnp.dtype(dtype)
        self.self_coupling = fixed("Uncoupled: j_d", j_d, (features,), dtype)
        self.threshold = fixed("Uncoupled: threshold", 0.0, (features,), dtype)
        self.response = response

    def operator(self) -> Callable[[Array], Array]:
        return lambda x: x * self.self_coupling.value

    def correlate(self, x: Array, signal: Array) -> Uncoupled:
        return silent(self)

    def activation(self, field: Array) -> Array:
        return self.response(field)


class RecurrentTanh(AbstractLayer):
    """Graded units, coupled by ``J``, with activity ``tanh(field)``. Arguments as in
    `RecurrentDiscrete`.

    >>> layer = RecurrentTanh(3, j_d=0.5, threshold=1.0, key=jax.random.key(0))
    >>> layer.activation(jnp.zeros((1, 3))).tolist()
    [[0.0, 0.0, 0.0]]
    """

    weight: Float[Array, "units units"]
    self_coupling: et.Fixed
    threshold: et.Fixed

    def __init__(
        self,
        features: int,
        j_d: ArrayLike,
        threshold: ArrayLike,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        dtype = jnp.dtype(dtype)
        self.weight = _couplings(key, features, dtype)
        self.self_coupling = fixed("RecurrentTanh: j_d", j_d, (features,), dtype)
        self.threshold = fixed("RecurrentTanh: threshold", threshold, (features,), dtype)

    def operator(self) -> Callable[[Array], Array]:
        coupling = _with_diagonal(self.weight, self.self_coupling.value)
        return lambda x: x @ coupling

    def correlate(self, x: Array, signal: Array) -> RecurrentTanh:
        return eqx.tree_at(lambda m: m.weight, silent(self), _with_diagonal(x.T @ signal, 0))

    def activation(self, field: Array) -> Array:
        return jnp.tanh(field)


def _couplings(key: PRNGKeyArray, features: int, dtype: jnp.dtype) -> Array:
    couplings = jax.random.normal(key, (features, features), dtype) / math.sqrt(features)
    return _with_diagonal(couplings, 0)


def _with_diagonal(matrix: Array, diagonal: ArrayLike) -> Array:
    return jnp.where(jnp.eye(len(matrix), dtype=bool), diagonal, matrix)
