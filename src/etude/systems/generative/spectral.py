"""Spectral normalisation: the layers of a critic divided by their largest singular values."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.generative.perceptron import Perceptron


@final
class SpectralNorm(eqx.Module):
    """Divides each weight by an estimate of its spectral norm (Miyato et al. 2018, algorithm 1).

    Each call makes one step of the power iteration, from the left singular vectors of the call
    before: an `etude.Carry`. In inference mode the vectors stand still.

    Attributes:
        vectors: a unit vector for each layer, as long as its outputs.
        inference: whether the vectors stand still, as in every validation.

    >>> net = Perceptron(2, (8,), 1, key=jax.random.key(0))
    >>> norm = SpectralNorm.create(jax.random.key(1), net)
    >>> for _ in range(50):
    ...     normalised, norm = norm(net)
    >>> [round(float(jnp.linalg.norm(layer.weight, 2)), 3) for layer in normalised.layers]
    [1.0, 1.0]
    """

    vectors: et.Carry
    inference: bool

    @classmethod
    def create(cls, key: Key[Array, ""], net: Perceptron) -> "SpectralNorm":
        """Random vectors for the layers of a perceptron."""
        keys = jax.random.split(key, len(net.layers))
        drawn = [
            jax.random.normal(k, layer.weight.shape[:1])
            for k, layer in zip(keys, net.layers, strict=True)
        ]
        return cls(et.Carry(tuple(map(_unit, drawn))), inference=False)

    def __call__(self, net: Perceptron) -> tuple[Perceptron, "SpectralNorm"]:
        """The perceptron with normalised weights, and the vectors after their step."""
        # In at least float32, which the vectors keep under half precision.
        weights = [et.widened(layer.weight) for layer in net.layers]
        pairs = [_step(w, u) for w, u in zip(weights, self.vectors.value, strict=True)]
        # Both vectors are constants: the gradient of u W v is that of the singular value.
        left = self.vectors.value if self.inference else tuple(after for after, _ in pairs)
        sizes = [u @ w @ v for w, u, (_, v) in zip(weights, left, pairs, strict=True)]
        scaled = [
            (w / size).astype(layer.weight.dtype)
            for w, size, layer in zip(weights, sizes, net.layers, strict=True)
        ]
        divided = eqx.tree_at(lambda n: [layer.weight for layer in n.layers], net, scaled)
        return divided, eqx.tree_at(lambda norm: norm.vectors, self, et.Carry(left))


def _step(weight: Float[Array, "m n"], left: Float[Array, " m"]) -> tuple[Array, Array]:
    """The left and right vectors after one step."""
    weight, left = jax.lax.stop_gradient((weight, left))
    right = _unit(left @ weight)
    return _unit(weight @ right), right


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)
