"""Networks that a user gives to a model, such as convolutional ones.

A network is a function `(x, labels) -> y` of a batch, where `labels` is `(n, classes)`, or None for
a model without classes. The models have rows of values; here their shapes are given back to them.
"""

import math
from collections.abc import Callable
from typing import Any, cast, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et

Network = Callable[[Array, Array | None], Array]


@final
class Backbone(eqx.Module):
    """A network of batches `(n, *inputs)` and `(n, *outputs)`, as one of rows.

    >>> net = Backbone(lambda x, labels: x.sum((1, 2))[:, None], (4, 4), (1,), "critic")
    >>> net(jnp.ones((3, 5, 16))).shape
    (3, 5, 1)

    Attributes:
        net: the network.
        inputs: shape of what it is given, one example.
        outputs: shape of what it returns of it.
        name: what the model calls it.
    """

    net: Network
    inputs: tuple[int, ...] = eqx.field(static=True)
    outputs: tuple[int, ...] = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def __call__(
        self, x: Float[Array, "*many values"], labels: Array | None = None
    ) -> Float[Array, "*many others"]:
        """What it gives of rows.

        Raises:
            ConfigurationError: no real values, or of another shape: they would be broadcast.
        """
        many = x.shape[:-1]
        rows = labels
        if labels is not None:
            rows = jnp.broadcast_to(labels, (*many, labels.shape[-1])).reshape(-1, labels.shape[-1])
        count = math.prod(many)
        given = (count, *self.inputs)
        y = self.net(x.reshape(given), rows)
        return real_values(self.name, given, y, (count, *self.outputs)).reshape(*many, -1)


def backbone(
    owner: str,
    name: str,
    net: Any,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    classes: int,
) -> Backbone:
    """A network that a user gives, checked; nothing is run.

    Raises:
        ConfigurationError: no function, or one of other shapes or classes.
    """
    refuse_no_function(owner, name, net, "(x, labels) -> y")
    found = Backbone(cast(Network, net), inputs, outputs, name)
    labels = (2, classes) if classes else None
    told = f"{name} fails for a batch of shape {(2, *inputs)} and labels of shape {labels}"
    refuse_misfit(owner, told, found, (2, math.prod(inputs)), labels)
    return found


def refuse_no_function(owner: str, name: str, net: Any, form: str) -> None:
    """Raises `ConfigurationError` for a network that is no function."""
    if not callable(net):
        raise et.ConfigurationError(
            f"{owner}: {name} is a function {form}; got {type(net).__name__}."
        )


def refuse_misfit(
    owner: str, told: str, function: Callable[..., Any], *shapes: tuple[int, ...] | None
) -> None:
    """Raises `ConfigurationError` for a network that fails for arrays of these shapes.

    `told` says so, and of which. None stands for an argument that is None; nothing is run.
    """
    arrays = [None if one is None else jax.ShapeDtypeStruct(one, jnp.float32) for one in shapes]
    try:
        eqx.filter_eval_shape(function, *arrays)
    except et.ConfigurationError as error:
        raise et.ConfigurationError(f"{owner}: {error}") from error
    except Exception as error:
        raise et.ConfigurationError(
            f"{owner}: {told}: {str(error).rstrip('.')}. Give the network and the model one shape "
            "and the same classes."
        ) from error


def real_values(
    name: str, given: tuple[int, ...], found: Any, shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """What a network has found of a batch.

    Raises `ConfigurationError` for no real values, or of another shape: they would be broadcast.
    """
    array = isinstance(found, jax.Array)
    if not array or found.shape != shape or not jnp.issubdtype(found.dtype, jnp.floating):
        got = f"{found.dtype} of shape {found.shape}" if array else type(found).__name__
        raise et.ConfigurationError(
            f"{name}: of a batch of shape {given} it gave {got}, expected real values of shape "
            f"{shape}."
        )
    return found


def still(net: Any) -> Any:
    """A network without a gradient."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, net)
