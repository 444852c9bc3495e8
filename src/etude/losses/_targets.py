"""What the losses share: targets as probabilities, and the reduction over the batch."""

from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from etude.engine.errors import suggest

Reduction: TypeAlias = Literal["none", "mean", "sum"]


def one_of(owner: str, field: str, value: Any, choices: Any) -> None:
    """Refuses a value that a Literal type does not list, naming the nearest ones."""
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{owner}: got {field}={value!r}. {suggest(str(value), known)}")


def probabilities(
    targets: Int[Array, "batch"] | Float[Array, "batch classes"], classes: int, dtype: Any
) -> Float[Array, "batch classes"]:
    """Labels as one-hot rows; what is probabilities already stays so."""
    if jnp.issubdtype(targets.dtype, jnp.floating):
        return targets.astype(dtype)
    if not isinstance(targets, Tracer):
        values = np.asarray(targets)
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(
                f"targets: got labels from {values.min()} to {values.max()}, expected 0 to "
                f"{classes - 1} since logits have {classes} classes. Renumber the labels."
            )
    # A label outside the range, unseen under jit, becomes NaN rather than a silent loss of 0.
    valid = (targets >= 0) & (targets < classes)
    return jnp.where(valid[:, None], jax.nn.one_hot(targets, classes, dtype=dtype), jnp.nan)


def reduce_batch(values: Float[Array, "batch"], reduction: str) -> Float[Array, "..."]:
    """All values, their mean or their sum."""
    one_of("loss", "reduction", reduction, Reduction)
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


def check_temperature(owner: str, temperature: float) -> None:
    """Refuses a temperature that would divide by zero or turn the loss around."""
    if temperature <= 0:
        raise ValueError(f"{owner}: got temperature={temperature}, expected more than 0.")


def unit_rows(values: Float[Array, "batch dim"]) -> Float[Array, "batch dim"]:
    """Rows of length one; a row of zeros stays zero, with a gradient of zero."""
    squares = jnp.sum(values**2, axis=-1, keepdims=True)
    nonzero = squares > 0
    return jnp.where(nonzero, values * jax.lax.rsqrt(jnp.where(nonzero, squares, 1)), 0)
