"""How generative models read a batch: examples, and labels where a model is conditional."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.inputs import Values, check_lengths, concrete, soft_labels
from etude.inputs.arrays import namespace, read
from etude.systems.generative.checks import count_of


class Examples(NamedTuple):
    """A batch taken apart.

    Attributes:
        x: the examples, one row of values each.
        labels: a row of class probabilities each, or None for a model without classes.
    """

    x: Values
    labels: Array | None


def read_examples(owner: str, batch: Any, shape: tuple[int, ...], classes: int) -> Examples:
    """A batch taken apart: an array, `(examples, labels)`, or a dictionary.

    A dictionary has "images" and, for a model with classes, "labels". A model without classes does
    not read labels.

    Raises:
        DataError: another form or shape, no example, examples that are no real numbers; labels
            that are missing, of another number, or no classes.
    """
    if isinstance(batch, Mapping):
        if "images" not in batch:
            names = sorted(map(str, batch))
            raise et.DataError(f"{owner}: a batch has {names}, but no 'images'.")
        x, labels = batch["images"], batch.get("labels")
    elif isinstance(batch, tuple | list):
        if len(batch) not in (1, 2):
            raise et.DataError(
                f"{owner}: a batch has {len(batch)} parts. Give an array of examples, (images, "
                "labels), or a dictionary with 'images' and 'labels'."
            )
        x, labels = batch[0], batch[1] if len(batch) == 2 else None
    else:
        x, labels = batch, None
    if not isinstance(x, jax.Array | np.ndarray):
        raise et.DataError(
            f"{owner}: examples are an array; got {type(x).__name__}. Give np.asarray(examples)."
        )
    read(owner, "examples", x)
    if x.ndim == 0 or len(x) == 0:
        raise et.DataError(
            f"{owner}: a batch of shape {tuple(x.shape)} has no examples. Give one or more."
        )
    if tuple(x.shape[1:]) != shape and x.shape[1:] != (math.prod(shape),):
        raise et.DataError(
            f"{owner}: an example has the shape {tuple(x.shape[1:])}, expected {shape}."
        )
    x = x.reshape(len(x), -1)
    if not classes:
        return Examples(x, None)
    if labels is None:
        raise et.DataError(
            f"{owner}: the model has {classes} classes, and the batch no labels. Give (images, "
            "labels), or a dictionary with 'images' and 'labels'."
        )
    rows = soft_labels(owner, "labels", labels, classes)
    check_lengths(owner, examples=x, labels=rows)
    return Examples(x, rows)


def check_range(
    owner: str, values: Values, low: float, high: float, cure: str, *, whole: bool = False
) -> None:
    """Raises `DataError` for values outside of a range or, with `whole`, that are no whole numbers.

    Under jit, where no value is seen, it does not.

    >>> check_range("Model", np.array([0.5, 3.0]), 0, 1, "Divide by 255.")
    Traceback (most recent call last):
        ...
    etude.errors.DataError: Model: got values from 0.5 to 3, expected 0 to 1. Divide by 255.
    """
    seen = concrete(values)
    if seen is None or not seen.size:
        return
    if seen.min() < low or seen.max() > high:
        got = f"values from {float(seen.min()):g} to {float(seen.max()):g}"
        raise et.DataError(f"{owner}: got {got}, expected {low:g} to {high:g}. {cure}")
    if whole and not np.array_equal(seen, np.round(seen)):
        between = float(seen[seen != np.round(seen)][0])
        raise et.DataError(f"{owner}: got the value {between:g}, expected whole numbers. {cure}")


def sample_labels(owner: str, labels: Any, count: int, classes: int) -> Array | None:
    """Rows of labels for samples: a class for all of them, or one for each.

    Raises:
        ConfigurationError: a count that is no whole number from 1.
        DataError: labels that are missing, of another number, no classes, or that a model without
            classes has no use for.

    >>> sample_labels("Model.sample", 1, 3, classes=2).tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """
    count_of(owner, count)
    if not classes:
        if labels is not None:
            raise et.DataError(f"{owner}: the model was not trained with labels. Leave them out.")
        return None
    if labels is None:
        raise et.DataError(
            f"{owner}: the model has {classes} classes. Give labels, a number or one for each "
            "sample."
        )
    numbers = read(owner, "labels", labels)
    if numbers.shape not in ((), (count,)):
        raise et.DataError(
            f"{owner}: labels of shape {numbers.shape} for {count} samples. Give a number or one "
            "for each sample."
        )
    each = namespace(numbers).broadcast_to(numbers, (count,))
    return soft_labels(owner, "labels", each, classes)


def with_labels(values: Float[Array, "*many n"], labels: Array | None) -> Float[Array, "*many m"]:
    """Values with the labels of their example behind them.

    >>> with_labels(jnp.zeros((1, 2)), jnp.ones((1, 1))).tolist()
    [[0.0, 0.0, 1.0]]
    """
    if labels is None:
        return values
    rows = jnp.broadcast_to(labels, (*values.shape[:-1], labels.shape[-1]))
    return jnp.concatenate([values, rows.astype(values.dtype)], axis=-1)
