"""Operations that read and write at indices."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from etude.adapters.aten.shapes import along
from etude.errors import ModelError


def _taken(x: Array, index: tuple[Any, ...]) -> Array:
    # A real number from a place that does not exist is NaN, which the trainer sees.
    return x.at[index].get(mode="fill")


def _embedding(
    weight: Array, index: Array, padding: int = -1, by_frequency: bool = False, sparse: bool = False
) -> Array:
    if by_frequency or sparse:
        raise ModelError("scale_grad_by_freq and sparse gradients are not supported")
    rows = weight.at[index].get(mode="fill", wrap_negative_indices=False)
    if padding < 0:
        return rows
    return jnp.where((index == padding)[..., None], lax.stop_gradient(rows), rows)


def _index(x: Array, indices: Sequence[Any]) -> Array:
    return _taken(x, tuple(slice(None) if one is None else one for one in indices))


def _index_put(x: Array, indices: Sequence[Any], values: Array, accumulate: bool = False) -> Array:
    if any(one is not None and one.dtype == bool for one in indices):
        return _mask_put(x, indices, values.astype(x.dtype), accumulate)
    at = x.at[tuple(slice(None) if one is None else one for one in indices)]
    values = values.astype(x.dtype)
    return at.add(values) if accumulate else at.set(values)


def _mask_put(x: Array, indices: Sequence[Any], values: Array, accumulate: bool) -> Array:
    """The same where a truth value says which elements, or rows, are meant."""
    *before, mask = indices
    behind = x.ndim - len(before) - mask.ndim
    if any(one is not None for one in before) or values.ndim > behind:
        raise ModelError(
            "a boolean index takes one value, or one row, for all that it means; for others, write "
            "torch.where(mask, new, x)"
        )
    mask = mask.reshape(*mask.shape, *[1] * behind)
    return jnp.where(mask, x + values if accumulate else values, x)


def _grid(index: Array, dim: int) -> tuple[Any, ...]:
    """Indices of the elements that gather and scatter mean."""
    places: list[Any] = list(jnp.indices(index.shape, sparse=True))
    places[dim % index.ndim] = index
    return tuple(places)


def _gather(x: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    return _taken(x, _grid(index, dim)) if index.ndim else x


def _scatter(x: Array, dim: int, index: Array, source: Any, add: bool = False) -> Array:
    if jnp.ndim(source):
        source = source[tuple(map(slice, index.shape))]
    at, source = x.at[_grid(index, dim)], jnp.asarray(source).astype(x.dtype)
    return at.add(source) if add else at.set(source)


PLACES = {
    "_unsafe_index Tensor": _index,
    "embedding": _embedding,
    "gather": _gather,
    "index Tensor": _index,
    "index_put": _index_put,
    "index_select": lambda x, dim, index: _taken(x, along(x, dim, index)),
    "scatter src value": _scatter,
    "scatter_add": partial(_scatter, add=True),
}
