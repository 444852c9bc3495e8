"""A causal transformer of six layers in plain JAX, for what layers cost on several devices."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

Model = dict[str, jax.Array | dict[str, jax.Array]]
Place = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Sizes:
    """Of a transformer: all of these are numbers of things, none is bytes."""

    layers: int = 6
    width: int = 64
    heads: int = 4
    tokens: int = 32
    positions: int = 32

    def model(self, key: jax.Array) -> Model:
        """An untrained one; the arrays of the layers are stacked."""
        layers, width = self.layers, self.width
        keys = iter(jax.random.split(key, 7))

        def normal(*shape: int) -> jax.Array:
            return jax.random.normal(next(keys), shape) * shape[-2] ** -0.5

        return {
            "embedding": normal(self.tokens, width),
            "places": normal(self.positions, width),
            "layers": {
                "attention": normal(layers, width, 3 * width),
                "mix": normal(layers, width, width),
                "up": normal(layers, width, 4 * width),
                "down": normal(layers, 4 * width, width),
            },
            "head": normal(width, self.tokens),
        }

    def rows(self, count: int) -> np.ndarray:
        """So many rows of random tokens, one more than there are positions: inputs and targets."""
        rng = np.random.default_rng(0)
        return rng.integers(0, self.tokens, (count, self.positions + 1), dtype=np.int32)


def block(x: jax.Array, layer: dict[str, jax.Array], heads: int) -> jax.Array:
    """Attention and a perceptron, each on normalised inputs, added to what came in."""
    parts = jnp.split(_normalised(x) @ layer["attention"], 3, axis=-1)
    query, key, value = (part.reshape(*part.shape[:2], heads, -1) for part in parts)
    mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    x = x + mixed.reshape(x.shape) @ layer["mix"]
    return x + jax.nn.gelu(_normalised(x) @ layer["up"]) @ layer["down"]


def loss(
    model: Model,
    rows: jax.Array,
    heads: int = 4,
    *,
    scan: bool = True,
    checkpoint: bool = True,
    place: Place = lambda x: x,
) -> jax.Array:
    """The mean cross entropy of each token, given those before it.

    Args:
        model: of `Sizes.model`.
        rows: tokens, (batch, positions + 1).
        heads: of the attention.
        scan: loop over the layers in the program, in place of one copy of a layer after the other.
        checkpoint: keep the input of each layer for the backward pass, and compute the rest again.
        place: says where the activations are, at the beginning of each layer.
    """
    x = model["embedding"][rows[:, :-1]] + model["places"]

    def one(x: jax.Array, layer: dict[str, jax.Array]) -> tuple[jax.Array, None]:
        return block(place(x), layer, heads), None

    one = jax.checkpoint(one) if checkpoint else one
    if scan:
        x, _ = jax.lax.scan(one, x, model["layers"])
    else:
        for number in range(len(model["layers"]["mix"])):
            x, _ = one(x, jax.tree.map(lambda leaf: leaf[number], model["layers"]))  # noqa: B023
    logits = _normalised(place(x)) @ model["head"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, rows[:, 1:]).mean()


def _normalised(x: jax.Array) -> jax.Array:
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
