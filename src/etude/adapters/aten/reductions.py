"""Sums, extrema, norms, orders: operations over axes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from etude.adapters.aten.types import Function, absolute
from etude.errors import ModelError


def axes_of(x: Array, dim: Any) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, Sequence) and not dim):
        return tuple(range(x.ndim))
    return tuple(axis % max(x.ndim, 1) for axis in ([dim] if isinstance(dim, int) else dim))


def _reduce(function: Function, counts: bool = False) -> Function:
    """A reduction over axes; those of integers that count are of 64 bits, as JAX has them."""

    def reduced(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
        if dtype is None and counts and not jnp.issubdtype(x.dtype, jnp.inexact):
            dtype = jax.dtypes.canonicalize_dtype(np.int64)
        x = x if dtype is None else x.astype(dtype)
        return function(x, axis=axes_of(x, dim) if x.ndim else None, keepdims=keepdim)

    return reduced


def _place(function: Function) -> Function:
    """The index of an extremum, over all (None) or over one axis."""

    def found(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        return function(x, axis=dim, keepdims=keepdim).astype(
            jax.dtypes.canonicalize_dtype(np.int64)
        )

    return found


def _extremum(function: Function) -> Function:
    def found(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
        if not x.ndim:
            return x, _place(function)(x)
        index = _place(function)(x, dim, True)
        value = jnp.take_along_axis(x, index, dim)
        return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))

    return found


def _variance(x: Array, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Array:
    ddof = 1 if correction is None else correction
    return jnp.var(x, axes_of(x, dim), ddof=ddof, keepdims=keepdim)


def _variance_and_mean(x: Array, dim: Any = None, **options: Any) -> tuple[Array, Array]:
    keep = options.get("keepdim", False)
    return _variance(x, dim, **options), jnp.mean(x, axes_of(x, dim), keepdims=keep)


def _norm(
    x: Array, order: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Array:
    x = absolute(x if dtype is None else x.astype(dtype))
    axes = axes_of(x, dim)
    if order == 1:
        return x.sum(axes, keepdims=keepdim)
    if order == float("inf"):
        return x.max(axes, keepdims=keepdim)
    if order != 2:
        raise ModelError(f"norms are those of order 1, 2 and infinity; got {order}")
    square = (x * x).sum(axes, keepdims=keepdim)
    # Where all is 0, the gradient is 0 as well, not NaN.
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _cumulate(function: Function) -> Function:
    def cumulated(x: Array, dim: int, *, dtype: Any = None) -> Array:
        return function(x if dtype is None else x.astype(dtype), axis=dim)

    return cumulated


def _sort(x: Array, dim: int = -1, descending: bool = False, **_: Any) -> tuple[Array, Array]:
    order = jnp.argsort(x, dim, descending=descending)
    return jnp.take_along_axis(x, order, dim), order.astype(jax.dtypes.canonicalize_dtype(np.int64))


def _top(x: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple:
    return tuple(lax.slice_in_dim(part, 0, k, axis=dim) for part in _sort(x, dim, largest))


REDUCTIONS = {
    "all default dim dims": _reduce(jnp.all),
    "amax": _reduce(jnp.max),
    "amin": _reduce(jnp.min),
    "any default dim dims": _reduce(jnp.any),
    "argmax": _place(jnp.argmax),
    "argmin": _place(jnp.argmin),
    "cumprod": _cumulate(jnp.cumprod),
    "cumsum": _cumulate(jnp.cumsum),
    "linalg_vector_norm": _norm,
    "logsumexp": lambda x, dim, keepdim=False: jax.nn.logsumexp(
        x, axes_of(x, dim), keepdims=keepdim
    ),
    "max": _reduce(jnp.max),
    "max dim": _extremum(jnp.argmax),
    "mean default dim": _reduce(jnp.mean),
    "min": _reduce(jnp.min),
    "min dim": _extremum(jnp.argmin),
    "prod default dim_int": _reduce(jnp.prod, counts=True),
    "sort": _sort,
    "sum default dim_IntList": _reduce(jnp.sum, counts=True),
    "topk": _top,
    "var correction": _variance,
    "var_mean correction": _variance_and_mean,
}
