"""A state as named arrays on the host, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def to_host(tree: PyTree) -> dict[str, np.ndarray]:
    """Every array of `tree` by its path, copied to the host, so that donation cannot touch it.

    >>> to_host({"w": jnp.ones(2)})
    {"['w']": array([1., 1.], dtype=float32)}
    """
    paths = jax.tree_util.tree_leaves_with_path(tree)
    leaves = [jax.random.key_data(leaf) if _is_key(leaf) else leaf for _, leaf in paths]
    names = [jax.tree_util.keystr(path) for path, _ in paths]
    # On a CPU device_get gives views of the device's own buffers.
    values = [np.array(value) for value in jax.device_get(leaves)]
    return dict(zip(names, values, strict=True))


def expected(tree: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes and dtypes that `to_host` of a tree like this one would have."""
    shapes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        shapes[jax.tree_util.keystr(path)] = jax.ShapeDtypeStruct(data.shape, data.dtype)
    return shapes


def from_host(like: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    """A tree like `like` with the values of `arrays`, on the devices of its arrays.

    Only the shapes and dtypes of `like` count where its leaves are `jax.ShapeDtypeStruct`.
    """

    def take(path: Any, leaf: Any) -> Any:
        stored = arrays[jax.tree_util.keystr(path)]
        # A scalar that Python gave is weakly typed, and must be again: it promotes differently.
        weak = stored.ndim == 0 and getattr(leaf, "weak_type", False)
        placed = isinstance(leaf, jax.Array) and leaf.committed
        sharding = leaf.sharding if placed else None
        if weak:
            with jax.transfer_guard("allow"):
                return jax.device_put(jnp.array(stored.item()), sharding)
        # A copy: the state will be donated, and on a CPU a device shares the memory of the host.
        own = np.array(stored)
        if not _is_key(leaf):
            return jax.device_put(own, sharding)
        with jax.transfer_guard("allow"):
            impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
        return jax.device_put(jax.random.wrap_key_data(jax.device_put(own), impl=impl), sharding)

    return jax.tree_util.tree_map_with_path(take, like)
