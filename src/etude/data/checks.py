"""Bad data are refused before training: what is wrong, where, and the cure."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.numbers import is_count
from etude.errors import DataError
from etude.kinds import is_a

#: What JAX has no type for, and what is nearest.
_DOUBLE = {
    np.dtype(np.longdouble): np.dtype(np.float64),
    np.dtype(np.clongdouble): np.dtype(np.complex128),
}


def to_numpy(leaf: Any, name: str) -> np.ndarray:
    """A number, a NumPy, JAX or torch array as a NumPy array of the type it has on the device.

    Anything with `__array__` passes, torch tensors among them. Double precision becomes single
    unless JAX is told otherwise (`jax_enable_x64`).

    Raises `DataError` for what is no array of numbers, and for integers that would not survive.

    >>> to_numpy(3.0, "x").dtype
    dtype('float32')
    """
    if isinstance(leaf, np.ma.MaskedArray):
        raise DataError(
            f"{name} is a masked array, and its mask would be lost. Fill it (`x.filled(0)`), and "
            "give the mask as an array of its own."
        )
    try:
        array = np.asarray(jax.device_get(leaf) if isinstance(leaf, jax.Array) else leaf)
    except Exception as error:
        raise DataError(
            f"{name} is a {type(leaf).__name__} that NumPy cannot read ({error}). Convert it to "
            "an array in the data set or in `transform`."
        ) from error
    # To NumPy, a time span is an integer.
    number = array.dtype.kind != "m" and jnp.issubdtype(array.dtype, jnp.number)
    if not (array.dtype == bool or number):
        raise DataError(
            f"{name} holds {array.dtype} values of {type(leaf).__name__}, not numbers. Leave it "
            "out, or encode it (text labels: integers from 0)."
        )
    # Files of other machines have their bytes the other way round, which JAX does not take.
    dtype = jax.dtypes.canonicalize_dtype(_DOUBLE.get(array.dtype, array.dtype.newbyteorder("=")))
    if dtype == array.dtype:
        return array
    if np.issubdtype(array.dtype, np.integer) and array.size:
        bounds = np.iinfo(dtype)
        if array.min() < bounds.min or array.max() > bounds.max:
            raise DataError(
                f"{name} holds integers from {array.min()} to {array.max()}, which do not fit "
                f"{dtype}. Scale or hash them, or set jax_enable_x64."
            )
    with np.errstate(over="ignore"):  # too large for single precision: infinite, found as such
        return array.astype(dtype)


def length_of(arrays: PyTree) -> int:
    """The number of samples of a pytree of arrays: the length of every first axis.

    Raises `DataError` if there is none, or if the lengths differ.

    >>> import numpy as np
    >>> length_of({"x": np.zeros((5, 2)), "y": np.zeros(5)})
    5
    """
    named = list(named_leaves(arrays))
    if not named:
        raise DataError("The data hold no array. Pass an array, or a tuple or dict of arrays.")
    scalars = [name for name, leaf in named if not np.shape(leaf)]
    if scalars:
        listed = ", ".join(scalars[:3]) + (", ..." if len(scalars) > 3 else "")
        raise DataError(
            f"{listed} is a scalar; the first axis of every array counts samples. Make an array "
            "of a list of numbers with np.asarray; repeat a constant for every sample, or put it "
            "into the model."
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


def check_finite(arrays: PyTree, where: str = "data") -> None:
    """Raises `DataError` at the first NaN or infinite value, naming array and index."""
    for number, leaf in enumerate(jax.tree.leaves(arrays)):
        index = first_nonfinite(leaf)
        if index is not None:
            raise DataError(
                f"{name_of(arrays, number, where)} holds a non-finite value: "
                f"{np.asarray(leaf)[index]} at index {index}. Remove or replace such samples, or "
                "pass allow_nonfinite=True if they are meant."
            )


def first_nonfinite(array: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinite value of an array.

    >>> first_nonfinite(np.array([0.0, 1.0, np.inf]))
    (2,)
    """
    if not _inexact(array.dtype):
        return None
    if is_a(array, np.ndarray):
        finite: np.ndarray = np.isfinite(array)
        if np.count_nonzero(finite) == finite.size:  # in less time than `finite.all()`
            return None
    elif jax.device_get(jnp.isfinite(array).all()):
        return None
    found = np.argwhere(~np.isfinite(np.asarray(jax.device_get(array))))
    return tuple(int(i) for i in found[0]) if len(found) else None


