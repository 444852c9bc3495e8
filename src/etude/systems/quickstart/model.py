"""An encoder, a projector for its pre-training, and a classifier on it.

>>> network = Network(jax.random.key(0))
>>> network.logits(jnp.zeros((5, 64))).shape
(5, 10)
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Network(eqx.Module):
    """The projector serves the contrastive loss alone and is left aside afterwards."""

    encoder: eqx.nn.MLP
    projector: eqx.nn.MLP
    head: eqx.nn.Linear

    def __init__(self, key: Key[Array, ""], width: int = 128, features: int = 64):
        keys = jax.random.split(key, 3)
        self.encoder = eqx.nn.MLP(64, features, width, 2, final_activation=jax.nn.relu, key=keys[0])
        self.projector = eqx.nn.MLP(features, 32, features, 1, key=keys[1])
        self.head = eqx.nn.Linear(features, 10, key=keys[2])

    def embed(self, images: Float[Array, "batch 64"]) -> Float[Array, "batch features"]:
        """What the encoder makes of images."""
        return jax.vmap(self.encoder)(images)

    def project(self, images: Float[Array, "batch 64"]) -> Float[Array, "batch 32"]:
        """Unit vectors, which the contrastive loss compares."""
        projected = jax.vmap(self.projector)(self.embed(images))
        # Within the root, so that the gradient is finite at zero.
        return projected / jnp.sqrt(jnp.sum(projected**2, axis=1, keepdims=True) + 1e-12)

    def logits(self, images: Float[Array, "batch 64"]) -> Float[Array, "batch 10"]:
        """Scores of the ten classes."""
        return jax.vmap(self.head)(self.embed(images))
