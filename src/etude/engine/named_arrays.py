"""A state as named arrays, and back.

>>> state = {"w": jnp.ones(2), "key": jax.random.key(0)}
>>> {name: array.dtype.name for name, array in named(state).items()}
{"['key']": 'uint32', "['w']": 'float32'}
>>> from_named(state, named(state))["key"].dtype
key<fry>
"""

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.place import put


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def named(tree: PyTree) -> dict[str, jax.Array]:
    """Every array of `tree` by its path; of a random key, its raw numbers."""
    return {
        jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def expected(tree: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    """What `named` of a tree like this one has: shapes, dtypes, and shardings.

    A sharding stands where an array was placed on purpose, and neither for random keys nor for
    weakly typed scalars, which `from_named` places.
    """
    shapes: dict[str, jax.ShapeDtypeStruct] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        sharding = None if _is_key(leaf) or _is_weak(leaf) else _sharding_of(leaf)
        shapes[jax.tree_util.keystr(path)] = jax.ShapeDtypeStruct(
            data.shape, data.dtype, sharding=sharding
        )
    return shapes


def from_named(like: PyTree, arrays: Mapping[str, np.ndarray | jax.Array]) -> PyTree:
    """A tree like `like` with the values of `arrays`.

    Those of JAX stay where they are; plain ones are copied to the devices that `like` has them on.
    Only the shapes and dtypes of `like` count where its leaves are `jax.ShapeDtypeStruct`.
    """

    def take(path: Any, leaf: Any) -> Any:
        stored = arrays[jax.tree_util.keystr(path)]
        if _is_key(leaf):
            with jax.transfer_guard("allow"):
                impl = jax.random.key_impl(jnp.empty((), leaf.dtype))
            data = jax.device_put(_own(stored))
            key = cast(jax.Array, jax.random.wrap_key_data(data, impl=impl))
            return put(key, _sharding_of(leaf))
        if isinstance(stored, jax.Array):
            return stored
        if _is_weak(leaf):
            with jax.transfer_guard("allow"):
                return put(jnp.array(stored.item()), _sharding_of(leaf))
        return put(_own(stored), _sharding_of(leaf))

    return jax.tree_util.tree_map_with_path(take, like)


def _own(array: np.ndarray | jax.Array) -> np.ndarray:
    # A copy: the state will be donated, and on a CPU a device shares the memory of the host.
    return np.array(array)


def _is_weak(leaf: Any) -> bool:
    # A scalar that Python gave is weakly typed, and must be again: it promotes differently.
    return leaf.ndim == 0 and getattr(leaf, "weak_type", False)


def _sharding_of(leaf: Any) -> jax.sharding.Sharding | None:
    """Where an array was placed on purpose."""
    return leaf.sharding if isinstance(leaf, jax.Array) and leaf.committed else None
