"""Makes batches of an indexed data set, and refuses bad samples by their number."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast, runtime_checkable

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.checks import (
    check_finite,
    check_labels_in,
    few,
    first_nonfinite,
    length_of,
    named_leaves,
    to_numpy,
)
from etude.data.stored import StoredArrays
from etude.engine.surroundings import setting
from etude.errors import DataError
from etude.kinds import is_a


@dataclass(frozen=True)
class Kind:
    """What one array of the first sample is, and of all others must be.

    >>> Kind.of(2, "data").stacked([1, 5])
    array([1, 5])
    """

    name: str
    shape: tuple[int, ...]
    #: its type on the device
    dtype: np.dtype
    #: its type in the data set, and the class of a plain number
    raw: np.dtype
    plain: type | None

    @classmethod
    def of(cls, leaf: Any, name: str) -> "Kind":
        """That of an array or a number. Raises `DataError` for anything else."""
        array = to_numpy(leaf, f"sample 0: {name}")
        number = is_a(leaf, bool | int | float | np.generic)
        plain = cast(type[Any], type(leaf)) if number else None
        return cls(name, array.shape, array.dtype, np.asarray(leaf).dtype, plain)

    def stacked(self, leaves: list[Any]) -> np.ndarray | None:
        """The leaves of several samples as one new array, in the type that the data set has.

        None unless each is just as the first is; then they are converted one by one.
        """
        types, torch = set(map(type, leaves)), sys.modules.get("torch")
        try:
            if types == {self.plain}:
                array = np.array(leaves)
            elif torch is not None and types == {torch.Tensor}:
                if len({x.dtype for x in leaves}) > 1:
                    return None
                array = np.asarray(torch.stack(leaves))  # a third of the time of each by itself
            else:
                leaves = leaves if types == {np.ndarray} else [*map(np.asarray, leaves)]
                if {x.dtype for x in leaves} != {self.raw}:
                    return None
                array = np.array(leaves)
        except Exception:  # of several shapes, or nothing that NumPy reads
            return None
        # Integers may have promoted one another.
        return array if (array.shape[1:], array.dtype) == (self.shape, self.raw) else None

    def converted(self, leaf: Any, index: int) -> np.ndarray:
        """The leaf of sample `index`. Raises `DataError` unless it is of this kind."""
        array = to_numpy(leaf, f"sample {index}: {self.name}")
        if (array.shape, array.dtype) != (self.shape, self.dtype):
            raise DataError(
                f"Sample {index} is ragged: {self.name} has shape {array.shape} of {array.dtype}, "
                f"in sample 0 {self.shape} of {self.dtype}. Pad, crop or cast all to one in "
                "`transform`."
            )
        return array


@runtime_checkable
class Together(Protocol):
    """A data set that gives several samples at once: of ArrayRecord files, of Hugging Face."""

    def __getitems__(self, numbers: list[int], /) -> Any: ...


@dataclass(frozen=True)
class Form:
    """What all samples have in common."""

    structure: Any
    kinds: list[Kind]


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

    def __call__(self, indices: np.ndarray, into: PyTree = None) -> PyTree:
        """The batch of the samples `indices`. Raises `DataError` naming the sample.

        `into` is a batch whose arrays may be filled instead of new ones.
        """
        if self.batched:
            return self._batch(int(indices[0]))
        form = self._form
        if isinstance(self.dataset, StoredArrays) and self.transform is None:
            columns = self._rows(self.dataset, form, indices, into)
        else:
            columns = self._stacked(form, indices.tolist())
        batch = jax.tree.unflatten(form.structure, columns)
        if self.classes is not None:
            check_labels_in(batch, self.classes, indices)
        return batch

    def _rows(
        self, arrays: StoredArrays, form: Form, indices: np.ndarray, into: PyTree
    ) -> list[np.ndarray]:
        """The arrays of a batch as they are read."""
        numbers = indices.tolist()
        leaves = jax.tree.leaves(arrays.rows(indices, into))
        pairs = zip(form.kinds, leaves, strict=True)
        return [self._column(kind, rows, rows, numbers) for kind, rows in pairs]

    def _stacked(self, form: Form, numbers: list[int]) -> list[np.ndarray]:
        """The arrays of a batch, made of samples."""
        # All samples at once: to look at each in turn takes longer than to stack them.
        samples = tuple(self._items(numbers))
        leaves, structure = jax.tree.flatten(samples)
        if structure != jax.tree_util.treedef_tuple([form.structure] * len(samples)):
            raise _other_structure(samples, numbers, form.structure)
        width, columns = len(form.kinds), list[np.ndarray]()
        for place, kind in enumerate(form.kinds):
            column = leaves[place::width]
            columns.append(self._column(kind, kind.stacked(column), column, numbers))
        return columns

    def _batch(self, index: int) -> PyTree:
        (item,), where = self._items([index]), f"data in batch {index}"
        # Copies, because the device reads them later than the data set may change them.
        leaves = [to_numpy(leaf, name).copy() for name, leaf in named_leaves(item, where)]
        batch = jax.tree.unflatten(jax.tree.structure(item), leaves)
        length_of(batch)
        if not self.allow_nonfinite:
            check_finite(batch, where)
        if self.classes is not None:
            check_labels_in(batch, self.classes)
        return batch

    def _items(self, numbers: list[int]) -> list[Any]:
        transform, items = self.transform, list[Any]()
        given = self._given(numbers)
        try:
            for item in given:
                items.append(item if transform is None else transform(item))
        except Exception as error:
            raise self._unread(numbers[len(items)], error) from error
        return items

    def _given(self, numbers: list[int]) -> Iterator[Any]:
        """The samples as the data set gives them: all at once, where it can."""
        dataset = self.dataset
        if isinstance(dataset, StoredArrays):
            leaves, structure = jax.tree.flatten(dataset.rows(np.array(numbers)))
            return (structure.unflatten(rows) for rows in zip(*leaves, strict=True))
        if not self._gives_several:
            return (dataset[index] for index in numbers)
        try:
            samples = [*dataset.__getitems__(numbers)]
        except Exception as error:
            self._name_unread(numbers)
            raise DataError(
                f"Samples {few(numbers)} of the data set could not be read together, though each "
                f"alone: {type(error).__name__}: {error}. Try dataset.__getitems__({numbers[:3]})."
            ) from error
        if len(samples) != len(numbers):
            raise DataError(
                f"__getitems__ of the data set gave {len(samples)} samples; expected "
                f"{len(numbers)}, one for each of {few(numbers)}."
            )
        return iter(samples)

    @cached_property
    def _gives_several(self) -> bool:
        # Asked once: of a protocol, it takes as long as to read many samples.
        return isinstance(self.dataset, Together)

    def _name_unread(self, numbers: list[int]) -> None:
        """Raises `DataError` for the first of these samples that cannot be read."""
        for index in numbers:
            try:
                self.dataset[index]
            except Exception as error:
                raise self._unread(index, error) from error

    def _unread(self, index: int, error: Exception) -> DataError:
        return DataError(
            f"Sample {index} of the data set could not be read: {type(error).__name__}: "
            f"{error}. Try dataset[{index}]"
            + ("." if self.transform is None else ", and `transform` on it.")
        )

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
        (sample,) = self._items([0])
        kinds = [Kind.of(leaf, name) for name, leaf in named_leaves(sample)]
        if not kinds:
            raise DataError(f"Sample 0 holds no array; got {sample!r}. Return arrays or numbers.")
        return Form(jax.tree.structure(sample), kinds)

    def _column(
        self, kind: Kind, array: np.ndarray | None, leaves: Iterable[Any], numbers: list[int]
    ) -> np.ndarray:
        """One array of the batch, in the type that it has on the device.

        `array` holds the leaves of all samples; None if these differ.
        """
        if array is not None and array.dtype != kind.dtype:
            try:
                array = to_numpy(array, kind.name)
            except DataError:
                array = None  # raised again below, where the sample is known
        if array is None:
            array = np.stack([*map(kind.converted, leaves, numbers)])
        at = None if self.allow_nonfinite else first_nonfinite(array)
        if at is not None:
            inside = f" at index {at[1:]}" if at[1:] else ""
            raise DataError(
                f"Sample {numbers[at[0]]}: {kind.name} holds a non-finite value: "
                f"{array[at]}{inside}. Remove or replace such samples, or pass "
                "allow_nonfinite=True if they are meant."
            )
        return array


def _other_structure(samples: tuple[Any, ...], numbers: list[int], first: Any) -> DataError:
    structures = [*map(jax.tree.structure, samples)]
    place = next(place for place, other in enumerate(structures) if other != first)
    return DataError(
        f"Sample {numbers[place]} has another structure than sample 0: {structures[place]} "
        f"instead of {first}. All samples must have the same."
    )
