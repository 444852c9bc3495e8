"""What a model must be before it is trained; what it is not is refused with the leaf named.

>>> import jax.numpy as jnp
>>> w = jnp.ones(2)
>>> inspect({"w": w})
>>> try:
...     inspect({"a": {"w": w}, "b": w})
... except ModelError as error:
...     print(str(error)[:57])
The model shares one array between ['a']['w'] and ['b'].
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.leaf_roles import Fixed, Role, is_array, roles, variables
from etude.errors import ModelError
from etude.kinds import is_a

_Path = tuple[Any, ...]


def inspect(model: PyTree) -> None:
    """Raises `ModelError` for a model that is no pytree of arrays, or that shares parameters."""
    _refuse_cycles(model, (), {id(model): ()})
    _refuse_constructors(model)
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        if is_a(leaf, np.ndarray | np.generic):
            _refuse_dtype(jax.tree_util.keystr(path), leaf)
    for path, node in jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_fixed):
        if dataclasses.is_dataclass(node) and not isinstance(node, type | Fixed):
            _refuse_hidden(jax.tree_util.keystr(path), node)
    _refuse_shared(model)


def _is_fixed(node: Any) -> bool:
    return isinstance(node, Fixed)


def _refuse_cycles(node: Any, path: _Path, above: dict[int, _Path]) -> None:
    # JAX would recurse without end, and leaves the interpreter damaged when it is stopped.
    found = jax.tree_util.default_registry.flatten_one_level_with_keys(node)
    if found is None:
        return
    children, _ = found
    for key, child in children:
        here = (*path, key)
        if id(child) in above:
            place = jax.tree_util.keystr(above[id(child)]) or "the model itself"
            raise ModelError(
                f"The model holds itself: {jax.tree_util.keystr(here)} is {place}. A pytree has "
                "no cycles. Keep the reference outside the model, or pass what is needed to the "
                "call."
            )
        _refuse_cycles(child, here, above | {id(child): here})


def _refuse_constructors(model: PyTree) -> None:
    leaves, treedef = jax.tree.flatten(model)
    try:
        jax.tree.unflatten(treedef, [None] * len(leaves))
        jax.tree.unflatten(treedef, [object()] * len(leaves))
    except Exception as error:
        raise ModelError(
            "A part of the model cannot be rebuilt with anything but arrays in it "
            f"({type(error).__name__}: {error}). JAX and the trainer rebuild pytrees with "
            "placeholders: let the function that was registered to unflatten the class set its "
            "attributes without checking or converting them (object.__new__), or make the class "
            "an equinox.Module."
        ) from error


def _refuse_hidden(name: str, leaf: Any) -> None:
    fields = [field.name for field in dataclasses.fields(leaf)]
    hidden = [f for f in fields if any(map(is_array, jax.tree.leaves(getattr(leaf, f, None))))]
    if hidden:
        kind = type(leaf).__name__
        raise ModelError(
            f"{name or 'The model'} is a {kind}, a dataclass that JAX does not know as a pytree: "
            f"its arrays ({', '.join(hidden)}) would never be trained. Register it: "
            f"jax.tree_util.register_dataclass({kind}), or make it an equinox.Module. If the "
            "arrays are constants, wrap it in et.Fixed."
        )


def _refuse_dtype(name: str, leaf: np.ndarray | np.generic) -> None:
    name = f"Leaf {name}" if name else "The model"
    if not (leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number)):
        raise ModelError(
            f"{name} is an array of {leaf.dtype} values, not of numbers. Keep it outside the "
            "model, or as a plain Python value, which is a constant of the program."
        )
    if not leaf.dtype.isnative:
        raise ModelError(
            f"{name} is of type {leaf.dtype.str!r}, whose bytes are in another order than this "
            "machine's. Convert it: array.astype(array.dtype.newbyteorder('='))."
        )
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
    if np.issubdtype(leaf.dtype, np.integer) and dtype != leaf.dtype and leaf.size:
        bounds = np.iinfo(dtype)
        if leaf.min() < bounds.min or leaf.max() > bounds.max:
            raise ModelError(
                f"{name} holds integers from {leaf.min()} to {leaf.max()}, which do not fit "
                f"{dtype}. Scale or hash them, or set jax_enable_x64."
            )


def _refuse_shared(model: PyTree) -> None:
    seen: dict[int, str] = {}
    for path, variable in variables(model):
        name = jax.tree_util.keystr(path)
        if id(variable) in seen:
            raise ModelError(
                f"The model shares one variable between {seen[id(variable)]} and {name}. As a "
                "pytree it would become two that part ways when trained. Keep it in one place "
                "and pass it to the other where it is used."
            )
        seen[id(variable)] = name
    leaves = jax.tree_util.tree_leaves_with_path(model)
    for (path, leaf), role in zip(leaves, roles(model), strict=True):
        name = jax.tree_util.keystr(path)
        if role is not Role.PARAMETER:
            continue
        if id(leaf) in seen:
            raise ModelError(
                f"The model shares one array between {seen[id(leaf)]} and {name}. As a pytree it "
                "becomes two that part ways when trained. To tie weights, use equinox.nn.Shared "
                "(or keep the array in one place and pass it to the other); if they only begin "
                "alike, copy one: jnp.copy(array)."
            )
        seen[id(leaf)] = name
