"""Scores of classes: logits, or probabilities, whose rows sum to one."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from etude.inputs.arrays import (
    Values,
    concrete,
    described,
    is_float,
    namespace,
    read,
    real_floats,
    refusal,
    widened,
)

#: Stands for the class of a row that has none, since it holds NaN.
UNDEFINED = int(np.iinfo(np.int32).min)

#: Rows of bfloat16 that were normalised sum to one within this.
_TOLERANCE = 0.02


def logits_of(owner: str, name: str, values: Any) -> Float[Array, "batch classes"]:
    """Logits of two classes or more, in float32 or wider; DataError for anything else."""
    found = real_floats(owner, name, values)
    if found.ndim != 2 or found.shape[1] < 2:
        raise refusal(
            owner,
            described(name, found),
            "(batch, classes) with two classes or more",
            "Flatten further axes with reshape(-1, classes). For one logit z per sample: "
            "jnp.stack([jnp.zeros_like(z), z], axis=-1).",
        )
    return found


def embeddings_of(owner: str, name: str, values: Any) -> Float[Array, "batch dim"]:
    """Embeddings in float32 or wider; DataError for anything else."""
    found = real_floats(owner, name, values)
    if found.ndim != 2:
        raise refusal(
            owner, described(name, found), "(batch, dim)", "Flatten further axes with reshape."
        )
    return found


def score_rows(owner: str, name: str, values: Values, classes: int | None) -> Values:
    """Scores `(batch, classes)` of the given number of classes; DataError for anything else."""
    width = "classes" if classes is None else str(classes)
    if values.ndim != 2 or classes not in (None, values.shape[1]):
        raise refusal(
            owner,
            described(name, values),
            f"(batch,) or (batch, {width})",
            "Flatten further axes, and give the same number of classes everywhere.",
        )
    if is_float(values) and values.dtype.itemsize < 4:
        return values.astype(np.float32)
    return values


def largest_class(scores: Values) -> Values:
    """The class of the largest score, the first of equals; UNDEFINED for a row that holds NaN.

    >>> largest_class(np.array([[0.0, 2.0], [np.nan, 1.0]])).tolist() == [1, UNDEFINED]
    True
    """
    xp = namespace(scores)
    best = xp.argmax(scores, axis=-1).astype(np.int32)
    if not is_float(scores):
        return best
    return xp.where(xp.isnan(scores).any(axis=-1), np.int32(UNDEFINED), best)


def binary_rows(values: Values) -> Values:
    """Probabilities `(batch,)` of class 1 as rows of both classes; rows as they are."""
    xp = namespace(values)
    return xp.stack([1 - values, values], axis=-1) if values.ndim == 1 else values


def probability_rows(
    owner: str, name: str, values: Any, counted: Bool[Array, "batch"] | None = None
) -> Float[Array, "batch classes"]:
    """Rows of class probabilities in float32 or wider; a row that holds NaN becomes NaN.

    Raises DataError for a row that is counted and is no distribution: a negative number, or a
    sum other than one. Under jit, where no value can be seen, such a row becomes NaN.
    """
    rows = widened(jnp.asarray(read(owner, name, values)))
    valid = (rows >= 0).all(axis=-1) & (jnp.abs(rows.sum(axis=-1) - 1) < _TOLERANCE)
    wrong = ~(valid | jnp.isnan(rows).any(axis=-1))
    seen = concrete(wrong if counted is None else wrong & counted)
    if seen is not None and seen.any():
        first = int(np.argmax(seen))
        raise refusal(
            owner,
            f"{name} of which row {first} is {np.asarray(rows[first]).tolist()[:8]}",
            "probabilities: none negative, of sum 1",
            "Apply jax.nn.softmax to logits, or jax.nn.sigmoid for two classes; of other rows "
            "take the class, argmax(axis=-1).",
        )
    return jnp.where(valid[:, None], rows, jnp.nan)
