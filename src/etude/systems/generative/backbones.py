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
        y: Any = self.net(x.reshape(count, *self.inputs), rows)
        wanted = (count, *self.outputs)
        array = isinstance(y, jax.Array)
        if not array or y.shape != wanted or not jnp.issubdtype(y.dtype, jnp.floating):
            got = f"{y.dtype} of shape {y.shape}" if array else type(y).__name__
            raise et.ConfigurationError(
                f"{self.name}: of a batch of shape {(count, *self.inputs)} it gave {got}, expected "
                f"real values of shape {wanted}."
            )
        return y.reshape(*many, -1)


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
    if not callable(net):
        raise et.ConfigurationError(
            f"{owner}: {name} is a function (x, labels) -> y; got {type(net).__name__}."
        )
    found = Backbone(cast(Network, net), inputs, outputs, name)
    x = jax.ShapeDtypeStruct((2, math.prod(inputs)), jnp.float32)
    labels = jax.ShapeDtypeStruct((2, classes), jnp.float32) if classes else None
    try:
        eqx.filter_eval_shape(found, x, labels)
    except et.ConfigurationError as error:
        raise et.ConfigurationError(f"{owner}: {error}") from error
    except Exception as error:
        given = None if labels is None else labels.shape
        raise et.ConfigurationError(
            f"{owner}: {name} fails for a batch of shape {(2, *inputs)} and labels of shape "
            f"{given}: {str(error).rstrip('.')}. Give the network and the model one shape "
            "and the same classes."
        ) from error
    return found


def still(net: Any) -> Any:
    """A network without a gradient."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, net)
