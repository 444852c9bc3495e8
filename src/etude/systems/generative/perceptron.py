"""A perceptron of any number of leading axes: one matrix product a layer."""

from typing import final

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from etude.systems.generative.examples import with_labels


@final
class Perceptron(eqx.Module):
    """Linear layers with a GELU between them, on the last axis; labels are further inputs.

    >>> net = Perceptron(3, (8,), 2, key=jax.random.key(0))
    >>> net(jax.numpy.zeros((5, 4, 3))).shape
    (5, 4, 2)
    """

    layers: tuple[eqx.nn.Linear, ...]

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int, *, key: Key[Array, ""]):
        widths = [inputs, *hidden, outputs]
        keys = jax.random.split(key, len(widths) - 1)
        self.layers = tuple(
            eqx.nn.Linear(a, b, key=k) for a, b, k in zip(widths, widths[1:], keys, strict=False)
        )

    def __call__(
        self, x: Float[Array, "*many inputs"], labels: Array | None = None
    ) -> Float[Array, "*many outputs"]:
        x = with_labels(x, labels)
        for number, layer in enumerate(self.layers):
            assert layer.bias is not None
            x = x @ layer.weight.T + layer.bias
            x = jax.nn.gelu(x) if number + 1 < len(self.layers) else x
        return x
