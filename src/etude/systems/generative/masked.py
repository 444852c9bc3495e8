"""Perceptrons whose outputs for a value depend on the values before it alone (MADE)."""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import etude as et


@final
class MaskedPerceptron(eqx.Module):
    """Masked linear layers with a GELU between them (Germain et al. 2015).

    Output (i, k) depends on the inputs before input i in the order, and on all of the context.

    >>> net = MaskedPerceptron((0, 1, 2), (16,), 4, key=jax.random.key(0))
    >>> outputs = net(jnp.array([[1.0, 2.0, 3.0], [1.0, 5.0, 5.0]]))
    >>> outputs.shape, bool(jnp.all(outputs[0, :2] == outputs[1, :2]))
    ((2, 3, 4), True)

    Attributes:
        layers: of linear maps, whose masks are applied at each use.
        order: the place of each input, counted from 0.
        outputs: numbers for each input.
        context: further inputs that all outputs see.
    """

    layers: tuple[eqx.nn.Linear, ...]
    order: tuple[int, ...] = eqx.field(static=True)
    outputs: int = eqx.field(static=True)
    context: int = eqx.field(static=True)

    def __init__(
        self,
        order: Sequence[int],
        hidden: Sequence[int],
        outputs: int,
        *,
        context: int = 0,
        key: Key[Array, ""],
    ):
        """Raises `ConfigurationError` for an order that is not a permutation."""
        if sorted(order) != list(range(len(order))):
            raise et.ConfigurationError(
                "MaskedPerceptron: order must have the numbers from 0 to below "
                f"{len(order)}, each once; got {tuple(order)}."
            )
        count = len(order)
        widths = [count + context, *hidden, count * outputs]
        keys = jax.random.split(key, len(widths) - 1)
        self.layers = tuple(
            eqx.nn.Linear(a, b, key=k) for a, b, k in zip(widths, widths[1:], keys, strict=False)
        )
        self.order, self.outputs, self.context = tuple(map(int, order)), outputs, context

    def __call__(
        self, x: Float[Array, "*many n"], context: Float[Array, "*many m"] | None = None
    ) -> Float[Array, "*many n outputs"]:
        count = len(self.order)
        if context is not None:
            x = jnp.concatenate([x, context.astype(x.dtype)], axis=-1)
        masks = self._masks()
        for number, (layer, mask) in enumerate(zip(self.layers, masks, strict=True)):
            assert layer.bias is not None
            x = x @ jnp.where(mask, layer.weight, 0.0).T + layer.bias
            x = jax.nn.gelu(x) if number + 1 < len(masks) else x
        return x.reshape(*x.shape[:-1], count, self.outputs)

    def _masks(self) -> list[np.ndarray]:
        """Of each layer: which weights are there."""
        count = len(self.order)
        place = np.asarray(self.order)
        # How many inputs a unit sees, in the order: an input itself, and so on; 0 is the context.
        sees = np.concatenate([place + 1, np.zeros(self.context, int)])
        least, masks = (0 if self.context else min(1, count - 1)), []
        for layer in self.layers[:-1]:
            units = least + np.arange(layer.out_features) * (count - least) // layer.out_features
            masks.append(units[:, None] >= sees[None])
            sees = units
        # Strictly: an output sees what is before its own input.
        return [*masks, np.repeat(place, self.outputs)[:, None] >= sees[None]]
