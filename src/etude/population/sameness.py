"""Whether models and values are the same but for the values of arrays: type, text, functions.

>>> import jax
>>> difference({"w": 1.0, "f": jax.numpy.tanh}, {"w": 1.0, "f": jax.numpy.sin})[0]
"['f']"
>>> same([1, 2.0], [1, 2.0]), same(1, True), same(1, 1.0)
(True, False, False)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from types import CellType, FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import dtypes
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array

_registry = jax.tree_util.default_registry


def difference(one: PyTree, other: PyTree) -> tuple[str, str, str] | None:
    """The first place where two models differ in more than the values of arrays.

    Of the place, its name and what the two models have there. None if there is no such place.
    """
    return _difference(one, other, ())


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal, throughout.

    Functions are the same if they are one object, or of one line of code and close over the same:
    so is a lambda that `init` makes at every call.
    """
    return _same(one, other, frozenset())


def _difference(one: Any, other: Any, path: tuple[Any, ...]) -> tuple[str, str, str] | None:
    place = jax.tree_util.keystr(path) or "its only leaf"
    if is_array(one) and is_array(other):
        layouts = [f"{a.dtype}{list(np.shape(a))}" for a in (one, other)]
        return None if layouts[0] == layouts[1] else (place, layouts[0], layouts[1])
    mine, theirs = (_registry.flatten_one_level_with_keys(node) for node in (one, other))
    if type(one) is not type(other):
        return place, _told(one), _told(other)
    if mine is None or theirs is None:  # a leaf
        return None if same(one, other) else (place, repr(one), repr(other))
    children, others = dict(mine[0]), dict(theirs[0])
    for key in {**children, **others}:
        if key not in children or key not in others:
            told = [_told(of[key]) if key in of else "nothing" for of in (children, others)]
            return jax.tree_util.keystr((*path, key)), told[0], told[1]
        if found := _difference(children[key], others[key], (*path, key)):
            return found
    return None if same(mine[1], theirs[1]) else _static(one, other, path)


def _static(one: Any, other: Any, path: tuple[Any, ...]) -> tuple[str, str, str]:
    """The part of two nodes beside their children that differs: a static field, where it is one."""
    place = jax.tree_util.keystr(path)
    for field in dataclasses.fields(one) if dataclasses.is_dataclass(one) else ():
        mine, theirs = (getattr(node, field.name, None) for node in (one, other))
        if _is_static(mine) and not same(mine, theirs):
            return f"{place}.{field.name}", repr(mine), repr(theirs)
    return place or "the model itself", repr(one), repr(other)


def _is_static(value: Any) -> bool:
    return not any(map(is_array, jax.tree.leaves(value)))


def _told(node: Any) -> str:
    return f"{node.dtype}{list(np.shape(node))}" if is_array(node) else type(node).__name__


def _same(one: Any, other: Any, under: frozenset[tuple[int, int]]) -> bool:
    pair = id(one), id(other)
    if one is other or pair in under:  # a function may close over itself
        return True
    if type(one) is not type(other):
        return False
    mine, theirs = _parts(one), _parts(other)
    if mine is not None and theirs is not None:
        return len(mine) == len(theirs) and all(
            _same(a, b, under | {pair}) for a, b in zip(mine, theirs, strict=True)
        )
    if is_array(one):
        return _equal(one, other)
    try:
        return bool(one == other) or (one != one and other != other)  # NaN
    except Exception:  # of an equality that gives no truth value
        return False


def _equal(one: Any, other: Any) -> bool:
    """Whether two arrays have one type and equal values; NaN is equal to itself."""
    if one.dtype != other.dtype:
        return False
    if jnp.issubdtype(one.dtype, dtypes.prng_key):
        one, other = map(jax.random.key_data, (one, other))
    return np.array_equal(one, other, equal_nan=jnp.issubdtype(one.dtype, np.inexact))


def _parts(value: Any) -> Sequence[Any] | None:
    """What makes up a function or a container; None of any other value."""
    if isinstance(value, FunctionType):
        return value.__code__, value.__defaults__, value.__kwdefaults__, value.__closure__
    if isinstance(value, CellType):
        try:
            return (value.cell_contents,)
        except ValueError:  # an empty one
            return ()
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, Mapping):
        return [*value.items()]
    return value if isinstance(value, tuple | list) else None
