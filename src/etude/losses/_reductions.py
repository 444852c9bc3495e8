"""What the losses share: the reduction over the batch, and rows of length one."""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.inputs import check_real, one_of, real_floats

Reduction: TypeAlias = Literal["none", "mean", "sum"]


def reduce_batch(values: Float[Array, "batch"], reduction: str) -> Float[Array, "..."]:
    """All values, their mean or their sum."""
    one_of("loss", "reduction", reduction, Reduction)
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


def check_temperature(owner: str, temperature: float) -> None:
    """Refuses a temperature that would divide by zero or turn the loss around, or is infinite."""
    check_real(owner, "temperature", temperature, above=0)


def unit_rows(values: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
    """Rows of length one, in float32 or wider; a row of zeros stays zero, with a gradient of zero.

    A row is first divided by a power of two near its largest number, which changes no digit, so
    that squares neither overflow nor vanish. Raises `DataError` for anything but real floats.

    >>> unit_rows(jnp.array([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    rows = real_floats("unit_rows", "embeddings", values)
    largest = jax.lax.stop_gradient(jnp.abs(rows).max(axis=-1, keepdims=True, initial=0))
    zero = largest == 0
    # The unit row does not depend on this factor, and so neither does the gradient.
    exponent = jnp.minimum(jnp.frexp(largest)[1], jnp.finfo(rows.dtype).maxexp - 2)
    scaled = rows * jnp.ldexp(jnp.ones_like(largest), 1 - exponent)
    squares = jnp.sum(scaled**2, axis=-1, keepdims=True)
    return jnp.where(zero, 0, scaled * jax.lax.rsqrt(jnp.where(zero, 1, squares)))
