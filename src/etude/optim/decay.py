"""Which parameters weight decay is for: matrices and kernels, not biases and normalisation."""

import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

_NORMS = (eqx.nn.LayerNorm, eqx.nn.RMSNorm, eqx.nn.GroupNorm, eqx.nn.BatchNorm)


def decay_mask(params: PyTree) -> PyTree:
    """Which leaves should decay, by their structure: the `mask` of an optimizer.

    A leaf decays if it extends along two axes or more (a bias of a convolution, of shape
    `(channels, 1, 1)`, extends along one) and does not lie inside a normalisation layer of
    Equinox or Flax NNX, whatever it is called and wherever the layer stands. Of a stack of
    layers, made by `jax.vmap`, the stacking axis counts as one of the two: mask it by hand.

    >>> import jax.numpy as jnp
    >>> decay_mask({"kernel": jnp.ones((3, 2)), "anything": jnp.ones((3, 1)), "3": jnp.ones(3)})
    {'3': False, 'anything': False, 'kernel': True}
    """
    norms = _NORMS + _flax_norms()

    def decays(node: Any) -> Any:
        if isinstance(node, norms):
            return jax.tree.map(lambda leaf: False, node)
        return sum(size > 1 for size in jnp.shape(node)) >= 2

    return jax.tree.map(decays, params, is_leaf=lambda node: isinstance(node, norms))


def _flax_norms() -> tuple[type, ...]:
    # A model can only hold these if its owner has imported Flax.
    nnx = sys.modules.get("flax.nnx")
    if nnx is None:
        return ()
    return (nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm)
