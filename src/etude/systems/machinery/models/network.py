"""What all networks share: a trunk, a head, and the two ways to call them."""

from abc import abstractmethod
from typing import TypeAlias

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Shaped

from etude.systems.machinery.models.layers import Head, MaybeKey, Planes, Trunk

#: A batch; its shape is checked by the network, which says what it expects.
Batch: TypeAlias = Shaped[Array, "..."] | Shaped[np.ndarray, "..."]


class AbstractNetwork(eqx.Module):
    """A network of a batch: features by a trunk, logits by a head.

    `network(x)` classifies: with the statistics of the training and without dropout, whatever mode
    the network is in. `network.forward(x, key)` is a pass of training, and returns the network with
    its statistics moved; in inference mode (`equinox.nn.inference_mode`) it comes back as it is.
    """

    trunk: eqx.AbstractVar[Trunk]
    head: eqx.AbstractVar[Head]

    @abstractmethod
    def planes(self, x: Batch) -> Planes:
        """The input as the trunk takes it. Raises `DataError` if it cannot be."""

    def forward(
        self, x: Batch, key: MaybeKey = None
    ) -> tuple[Float[Array, "batch classes"], "AbstractNetwork"]:
        """Logits, and the network with its statistics moved.

        Args:
            x: the batch.
            key: what dropout is drawn by; None only where nothing is dropped.
        """
        features, trunk = self.trunk(self.planes(x), key)
        return self.head(features), eqx.tree_at(lambda network: network.trunk, self, trunk)

    def __call__(self, x: Batch) -> Float[Array, "batch classes"]:
        """Logits, in inference mode."""
        return eqx.nn.inference_mode(self).forward(x)[0]

    def probabilities(self, x: Batch) -> Float[Array, "batch classes"]:
        """Of the classes, in inference mode; with `multi_label`, each by itself."""
        return self.head.probabilities(self(x))
