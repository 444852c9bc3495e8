"""A network of signals that is told what is known of the machine as well.

>>> from etude.systems.machinery.models.cnn import CNN1D
>>> backbone = CNN1D(3, (8, 16), kernels=7, strides=2, key=jax.random.key(0))
>>> network = HybridNetwork(backbone, {"speed": 1, "orders": 4}, key=jax.random.key(1))
>>> known = {"speed": jnp.full(5, 25.0), "orders": jnp.ones((5, 4))}
>>> network(jnp.zeros((5, 256)), known).shape
(5, 3)
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import etude as et
from etude.errors import suggest
from etude.nn import BatchNorm
from etude.systems.machinery.models.cnn import check_sizes
from etude.systems.machinery.models.layers import Head, MaybeKey
from etude.systems.machinery.models.network import AbstractNetwork, Batch


@final
class HybridNetwork(eqx.Module):
    """Features of a network of signals, joined with numbers of physics, and a head of both.

    The numbers come with the signals, as metadata by name: speed, load, Sommerfeld number, orders
    of the bearing, indices of a regime. Each is normalised by the statistics of the training, so
    that its unit does not matter; take the logarithm of what spans decades.

    Args:
        backbone: a network, whose trunk is used; its head gives the classes, and is replaced.
        features: name of the metadata -> how many numbers they are for each signal.
        width: of the dense layer that the numbers go through.
        hidden: widths of the dense layers before the logits.
        key: random key of the initial weights.

    Raises:
        ModelError: no features, or sizes below 1.
    """

    backbone: AbstractNetwork
    norm: BatchNorm
    embed: eqx.nn.Linear
    head: Head
    features: tuple[tuple[str, int], ...] = eqx.field(static=True)

    def __init__(
        self,
        backbone: AbstractNetwork,
        features: Mapping[str, int],
        *,
        width: int = 32,
        hidden: Sequence[int] = (64,),
        key: PRNGKeyArray,
    ):
        classes = backbone.head.layers[-1].weight.shape[0]
        check_sizes("HybridNetwork", classes, [*features.values(), width, *hidden])
        if not features:
            raise et.ModelError(
                "HybridNetwork: got no features. Name the metadata that it shall see, as in "
                "features={'speed': 1}."
            )
        a, b = jax.random.split(key)
        count = sum(features.values())
        # The old head is of no use, and would be parameters that never learn.
        self.backbone = eqx.tree_at(lambda net: net.head.layers, backbone, ())
        self.norm = BatchNorm(count)
        self.embed = eqx.nn.Linear(count, width, key=a)
        self.head = Head(
            backbone.trunk.outputs + width,
            classes,
            hidden=hidden,
            multi_label=backbone.head.multi_label,
            key=b,
        )
        self.features = tuple(features.items())

    def forward(
        self, x: Batch, metadata: Mapping[str, Any], key: MaybeKey = None
    ) -> tuple[Float[Array, "batch classes"], "HybridNetwork"]:
        """Logits, and the network with its statistics moved.

        Args:
            x: the batch, as the backbone takes it.
            metadata: name -> numbers of each signal, `(batch,)` or `(batch, count)`.
            key: what dropout is drawn by; None only where nothing is dropped.

        Raises:
            DataError: metadata that are missing or of another shape.
        """
        seen, trunk = self.backbone.trunk(self.backbone.planes(x), key)
        known, norm = self.norm(self._numbers(metadata, len(seen)))
        told = jax.nn.relu(jax.vmap(self.embed)(known.astype(seen.dtype)))
        logits = self.head(jnp.concatenate([seen, told], axis=-1))
        moved = eqx.tree_at(lambda net: (net.backbone.trunk, net.norm), self, (trunk, norm))
        return logits, moved

    def __call__(self, x: Batch, metadata: Mapping[str, Any]) -> Float[Array, "batch classes"]:
        """Logits, in inference mode."""
        return eqx.nn.inference_mode(self).forward(x, metadata)[0]

    def probabilities(self, x: Batch, metadata: Mapping[str, Any]) -> Float[Array, "batch classes"]:
        """Of the classes, in inference mode; with `multi_label`, each by itself."""
        return self.head.probabilities(self(x, metadata))

    def _numbers(self, metadata: Mapping[str, Any], batch: int) -> Float[Array, "batch count"]:
        columns = []
        for name, count in self.features:
            if name not in metadata:
                raise et.DataError(
                    f"HybridNetwork: the metadata have no {name!r}. {suggest(name, metadata)}"
                )
            values = et.widened(metadata[name])
            if values.shape not in ((batch, count), *([(batch,)] if count == 1 else [])):
                raise et.DataError(
                    f"HybridNetwork: got {name!r} of shape {values.shape}, expected "
                    f"{(batch, count)}."
                )
            columns.append(values.reshape(batch, count))
        return jnp.concatenate(columns, axis=-1)
