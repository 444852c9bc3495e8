"""What the augmentations share: one key per sample, spans, mixing weights, checks."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact, Int, Key

from etude.inputs import Values, floating


def per_sample(function: Any, key: Key[Array, ""], batch: Array, *more: Array) -> Array:
    """Apply `function(key, sample, ...)` to each sample with a key of its own.

    >>> x = per_sample(lambda k, s: s + jax.random.uniform(k), jax.random.key(0), jnp.zeros((2, 3)))
    >>> bool(x[0, 0] == x[0, 2]), bool(x[0, 0] == x[1, 0])
    (True, False)
    """
    return jax.vmap(function)(jax.random.split(key, batch.shape[0]), batch, *more)


def random_span(key: Key[Array, ""], length: int, width: Int[Array, ""]) -> Bool[Array, " length"]:
    """A mask that is true over `width` neighbours, anywhere along an axis, overhanging its ends.

    The start is uniform over all places where the span touches the axis. So each position is
    masked with the same probability, `width / (length + width - 1)`; a span that must lie inside
    would spare the ends.

    >>> int(random_span(jax.random.key(0), 8, jnp.asarray(0)).sum())
    0
    """
    start = jax.random.randint(key, (), 1 - width, length)
    position = jnp.arange(length)
    return (position >= start) & (position < start + width)


def along(axis: int, mask: Array, like: Array) -> Array:
    """Reshape a mask of one axis so that it broadcasts against `like`.

    >>> along(-2, jnp.ones(3), jnp.ones((2, 3, 4))).shape
    (1, 3, 1)
    """
    shape = [1] * like.ndim
    shape[axis] = -1
    return mask.reshape(shape)


def in_single(values: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """Half precision as float32, in which augmentations compute; wider numbers as they are.

    >>> in_single(jnp.ones(2, jnp.bfloat16)).dtype, in_single(jnp.ones(2, jnp.complex64)).dtype
    (dtype('float32'), dtype('complex64'))
    """
    return values.astype(jnp.float32) if values.dtype.itemsize < 4 else values


def choose(
    chosen: Bool[Array, " batch"], yes: Inexact[Array, "batch ..."], no: Inexact[Array, "batch ..."]
) -> Inexact[Array, "batch ..."]:
    """Take each sample from `yes` where chosen, else from `no`.

    >>> choose(jnp.array([True, False]), jnp.ones((2, 1)), jnp.zeros((2, 1))).tolist()
    [[1.0], [0.0]]
    """
    return jnp.where(along(0, chosen, yes), yes, no)


def batched(
    owner: str, values: Values, least: int = 2, most: int | None = None
) -> Inexact[Array, "batch *axes"]:
    """A batch of numbers, integers as float32; ValueError for a sample without its batch axis.

    It would be taken apart: every number would be a sample, with a draw of its own.

    >>> batched("shift", jnp.ones(3))
    Traceback (most recent call last):
    ValueError: shift: got shape (3,), expected 2 axes or more, the batch first. Add it: x[None].
    """
    found = floating(values)
    if found.ndim < least or (most is not None and found.ndim > most):
        axes = f"{least} axes" + (" or more" if most is None else "")
        raise ValueError(
            f"{owner}: got shape {found.shape}, expected {axes}, the batch first. Add it: x[None]."
        )
    return found


def require(condition: bool, message: str) -> None:
    """Raise `ValueError` with the message unless the condition holds.

    >>> require(1 < 2, "one is less than two")
    """
    if not condition:
        raise ValueError(message)
