"""Operations that move elements, change shapes and types, or make arrays."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from etude.adapters.aten.reductions import axes_of
from etude.adapters.aten.types import common


def _expand(x: Array, sizes: Sequence[int], *, implicit: bool = False) -> Array:
    old = (1,) * (len(sizes) - x.ndim) + x.shape
    return jnp.broadcast_to(
        x, [was if size == -1 else size for was, size in zip(old, sizes, strict=True)]
    )


def _squeeze(x: Array, dim: Any) -> Array:
    return x.squeeze(tuple(axis for axis in axes_of(x, dim) if x.ndim and x.shape[axis] == 1))


def along(x: Array, dim: int, index: Any) -> tuple[Any, ...]:
    """Indices that take `index` of one axis and all of those before."""
    return (slice(None),) * (dim % x.ndim) + (index,)


def _slice(x: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Array:
    return x[along(x, dim, slice(start, end, step))]


def _slice_scatter(
    x: Array, new: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Array:
    return x.at[along(x, dim, slice(start, end, step))].set(new.astype(x.dtype))


def _split(x: Array, sizes: Any, dim: int = 0) -> list[Array]:
    if isinstance(sizes, int):
        return jnp.split(x, list(range(sizes, x.shape[dim], sizes)), dim)
    return jnp.split(x, np.cumsum(sizes)[:-1].tolist(), dim)


def _cat(arrays: Sequence[Array], dim: int = 0) -> Array:
    # torch leaves empty arrays of one axis out.
    return jnp.concatenate(common(*[x for x in arrays if x.shape != (0,)]), dim)


def _pad(x: Array, pads: Sequence[int], value: Any = 0) -> Array:
    return lax.pad(x, jnp.asarray(value, x.dtype), [(*pair, 0) for pair in _pairs(x, pads)])


def _pairs(x: Array, pads: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after each axis; torch counts from the last."""
    last = [(pads[i], pads[i + 1]) for i in range(0, len(pads), 2)]
    return [(0, 0)] * (x.ndim - len(last)) + last[::-1]


def _copy(x: Array, source: Any, *_: Any) -> Array:
    return jnp.broadcast_to(jnp.asarray(source).astype(x.dtype), x.shape)


SHAPES = {
    "_to_copy": lambda x, *, dtype=None: x if dtype is None else x.astype(dtype),
    "_unsafe_view": jnp.reshape,
    "alias": lambda x: x,
    "cat": _cat,
    "clone": lambda x: x,
    "constant_pad_nd": _pad,
    "copy": _copy,
    "detach": lax.stop_gradient,
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: jnp.diagonal(x, offset, dim1, dim2),
    "expand": _expand,
    "flip": jnp.flip,
    "permute": jnp.transpose,
    "reflection_pad1d": lambda x, pads: jnp.pad(x, _pairs(x, pads), "reflect"),
    "reflection_pad2d": lambda x, pads: jnp.pad(x, _pairs(x, pads), "reflect"),
    "repeat": jnp.tile,
    "replication_pad2d": lambda x, pads: jnp.pad(x, _pairs(x, pads), "edge"),
    "roll": lambda x, shifts, dims=(): (
        jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, shifts[0])
    ),
    "select int": lambda x, dim, index: x[along(x, dim, index)],
    "select_scatter": lambda x, new, dim, index: x.at[along(x, dim, index)].set(
        new.astype(x.dtype)
    ),
    "slice Tensor": _slice,
    "slice_scatter": _slice_scatter,
    "split Tensor": _split,
    "split_with_sizes": _split,
    "squeeze default dim dims": lambda x, dim=None: _squeeze(x, dim),
    "sym_size int": lambda x, dim: x.shape[dim],
    "tril": lambda x, diagonal=0: jnp.tril(x, diagonal),
    "triu": lambda x, diagonal=0: jnp.triu(x, diagonal),
    "unbind int": lambda x, dim=0: list(jnp.moveaxis(x, dim, 0)),
    "unsqueeze": jnp.expand_dims,
    "view": jnp.reshape,
}