@cache
def _inexact(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def check_labels(labels: Any, classes: int, indices: Any = None) -> None:
    """Raises `DataError` for a label outside 0..classes-1, naming the first.

    `indices` are the numbers of the samples, if not 0, 1, 2...

    >>> import numpy as np
    >>> check_labels(np.array([0, 2]), classes=3)
    """
    labels = np.asarray(jax.device_get(labels))
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"Labels must be integers; got {labels.dtype}. Convert them: labels.astype(int)."
        )
    wrong = np.argwhere((labels < 0) | (labels >= classes))
    if len(wrong):
        first = tuple(wrong[0])
        sample = first[0] if indices is None else indices[first[0]]
        raise DataError(
            f"Label {labels[first]} of sample {sample} is outside the {classes} classes "
            f"0..{classes - 1} ({len(wrong)} such in all). Count classes from 0, or raise the "
            "number of classes."
        )


def check_labels_in(arrays: PyTree, classes: int, indices: Any = None) -> None:
    """Checks the integer arrays of one axis among `arrays` as labels, and the number of classes."""
    if not is_count(classes):
        raise DataError(f"classes is a whole number from 1, or None; got {classes!r}.")
    labels = [x for x in jax.tree.leaves(arrays) if is_labels(x)]
    if not labels:
        raise DataError(
            f"classes={classes} was given, but no array holds labels: none has integers and one "
            "axis. Convert labels with .astype(int) and .reshape(-1), or leave `classes` out."
        )
    for leaf in labels:
        check_labels(leaf, classes, indices)


def is_labels(array: Any) -> bool:
    """Whether an array may hold one label a sample: integers, one axis."""
    return array.ndim == 1 and jnp.issubdtype(array.dtype, jnp.integer)


def checked_batch_size(batch_size: Any, length: int) -> int:
    """A batch size. Raises `DataError` for one below 1 or above the number of samples."""
    if not is_count(batch_size):
        raise DataError(f"batch_size must be an integer of at least 1; got {batch_size!r}.")
    if batch_size > length:
        raise DataError(
            f"batch_size {batch_size} is larger than the data, which have {length} samples. "
            f"Choose batch_size <= {length}."
        )
    return int(batch_size)


def check_flags(**flags: Any) -> None:
    """Raises `DataError` for what is no truth value: a text, such as "no", would count as true."""
    for name, flag in flags.items():
        if not is_a(flag, bool | np.bool_):
            raise DataError(f"{name} is True or False; got {flag!r}.")


def named_leaves(tree: PyTree, where: str = "data"):
    """The leaves of a pytree with their names in messages, `data['x']`."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield where + jax.tree_util.keystr(path), leaf


def sample_of(tree: PyTree) -> str:
    """Dtype and shape of one sample, array by array.

    >>> sample_of((np.zeros((5, 2), np.float32), np.zeros(5, np.int32)))
    'float32[2], int32[]'
    """
    return ", ".join(f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in jax.tree.leaves(tree))


def name_of(tree: PyTree, index: int, where: str = "data") -> str:
    """The name of one leaf, by its number."""
    return [name for name, _ in named_leaves(tree, where)][index]


def few(numbers: Sequence[int]) -> str:
    """The first numbers of samples.

    >>> few([7, 2, 5, 1])
    '7, 2, 5, ...'
    """
    return ", ".join(map(str, numbers[:3])) + (", ..." if len(numbers) > 3 else "")
