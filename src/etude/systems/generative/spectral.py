"""Spectral normalisation: the weights of a critic divided by their largest singular values."""

from typing import Any, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

import etude as et

Net = TypeVar("Net")


@final
class SpectralNorm(eqx.Module):
    """Divides each weight by an estimate of its spectral norm (Miyato et al. 2018, algorithm 1).

    Weights are matrices, and what becomes one with a row for each place of its first axis, such as
    the kernel of a convolution.

    Each call makes one step of the power iteration, from the left singular vectors of the call
    before: an `etude.Carry`. In inference mode the vectors stand still.

    Attributes:
        vectors: a unit vector for each weight, as long as its first axis.
        inference: whether the vectors stand still, as in every validation.

    >>> net = eqx.nn.MLP(2, 1, 8, 1, key=jax.random.key(0))
    >>> norm = SpectralNorm.create(jax.random.key(1), net)
    >>> for _ in range(50):
    ...     normalised, norm = norm(net)
    >>> [round(float(jnp.linalg.norm(layer.weight, 2)), 3) for layer in normalised.layers]
    [1.0, 1.0]
    """

    vectors: et.Carry
    inference: bool

    @classmethod
    def create(cls, key: Key[Array, ""], net: PyTree) -> "SpectralNorm":
        """Random vectors for the weights of a network.

        Raises `ConfigurationError` if it has none.
        """
        weights = [leaf for leaf in jax.tree.leaves(net, is_leaf=_is_box) if _is_weight(leaf)]
        if not weights:
            raise et.ConfigurationError(
                "SpectralNorm: it divides weights of two or more axes, and the network has none. "
                "Give a network that holds its weights as arrays, such as an Equinox module."
            )
        keys = jax.random.split(key, len(weights))
        drawn = [
            jax.random.normal(k, weight.shape[:1]) for k, weight in zip(keys, weights, strict=True)
        ]
        return cls(et.Carry(tuple(map(_unit, drawn))), inference=False)

    def __call__(self, net: Net) -> tuple[Net, "SpectralNorm"]:
        """The network with normalised weights, and the vectors after their step."""
        leaves, treedef = jax.tree.flatten(net, is_leaf=_is_box)
        places = [number for number, leaf in enumerate(leaves) if _is_weight(leaf)]
        own = [leaves[number] for number in places]
        # In at least float32, which the vectors keep under half precision.
        weights = [et.widened(weight).reshape(len(weight), -1) for weight in own]
        pairs = [_step(w, u) for w, u in zip(weights, self.vectors.value, strict=True)]
        # Both vectors are constants: the gradient of u W v is that of the singular value.
        left = self.vectors.value if self.inference else tuple(after for after, _ in pairs)
        sizes = [u @ w @ v for w, u, (_, v) in zip(weights, left, pairs, strict=True)]
        for number, w, size, weight in zip(places, weights, sizes, own, strict=True):
            leaves[number] = (w / size).reshape(weight.shape).astype(weight.dtype)
        divided = jax.tree.unflatten(treedef, leaves)
        return divided, eqx.tree_at(lambda norm: norm.vectors, self, et.Carry(left))


def _is_box(node: Any) -> bool:
    return isinstance(node, et.Fixed | et.Carry)


def _is_weight(leaf: Any) -> bool:
    # A bias of one number for each channel may have axes of length 1.
    return eqx.is_inexact_array(leaf) and (
        leaf.ndim == 2 or (leaf.ndim > 2 and leaf.size > len(leaf))
    )


def _step(weight: Float[Array, "m n"], left: Float[Array, " m"]) -> tuple[Array, Array]:
    """The left and right vectors after one step."""
    weight, left = jax.lax.stop_gradient((weight, left))
    right = _unit(left @ weight)
    return _unit(weight @ right), right


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)
