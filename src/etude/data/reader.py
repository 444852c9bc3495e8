"""Makes batches of an indexed data set, and refuses bad samples by their number."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.checks import (
    check_finite,
    check_labels_in,
    first_nonfinite,
    length_of,
    name_of,
    named_leaves,
    to_numpy,
)
from etude.engine.surroundings import setting
from etude.errors import DataError


@dataclass(frozen=True)
class Form:
    """What all samples have in common."""

    structure: Any
    #: shape and type of each array, as it comes to the device
    kinds: list[tuple[tuple[int, ...], np.dtype]]
    #: the same as the data set has it: the type of a plain number, shape and type of an array
    raw: list[Any]

    def of_raw(self, leaves: list[Any], structure: Any) -> bool:
        """Whether a sample is just as the first is, and can be stacked as it is."""
        return structure == self.structure and [*map(_raw, leaves)] == self.raw


def _raw(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf.shape, leaf.dtype
    # Tensors of other libraries are converted one by one: nothing is like them.
    return type(leaf) if isinstance(leaf, bool | int | float | np.generic) else object()


@dataclass(frozen=True)
class Reader:
    """`reader(indices) -> batch`; it can be pickled if the data set can.

    >>> Reader([{"x": 1}, {"x": 2}])(np.array([1, 0]))
    {'x': array([2, 1], dtype=int32)}
    """

    dataset: Any
    #: the items of the data set are batches
    batched: bool = False
    transform: Callable[[Any], Any] | None = None
    classes: int | None = None
    allow_nonfinite: bool = False

    def __call__(self, indices: np.ndarray) -> PyTree:
        """The batch of the samples `indices`. Raises `DataError` naming the sample."""
        if self.batched:
            return self._batch(int(indices[0]))
        form = self._form
        samples = [self._leaves(index, form) for index in indices.tolist()]
        columns = [np.stack(column) for column in zip(*samples, strict=True)]
        batch = jax.tree.unflatten(form.structure, self._converted(columns, indices))
        if not self.allow_nonfinite:
            _check_samples(batch, indices)
        if self.classes is not None:
            check_labels_in(batch, self.classes, indices)
        return batch

    def _batch(self, index: int) -> PyTree:
        item, where = self._item(index), f"data in batch {index}"
        # Copies, because the device reads them later than the data set may change them.
        leaves = [to_numpy(leaf, name).copy() for name, leaf in named_leaves(item, where)]
        batch = jax.tree.unflatten(jax.tree.structure(item), leaves)
        length_of(batch)
        if not self.allow_nonfinite:
            check_finite(batch, where)
        if self.classes is not None:
            check_labels_in(batch, self.classes)
        return batch

    def _item(self, index: int) -> Any:
        try:
            item = self.dataset[index]
            return item if self.transform is None else self.transform(item)
        except Exception as error:
            raise DataError(
                f"Sample {index} of the data set could not be read: {type(error).__name__}: "
                f"{error}. Try dataset[{index}]"
                + ("." if self.transform is None else ", and `transform` on it.")
            ) from error

    @property
    def _form(self) -> Form:
        """What every sample must be like: the first, read with or without double precision."""
        double = setting("enable_x64")
        if double not in self._forms:
            self._forms[double] = self._first_form()
        return self._forms[double]

    @cached_property
    def _forms(self) -> dict[bool, Form]:
        return {}

    def _first_form(self) -> Form:
        sample = self._item(0)
        arrays = [to_numpy(leaf, name) for name, leaf in named_leaves(sample, "sample 0: data")]
        if not arrays:
            raise DataError(f"Sample 0 holds no array; got {sample!r}. Return arrays or numbers.")
        kinds = [(array.shape, array.dtype) for array in arrays]
        leaves, structure = jax.tree.flatten(sample)
        return Form(structure, kinds, [*map(_raw, leaves)])

    def _leaves(self, index: int, form: Form) -> list[Any]:
        """The arrays and numbers of a sample, to be stacked."""
        leaves, structure = jax.tree.flatten(self._item(index))
        # Most samples are alike: to look at each array in turn takes longer than to stack them.
        return leaves if form.of_raw(leaves, structure) else self._arrays(index, form)

    def _converted(self, columns: list[np.ndarray], indices: np.ndarray) -> list[np.ndarray]:
        """Stacked arrays in the types that they have on the device."""
        try:
            return [to_numpy(column, "a batch") for column in columns]
        except DataError:
            for index in indices.tolist():  # to name the sample
                self._arrays(index, self._form)
            raise

    def _arrays(self, index: int, form: Form) -> list[np.ndarray]:
        sample = self._item(index)
        leaves, structure = jax.tree.flatten(sample)
        if structure != form.structure:
            raise DataError(
                f"Sample {index} has another structure than sample 0: {structure} instead of "
                f"{form.structure}. All samples must have the same."
            )
        arrays = []
        for number, (leaf, kind) in enumerate(zip(leaves, form.kinds, strict=True)):
            array = to_numpy(leaf, f"sample {index}, array {number}")
            if (array.shape, array.dtype) != kind:
                raise DataError(
                    f"Sample {index} is ragged: {name_of(sample, number)} has shape "
                    f"{array.shape} of {array.dtype}, in sample 0 {kind[0]} of {kind[1]}. Pad, "
                    "crop or cast all to one in `transform`."
                )
            arrays.append(array)
        return arrays


def _check_samples(batch: PyTree, indices: np.ndarray) -> None:
    for name, leaf in named_leaves(batch):
        at = first_nonfinite(leaf)
        if at is not None:
            inside = f" at index {at[1:]}" if at[1:] else ""
            raise DataError(
                f"Sample {indices[at[0]]}: {name} holds a non-finite value: {leaf[at]}{inside}. "
                "Remove or replace such samples, or pass allow_nonfinite=True if they are meant."
            )
