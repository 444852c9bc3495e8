"""Layers of a flow: which values are changed, by functions that depend on which others.

`forward` goes from data to noise, `inverse` back. Both layers begin as the identity.
"""

from collections.abc import Sequence
from typing import TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from etude.systems.generative.examples import with_labels
from etude.systems.generative.flows.elementwise import Elementwise
from etude.systems.generative.masked import MaskedPerceptron
from etude.systems.generative.perceptron import Perceptron

Net = TypeVar("Net", Perceptron, MaskedPerceptron)


@final
class Coupling(eqx.Module):
    """The first half of the values stays, and chooses the functions of the second (RealNVP).

    >>> from etude.systems.generative.flows.elementwise import Affine
    >>> layer = Coupling.create(jax.random.key(0), 3, Affine(), hidden=(8,))
    >>> values, log_det = layer.forward(jnp.ones((5, 3)))
    >>> values.shape, log_det.shape
    ((5, 3), (5,))
    """

    net: Perceptron
    elementwise: Elementwise
    kept: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        values: int,
        elementwise: Elementwise,
        *,
        hidden: Sequence[int],
        context: int = 0,
    ) -> "Coupling":
        """A layer that is the identity; `context` counts the label's probabilities."""
        kept = values // 2
        numbers = (values - kept) * elementwise.numbers
        net = Perceptron(kept + context, tuple(hidden), numbers, key=key)
        return cls(_silent(net), elementwise, kept)

    def forward(
        self, x: Float[Array, "batch n"], labels: Array | None = None
    ) -> tuple[Float[Array, "batch n"], Float[Array, " batch"]]:
        """The values, and log |det| of the derivative."""
        kept, moved = x[:, : self.kept], x[:, self.kept :]
        moved, logs = self.elementwise.forward(self._raw(kept, moved, labels), moved)
        return jnp.concatenate([kept, moved], axis=1), logs.sum(1)

    def inverse(
        self, z: Float[Array, "batch n"], labels: Array | None = None
    ) -> Float[Array, "batch n"]:
        """The x whose `forward` is z."""
        kept, moved = z[:, : self.kept], z[:, self.kept :]
        moved = self.elementwise.inverse(self._raw(kept, moved, labels), moved)
        return jnp.concatenate([kept, moved], axis=1)

    def _raw(self, kept: Array, moved: Array, labels: Array | None) -> Array:
        return self.net(with_labels(kept, labels)).reshape(*moved.shape, self.elementwise.numbers)


@final
class Autoregressive(eqx.Module):
    """The function of each value is chosen by the values before it (Papamakarios et al. 2017).

    `forward` is one pass of the network, `inverse` one for each value.

    >>> from etude.systems.generative.flows.elementwise import Affine
    >>> layer = Autoregressive.create(jax.random.key(0), 3, Affine(), hidden=(8,))
    >>> values, log_det = layer.forward(jnp.ones((5, 3)))
    >>> bool(jnp.all(layer.inverse(values) == 1)), log_det.shape
    (True, (5,))
    """

    net: MaskedPerceptron
    elementwise: Elementwise

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        values: int,
        elementwise: Elementwise,
        *,
        hidden: Sequence[int],
        context: int = 0,
    ) -> "Autoregressive":
        """A layer that is the identity; `context` counts the label's probabilities."""
        numbers = elementwise.numbers
        net = MaskedPerceptron(range(values), hidden, numbers, context=context, key=key)
        return cls(_silent(net), elementwise)

    def forward(
        self, x: Float[Array, "batch n"], labels: Array | None = None
    ) -> tuple[Float[Array, "batch n"], Float[Array, " batch"]]:
        """The values, and log |det| of the derivative."""
        z, logs = self.elementwise.forward(self.net(x, labels), x)
        return z, logs.sum(1)

    def inverse(
        self, z: Float[Array, "batch n"], labels: Array | None = None
    ) -> Float[Array, "batch n"]:
        """The x whose `forward` is z; after pass i, the first i values are right."""

        def one(_: Array, x: Array) -> Array:
            return self.elementwise.inverse(self.net(x, labels), z)

        return jax.lax.fori_loop(0, z.shape[1], one, jnp.zeros_like(z))


def _silent(net: Net) -> Net:
    """The network with a last layer of zeros."""
    return eqx.tree_at(
        lambda n: [n.layers[-1].weight, n.layers[-1].bias], net, replace_fn=jnp.zeros_like
    )
