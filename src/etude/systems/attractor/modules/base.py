"""What a connection and a layer must offer."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import etude as et

Module = TypeVar("Module", bound=eqx.Module)


class AbstractConnection(eqx.Module):
    """A linear map from the activity of a sender to a message for a receiver."""

    threshold: eqx.AbstractVar[et.Fixed]
    """The stability (margin) that the rule asks for, a scalar or one per receiving feature."""

    @abc.abstractmethod
    def operator(self) -> Callable[[Float[Array, "batch ..."]], Float[Array, "batch ..."]]:
        """The map as a function of the activity alone.

        Whatever depends on the weights only (masks, the fixed diagonal) is done here, once,
        and not in every sweep of the dynamics.
        """

    @abc.abstractmethod
    def correlate(
        self: Module, x: Float[Array, "batch ..."], signal: Float[Array, "batch ..."]
    ) -> Module:
        """The sum over the batch of (activity before) x (signal after), shaped like the weights.

        Returned as a module of the same structure, zero in every leaf that does not learn.
        """

    def __call__(self, x: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        return self.operator()(x)


class AbstractLayer(AbstractConnection):
    """A connection of a layer to itself that also knows how its units respond."""

    @abc.abstractmethod
    def activation(self, field: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
        """The activity of the units in a local field."""

    def reduce(self, messages: Sequence[Float[Array, "batch ..."]]) -> Float[Array, "batch ..."]:
        """The local field: the sum of the messages, in the order of their senders."""
        return reduce(add, messages)


def sign(field: Float[Array, ...]) -> Float[Array, ...]:
    """The sign of a field, where a tie is +1: activities are never zero.

    >>> sign(jnp.array([-2.0, 0.0, 3.0])).tolist()
    [-1.0, 1.0, 1.0]
    """
    return jnp.where(field >= 0, jnp.ones_like(field), -jnp.ones_like(field))


def silent(module: Module) -> Module:
    """The module with zero in every floating leaf: the update of something that does not learn."""
    return jax.tree.map(lambda a: jnp.zeros_like(a) if eqx.is_inexact_array(a) else a, module)


def fixed(name: str, value: ArrayLike, features: tuple[int, ...], dtype: jnp.dtype) -> et.Fixed:
    """A hyper-parameter that broadcasts to the features of the receiver."""
    array = jnp.asarray(value, dtype)
    if array.shape not in ((), features, features[-1:]):
        raise ValueError(
            f"{name} has shape {array.shape}; expected a scalar or {features}, "
            "one value per receiving feature."
        )
    return et.Fixed(array)
