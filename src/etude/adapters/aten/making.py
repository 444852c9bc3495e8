"""Operations that make arrays, of constants and of random numbers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Shaped

from etude.adapters.aten.types import Function
from etude.errors import RuleError


def _like(value: Any) -> Function:
    return lambda x, *, dtype=None: jnp.full(x.shape, value, dtype or x.dtype)


def _needed(key: Key[Array, ""] | None) -> Key[Array, ""]:
    if key is None:
        raise RuleError(
            "The module draws random numbers in evaluation, which need a key: "
            "`model(x, key=context.key)`."
        )
    return key


def _random(function: Function) -> Function:
    def drawn(key: Key[Array, ""] | None, size: Sequence[int], *, dtype: Any) -> Array:
        return function(_needed(key), tuple(size), dtype)

    return drawn


def _random_like(function: Function) -> Function:
    def drawn(key: Key[Array, ""] | None, x: Array, *, dtype: Any = None) -> Array:
        return function(_needed(key), x.shape, dtype or x.dtype)

    return drawn


def _bernoulli(key: Key[Array, ""] | None, x: Array, p: Any = None) -> Array:
    return jax.random.bernoulli(_needed(key), x if p is None else p, x.shape).astype(x.dtype)


def dropout(
    key: Key[Array, ""] | None, x: Shaped[Array, "..."], rate: float, training: bool | None
) -> tuple[Array, Array]:
    """Values that stay, scaled so that their mean stays, and which do."""
    if not training or not rate:
        return x, jnp.ones(x.shape, bool)
    kept = jax.random.bernoulli(_needed(key), 1 - rate, x.shape)
    scale = 1 / (1 - rate) if rate < 1 else 0
    return jnp.where(kept, x * jnp.asarray(scale, x.dtype), 0), kept


MADE = {
    "arange start_step": lambda start, end, step=1, *, dtype: jnp.arange(start, end, step, dtype),
    "empty memory_format": lambda size, *, dtype: jnp.zeros(size, dtype),
    "full": lambda size, value, *, dtype: jnp.full(size, value, dtype),
    "scalar_tensor": lambda value, *, dtype: jnp.asarray(value, dtype),
}

LIKE = {
    "full_like": lambda x, value, *, dtype=None: jnp.full(x.shape, value, dtype or x.dtype),
    "ones_like": _like(1),
    "zeros_like": _like(0),
}

RANDOM_MADE = {"rand": _random(jax.random.uniform), "randn": _random(jax.random.normal)}

RANDOM_LIKE = {
    "bernoulli default p": _bernoulli,
    "native_dropout": dropout,
    "rand_like": _random_like(jax.random.uniform),
    "randn_like": _random_like(jax.random.normal),
}
