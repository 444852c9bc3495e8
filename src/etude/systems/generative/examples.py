"""How generative models read a batch: examples, and labels where a model is conditional."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxtyping import Array

import etude as et
from etude.inputs import soft_labels


class Examples(NamedTuple):
    """A batch taken apart.

    Attributes:
        x: the examples, one row of values each.
        labels: a row of class probabilities each, or None for a model without classes.
    """

    x: Array
    labels: Array | None


def read_examples(owner: str, batch: Any, shape: tuple[int, ...], classes: int) -> Examples:
    """A batch taken apart: an array, `(examples, labels)`, or a dictionary.

    A dictionary has "images" and, for a model with classes, "labels". A model without classes does
    not read labels.

    Raises:
        DataError: another form or shape, labels that are missing or no classes.
    """
    if isinstance(batch, Mapping):
        if "images" not in batch:
            raise et.DataError(f"{owner}: a batch has {sorted(batch)}, but no 'images'.")
        x, labels = batch["images"], batch.get("labels")
    elif isinstance(batch, tuple | list):
        x, labels = batch[0], batch[1] if len(batch) > 1 else None
    else:
        x, labels = batch, None
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
    return Examples(x, soft_labels(owner, "labels", labels, classes))
