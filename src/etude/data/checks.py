"""Bad data are refused before training: what is wrong, where, and the cure."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.errors import DataError


def length_of(arrays: PyTree) -> int:
    """The number of samples of a pytree of arrays: the length of every first axis.

    Raises `DataError` if there is none, or if the lengths differ.

    >>> import numpy as np
    >>> length_of({"x": np.zeros((5, 2)), "y": np.zeros(5)})
    5
    """
    named = [(_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)]
    if not named:
        raise DataError("The data hold no array. Pass an array, or a tuple or dict of arrays.")
    scalars = [name for name, leaf in named if np.ndim(leaf) == 0]
    if scalars:
        raise DataError(
            f"{', '.join(scalars)} is a scalar; the first axis of every array counts samples. "
            "Repeat it for every sample, or put it into the model."
        )
    lengths = {name: np.shape(leaf)[0] for name, leaf in named}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(
            f"The arrays have different numbers of samples: {listed}. The first axis of all "
            "must be equal."
        )
    length = next(iter(lengths.values()))
    if length == 0:
        raise DataError("The data are empty (no samples). Check the file or the selection.")
    return length


def check_finite(arrays: PyTree) -> None:
    """Raises `DataError` at the first NaN or infinite value, naming array and index."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        if bool(jnp.isfinite(leaf).all()):
            continue
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(np.asarray(leaf)))[0])
        value = np.asarray(leaf)[index]
        raise DataError(
            f"{_name(path)} holds a non-finite value: {value} at index {index}. Remove or "
            "replace such samples, or pass allow_nonfinite=True if they are meant."
        )


def check_labels(labels: Any, classes: int) -> None:
    """Raises `DataError` for a label outside 0..classes-1, naming the first.

    >>> import numpy as np
    >>> check_labels(np.array([0, 2]), classes=3)
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"Labels must be integers; got {labels.dtype}. Convert them: labels.astype(int)."
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"Label {labels.flat[wrong[0]]} of sample {wrong[0]} is outside the {classes} classes "
            f"0..{classes - 1} ({wrong.size} such in all). Count classes from 0, or raise the "
            "number of classes."
        )


def check_batch_size(batch_size: int, length: int) -> None:
    """Raises `DataError` for a batch size below 1 or above the number of samples."""
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1; got {batch_size}.")
    if batch_size > length:
        raise DataError(
            f"batch_size {batch_size} is larger than the data, which have {length} samples. "
            f"Choose batch_size <= {length}."
        )


def _name(path: Any) -> str:
    return f"data{jax.tree_util.keystr(path)}"
