"""Class labels: numbers of any integer type, widened before anything else, or probabilities."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etude.inputs.arrays import (
    Values,
    column,
    concrete,
    described,
    is_count,
    namespace,
    read,
    refusal,
)
from etude.inputs.scores import probability_rows

_LARGEST = int(np.iinfo(np.int32).max)


def class_numbers(
    owner: str,
    name: str,
    values: Any,
    classes: int | None = None,
    counted: Bool[Array, "batch"] | None = None,
) -> Int[Array, "batch"]:
    """Class numbers `(batch,)` or `(batch, 1)` in int32.

    Raises DataError for other shapes and dtypes, for booleans of more than two classes, and for
    a number that is counted and outside 0..classes-1. A number beyond int32 becomes one that is
    no class. Under jit the numbers are not checked: see `is_class`.

    >>> class_numbers("loss", "targets", np.array([[0], [200]], np.uint8), 300).tolist()
    [0, 200]
    """
    given = read(owner, name, values)
    found = column(given)
    if found.ndim != 1 or not is_count(found):
        raise _no_labels(owner, name, given, classes)
    if found.dtype == bool and classes is not None and classes > 2:
        raise refusal(
            owner,
            described(name, given),
            f"integers for {classes} classes",
            "Booleans are the classes 0 and 1 of two.",
        )
    _check_range(owner, name, found, classes, counted)
    return jnp.asarray(_int32(found))


def is_class(numbers: Int[Array, "batch"], classes: int | None) -> Bool[Array, "batch"]:
    """Which of the numbers are classes."""
    inside = numbers >= 0
    return inside if classes is None else inside & (numbers < classes)


def one_hot(
    numbers: Int[Array, "batch"], classes: int, dtype: Any = jnp.float32
) -> Float[Array, "batch classes"]:
    """One-hot rows; NaN where the number is no class, for a row of zeros would go unnoticed."""
    rows = jax.nn.one_hot(numbers, classes, dtype=dtype)
    return jnp.where(is_class(numbers, classes)[:, None], rows, jnp.nan)


def soft_labels(
    owner: str, name: str, values: Any, classes: int, counted: Bool[Array, "batch"] | None = None
) -> Float[Array, "batch classes"]:
    """Class numbers as one-hot rows, or probabilities as they are, in float32 or wider.

    Raises DataError for anything else; under jit what only values tell becomes NaN.

    >>> soft_labels("loss", "targets", np.array([True, False]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    given = read(owner, name, values)
    if column(given).ndim == 1:
        return one_hot(class_numbers(owner, name, given, classes, counted), classes)
    if given.ndim != 2 or given.shape[1] != classes:
        raise _no_labels(owner, name, given, classes)
    return probability_rows(owner, name, given, counted)


def _no_labels(owner: str, name: str, given: Values, classes: int | None) -> Exception:
    width = "classes" if classes is None else str(classes)
    return refusal(
        owner,
        described(name, given),
        f"class numbers (batch,) of an integer type, or probabilities (batch, {width})",
        f"Numbers held as floats: {name}.astype(int). Scores of one class: compare them with a "
        "threshold. Probabilities p of class 1: jnp.stack([1 - p, p], axis=-1).",
    )


def _check_range(owner: str, name: str, values: Values, classes: int | None, counted: Any) -> None:
    seen, chosen = concrete(values), None if counted is None else concrete(counted)
    if seen is None or (counted is not None and chosen is None):
        return
    seen = seen if chosen is None else seen[chosen]
    last = _LARGEST if classes is None else classes - 1
    if seen.size and (int(seen.min()) < 0 or int(seen.max()) > last):
        raise refusal(
            owner,
            f"{name} from {int(seen.min())} to {int(seen.max())}",
            f"0 to {last}" + ("" if classes is None else f" for {classes} classes"),
            "Renumber the labels, or raise the number of classes; samples without a label can be "
            "masked out of a metric.",
        )


def _int32(values: Values) -> Values:
    if values.dtype == bool or values.dtype.itemsize < 4:
        return values.astype(np.int32)
    xp = namespace(values)
    inside = (values >= 0) & (values <= _LARGEST)
    return xp.where(inside, xp.minimum(values, _LARGEST).astype(np.int32), np.int32(-1))
