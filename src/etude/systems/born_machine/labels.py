"""Labels of samples: which are allowed, and the value of each sample's own class.

A label outside the classes is refused where it can be seen. In compiled code it cannot, and
makes the value of its sample NaN, which the trainer sees.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Integer, PyTree

import etude as et


def checked(
    owner: str, labels: Any, classes: int, count: int | None = None, name: str = "labels"
) -> Int[Array, "..."]:
    """Labels as 32-bit integers, whatever integers they were.

    Raises ValueError for what is no integer, for a class that is not there unless compiled, and
    for labels that are not one for each of `count` samples, if that is given.

    >>> checked("sample", jnp.array([2, 0], jnp.uint8), classes=3).dtype
    dtype('int32')
    """
    labels = labels if isinstance(labels, Tracer) else np.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"{owner}({name}): got {labels.dtype}, expected integers from 0 to {classes - 1}. "
            "Convert them: labels.astype(int)."
        )
    if count is not None and labels.shape != (count,):
        raise ValueError(
            f"{owner}({name}): got shape {labels.shape}, expected ({count},): the class of each "
            "sample."
        )
    if not isinstance(labels, Tracer):
        wrong = np.argwhere((labels < 0) | (labels >= classes))
        if len(wrong):
            first = tuple(wrong[0])
            where = f" at {first[0]}" if first else ""
            raise ValueError(
                f"{owner}({name}): got class {labels[first]}{where}, expected 0 to {classes - 1} "
                f"since there are {classes} classes. Count classes from 0."
            )
    return jnp.asarray(labels, jnp.int32)


def allowed(labels: Integer[Array, "..."], classes: int) -> Array:
    """Where a label is one of the classes."""
    return (labels >= 0) & (labels < classes)


def of_label(
    values: Float[Array, "batch classes"], labels: Integer[Array, " batch"], owner: str = "of_label"
) -> Float[Array, " batch"]:
    """The value of each sample's own class; NaN where the label is none, if compiled.

    Raises ValueError, in the name of `owner`, for labels that are not one class a sample.

    >>> of_label(jnp.array([[0.5, 2.0], [3.0, 4.0]]), jnp.array([1, 0])).tolist()
    [2.0, 3.0]
    """
    classes = values.shape[1]
    labels = checked(owner, labels, classes, len(values))
    picked = jnp.take_along_axis(values, labels[:, None], axis=1)[:, 0]
    return jnp.where(allowed(labels, classes), picked, jnp.nan)


def read_batch(owner: str, classes: int, batch: PyTree) -> tuple[Array, Array]:
    """Data and labels of a batch `(x, labels)`; of `x` alone, for a machine of one class.

    Raises RuleError for another batch.
    """
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    if len(parts) == 2:
        return jnp.asarray(parts[0]), jnp.asarray(parts[1])
    if len(parts) == 1 and classes == 1 and not isinstance(batch, dict):
        return jnp.asarray(parts[0]), jnp.zeros(len(parts[0]), jnp.int32)
    got = f"{len(parts)} part(s)" if isinstance(batch, tuple | list) else type(batch).__name__
    raise et.RuleError(
        f"{owner}: the batch is {got}, the machine has {classes} class(es). Pass (x, labels), or "
        "x alone to a machine of one class."
    )
