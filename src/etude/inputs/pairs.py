"""Predictions beside targets, sample by sample, and which of them count."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etude.inputs.arrays import (
    Values,
    check_lengths,
    column,
    described,
    is_count,
    is_float,
    namespace,
    read,
    refusal,
    widened,
)
from etude.inputs.labels import class_numbers, is_class, soft_labels
from etude.inputs.scores import UNDEFINED, binary_rows, largest_class, probability_rows, score_rows


class Pairs(NamedTuple):
    """Classes of a batch, which samples count, and of which both classes are known."""

    predicted: Int[Array, "batch"]
    actual: Int[Array, "batch"]
    counted: Bool[Array, "batch"]
    known: Bool[Array, "batch"]


class Scored(NamedTuple):
    """Scores of a batch with the true classes; `counted` and `known` as in `Pairs`."""

    scores: Values
    actual: Int[Array, "batch"]
    counted: Bool[Array, "batch"]
    known: Bool[Array, "batch"]


def class_pairs(
    owner: str, predictions: Any, targets: Any, mask: Any = None, classes: int | None = None
) -> Pairs:
    """Classes out of class numbers or of scores, the largest of which is the class.

    Raises DataError for different lengths, other shapes or dtypes, targets that are neither
    numbers of classes nor probabilities, or a class out of range where it counts.
    """
    found = column(read(owner, "predictions", predictions))
    truth = column(read(owner, "targets", targets))
    check_lengths(owner, predictions=found, targets=truth)
    counted, sure = samples(owner, mask, len(found))
    if classes is None:
        classes = next((x.shape[1] for x in (found, truth) if x.ndim == 2), None)
    if found.ndim == 1:
        predicted = class_numbers(owner, "predictions", found, classes, counted)
    else:
        predicted = jnp.asarray(largest_class(score_rows(owner, "predictions", found, classes)))
    actual = _true_classes(owner, truth, classes, counted)
    known = is_class(predicted, classes) & is_class(actual, classes)
    return Pairs(predicted, actual, counted, known & sure)


def score_pairs(
    owner: str, scores: Any, targets: Any, mask: Any = None, *, binary: bool = True
) -> Scored:
    """Scores `(batch, classes)`, or `(batch,)` of class 1 of two if `binary`, and true classes.

    Raises DataError as `class_pairs`. NumPy scores stay NumPy's, in their own precision. The true
    class is UNDEFINED where score, target or mask are NaN.
    """
    found, truth = column(read(owner, "scores", scores)), column(read(owner, "targets", targets))
    check_lengths(owner, scores=found, targets=truth)
    counted, sure = samples(owner, mask, len(found))
    classes = 2 if found.ndim == 1 else found.shape[1]
    if found.ndim > 2 or (found.ndim == 1 and not binary):
        expected = "(batch,) or (batch, classes)" if binary else "(batch, classes)"
        raise refusal(
            owner, described("scores", found), expected, "Flatten further axes with reshape."
        )
    actual = _true_classes(owner, truth, classes, counted)
    actual = jnp.where(sure & ~_holds_nan(found), actual, UNDEFINED)
    return Scored(found, actual, counted, is_class(actual, classes))


def probability_pairs(
    owner: str, probabilities: Any, targets: Any, mask: Any = None
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch classes"], Bool[Array, "batch"]]:
    """Rows of probabilities (`(batch,)`: of class 1 of two), rows of targets, and what counts.

    Raises DataError as `class_pairs`, and for rows that are no probabilities. What cannot be
    told, or not under jit, is NaN.
    """
    found = column(read(owner, "probabilities", probabilities))
    truth = column(read(owner, "targets", targets))
    check_lengths(owner, probabilities=found, targets=truth)
    counted, sure = samples(owner, mask, len(found))
    if found.ndim > 2 or not is_float(found):
        raise refusal(
            owner,
            described("probabilities", found),
            "floating-point numbers (batch,) or (batch, classes)",
            "Apply jax.nn.softmax to logits.",
        )
    rows = binary_rows(widened(jnp.asarray(found)))
    rows = probability_rows(owner, "probabilities", rows, counted)
    hot = soft_labels(owner, "targets", truth, rows.shape[1], counted)
    return jnp.where(sure[:, None], rows, jnp.nan), hot, counted


def samples(owner: str, mask: Any, batch: int) -> tuple[Bool[Array, "batch"], Bool[Array, "batch"]]:
    """Which samples count (true, or any weight but zero), and for which that is sure, not NaN."""
    every = jnp.ones(batch, bool)
    if mask is None:
        return every, every
    given = read(owner, "mask", mask)
    found = column(given)
    if found.shape != (batch,):
        raise refusal(
            owner,
            described("mask", given),
            f"({batch},)",
            "Give a boolean or a weight for every sample.",
        )
    chosen = jnp.asarray(found)
    return chosen.astype(bool), every if is_count(found) else ~jnp.isnan(chosen)


def _holds_nan(scores: Values) -> Bool[Array, "batch"]:
    if not is_float(scores):
        return jnp.zeros(len(scores), bool)
    here = jnp.asarray(namespace(scores).isnan(scores))
    return here if here.ndim == 1 else here.any(axis=-1)


def _true_classes(
    owner: str, targets: Values, classes: int | None, counted: Bool[Array, "batch"]
) -> Int[Array, "batch"]:
    if targets.ndim == 1:
        return class_numbers(owner, "targets", targets, classes, counted)
    score_rows(owner, "targets", targets, classes)
    return jnp.asarray(largest_class(probability_rows(owner, "targets", targets, counted)))
