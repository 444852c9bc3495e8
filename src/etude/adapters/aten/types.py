"""Types of results, by torch's rule of promotion, and names of operations."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

Function = Callable[..., Any]


def result_type(*values: Any) -> np.dtype:
    """The type of a result, as torch has it.

    >>> result_type(jnp.ones(2, jnp.float16), jnp.float32(1), 2), result_type(jnp.arange(2), 0.5)
    (dtype('float16'), dtype('float32'))
    """
    tiers: list[list[Any]] = [[], [], []]
    for value in values:
        if isinstance(value, bool | int | float | complex):
            tiers[2].append(_OF_NUMBERS[type(value)])
        else:
            tiers[0 if jnp.ndim(value) else 1].append(value.dtype)
    found = np.dtype(bool)
    with jax.numpy_dtype_promotion("standard"):
        for tier in filter(None, tiers):
            one = reduce(jnp.promote_types, tier)
            if tier is tiers[2] and kind(one) == 3 and kind(found) == 2:
                found = jnp.promote_types(found, jnp.complex64)
            elif kind(one) > kind(found):
                found = one
    return jax.dtypes.canonicalize_dtype(found)


_OF_NUMBERS = {bool: np.bool_, int: np.int64, float: np.float32, complex: np.complex64}


def kind(dtype: Any) -> int:
    kinds = (jnp.complexfloating, jnp.floating, jnp.integer)
    return next((3 - place for place, one in enumerate(kinds) if jnp.issubdtype(dtype, one)), 0)


def common(*values: Any) -> list[Array]:
    """Values as arrays of one type."""
    dtype = result_type(*values)
    return [jnp.asarray(value).astype(dtype) for value in values]


def real(x: Array) -> Array:
    """Integers as single precision, which is what torch makes of them."""
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32)


def absolute(x: Array) -> Array:
    """Its gradient at 0 is 0, where that of `jnp.abs` is 1."""
    return jnp.abs(x) if kind(x.dtype) != 2 else x * lax.stop_gradient(jnp.sign(x))


def named(functions: dict[str, Function]) -> dict[str, Function]:
    """Operations by their full names; a key lists overloads behind a name, or none (default).

    >>> list(named({"exp": jnp.exp, "add Tensor Scalar": jnp.add}))
    ['aten.exp.default', 'aten.add.Tensor', 'aten.add.Scalar']
    """
    found: dict[str, Function] = {}
    for key, function in functions.items():
        name, *overloads = key.split()
        found |= {f"aten.{name}.{one}": function for one in overloads or ["default"]}
    return found
