"""Fully connected connections: trained, frozen, sparse."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

import etude as et
from etude.systems.attractor.modules.base import AbstractConnection, fixed, silent


class FullyConnected(AbstractConnection):
    """The message ``strength * (x @ weight)``; every weight learns.

    Args:
        in_features: features of the sender, counted flat: spatial activity is flattened.
        out_features: features of the receiver, a number or a shape.
        strength: factor of the message, a scalar or one per receiving feature. Updates do not
            contain it.
        threshold: stability asked for by the rule, a scalar or one per receiving feature.
        key: random key; the weights are normal with variance ``1 / in_features``.
        dtype: type of the weights.

    Raises:
        ValueError: strength or threshold does not broadcast to the receiver.

    >>> connection = FullyConnected(2, 3, strength=2.0, threshold=0.5, key=jax.random.key(0))
    >>> connection(jnp.ones((4, 2))).shape
    (4, 3)
    """

    weight: Float[Array, "inputs outputs"]
    strength: et.Fixed
    threshold: et.Fixed
    out_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_features: int,
        out_features: int | tuple[int, ...],
        strength: ArrayLike,
        threshold: ArrayLike,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        dtype = jnp.dtype(dtype)
        self.out_shape = _shape(out_features)
        self.weight = _normal(key, in_features, self.out_shape, dtype)
        self.strength = fixed("FullyConnected: strength", strength, self.out_shape, dtype)
        self.threshold = fixed("FullyConnected: threshold", threshold, self.out_shape, dtype)

    def operator(self) -> Callable[[Array], Array]:
        return _linear(self.weight, self.strength.value, self.out_shape)

    def correlate(self, x: Array, signal: Array) -> FullyConnected:
        return eqx.tree_at(lambda m: m.weight, silent(self), _outer(x, signal))


class FrozenFullyConnected(AbstractConnection):
    """A `FullyConnected` whose weights never learn, such as the labels' teaching field.

    >>> teach = FrozenFullyConnected(2, 3, strength=0.3, threshold=0.0, key=jax.random.key(0))
    >>> jax.tree.leaves(eqx.filter(teach, lambda a: a is not teach.weight.value)) == []
    False
    """

    weight: et.Fixed
    strength: et.Fixed
    threshold: et.Fixed
    out_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_features: int,
        out_features: int | tuple[int, ...],
        strength: ArrayLike,
        threshold: ArrayLike,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        dtype = jnp.dtype(dtype)
        self.out_shape = _shape(out_features)
        self.weight = et.Fixed(_normal(key, in_features, self.out_shape, dtype))
        self.strength = fixed("FrozenFullyConnected: strength", strength, self.out_shape, dtype)
        self.threshold = fixed("FrozenFullyConnected: threshold", threshold, self.out_shape, dtype)

    def operator(self) -> Callable[[Array], Array]:
        return _linear(self.weight.value, self.strength.value, self.out_shape)

    def correlate(self, x: Array, signal: Array) -> FrozenFullyConnected:
        return silent(self)


class SparseFullyConnected(AbstractConnection):
    """A `FullyConnected` of which only a random part of the weights exists.

    Args:
        density: probability that a weight exists, in ``(0, 1]``; the variance of the weights is
            ``1 / (in_features * density)``, so the message keeps its scale.

    Raises:
        ValueError: density out of range.

    >>> sparse = SparseFullyConnected(50, 3, 1.0, 0.5, density=0.1, key=jax.random.key(0))
    >>> bool(jnp.all(jnp.where(sparse.mask, 0.0, sparse.weight) == 0))
    True
    """

    weight: Float[Array, "inputs outputs"]
    mask: Bool[Array, "inputs outputs"]
    strength: et.Fixed
    threshold: et.Fixed
    out_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        in_features: int,
        out_features: int | tuple[int, ...],
        strength: ArrayLike,
        threshold: ArrayLike,
        density: float,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        if not 0 < density <= 1:
            raise ValueError(f"SparseFullyConnected: density={density}; expected 0 < density <= 1.")
        dtype = jnp.dtype(dtype)
        weight_key, mask_key = jax.random.split(key)
        self.out_shape = _shape(out_features)
        weight = _normal(weight_key, in_features, self.out_shape, dtype)
        self.mask = jax.random.bernoulli(mask_key, density, weight.shape)
        self.weight = jnp.where(self.mask, weight / math.sqrt(density), 0)
        self.strength = fixed("SparseFullyConnected: strength", strength, self.out_shape, dtype)
        self.threshold = fixed("SparseFullyConnected: threshold", threshold, self.out_shape, dtype)

    def operator(self) -> Callable[[Array], Array]:
        weight = jnp.where(self.mask, self.weight, 0)
        return _linear(weight, self.strength.value, self.out_shape)

    def correlate(self, x: Array, signal: Array) -> SparseFullyConnected:
        update = jnp.where(self.mask, _outer(x, signal), 0)
        return eqx.tree_at(lambda m: m.weight, silent(self), update)


def _shape(features: int | tuple[int, ...]) -> tuple[int, ...]:
    return (features,) if isinstance(features, int) else features


def _normal(key: PRNGKeyArray, inputs: int, outputs: tuple[int, ...], dtype: jnp.dtype) -> Array:
    return jax.random.normal(key, (inputs, math.prod(outputs)), dtype) / math.sqrt(inputs)


def _linear(weight: Array, strength: Array, out_shape: tuple[int, ...]) -> Callable:
    return lambda x: (x.reshape(x.shape[0], -1) @ weight).reshape(-1, *out_shape) * strength


def _outer(x: Array, signal: Array) -> Array:
    return x.reshape(x.shape[0], -1).T @ signal.reshape(x.shape[0], -1)
