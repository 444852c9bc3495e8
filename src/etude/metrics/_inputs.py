"""What the metrics share: class ids, masks, and the refusal of what cannot be counted."""

from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from etude.engine.errors import suggest

Average: TypeAlias = Literal["macro", "micro", "weighted"]

#: Which samples count: true, or any weight but zero. None counts all of them.
Mask: TypeAlias = Bool[Array, "batch"] | Float[Array, "batch"] | None


def class_ids(values: Array) -> Int[Array, "batch"]:
    """Ids as they are; of scores or probabilities `(batch, classes)` the largest class."""
    if jnp.issubdtype(values.dtype, jnp.floating):
        return jnp.argmax(values, axis=-1)
    return values


def counted(mask: Mask, batch: int) -> Bool[Array, "batch"]:
    """Which samples count."""
    if mask is None:
        return jnp.ones(batch, bool)
    return mask.astype(bool)


def check_average(owner: str, average: str) -> None:
    """Refuses an average that is not known."""
    known = get_args(Average)
    if average not in known:
        raise ValueError(f"{owner}: got average={average!r}. {suggest(str(average), known)}")


def check_positive(owner: str, field: str, value: int) -> None:
    """Refuses a number of classes, bins or ranks below one."""
    if value < 1:
        raise ValueError(f"{owner}: got {field}={value}, expected 1 or more.")


def class_probabilities(
    owner: str, values: Float[Array, "batch"] | Float[Array, "batch classes"]
) -> Float[Array, "batch columns"]:
    """Probabilities of each class in float32; `(batch,)` are those of class 1 of two.

    Rows that are no distribution are refused, or become NaN under jit, where none can be seen.
    """
    values = values.astype(jnp.float32)
    if values.ndim == 1:
        values = jnp.stack([1 - values, values], axis=-1)
    # The tolerance lets bfloat16 pass.
    valid = (values >= 0).all(axis=-1) & (jnp.abs(values.sum(axis=-1) - 1) < 0.02)
    if not isinstance(valid, Tracer) and not np.asarray(jax.device_get(valid)).all():
        raise ValueError(
            f"{owner}: got rows that are no probabilities (negative, or not of sum 1). "
            "Apply jax.nn.softmax to logits, or jax.nn.sigmoid for two classes."
        )
    return jnp.where(valid[:, None], values, jnp.nan)
