"""Arrays as a data set: in memory, mapped from a file, or in the chunks of HDF5, Zarr and the like.

Rows are read many at a time, and only those that are asked for.

>>> arrays = StoredArrays({"x": np.arange(10.0), "y": np.arange(10)})
>>> arrays.rows(np.array([7, 2]))["y"]
array([7, 2])
"""

import hashlib
import mmap
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.checks import few, length_of, named_leaves, sample_of, to_numpy
from etude.errors import DataError
from etude.kinds import is_a, is_mapping


@runtime_checkable
class Chunked(Protocol):
    """An array that is read piece by piece: of h5py, zarr, dask or xarray."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...

    @property
    def chunks(self) -> Any: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@runtime_checkable
class Direct(Protocol):
    """An array of HDF5, which can be read to where another array is."""

    def read_direct(self, dest: Any, source_sel: Any, /) -> None: ...


@runtime_checkable
class Stored(Protocol):
    """One array of a data set."""

    def read(self, numbers: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """The rows of these numbers, as a new array. Raises whatever the file does.

        `into` is an array that may be filled instead, if it is like these.
        """
        ...


class StoredArrays:
    """A pytree of arrays whose first axes count samples, as a data set.

    Raises `DataError` for arrays of different length, none at all, and masked ones.

    >>> len(StoredArrays((np.zeros((3, 2)), np.arange(3))))
    3
    """

    def __init__(self, arrays: PyTree):
        named = list(named_leaves(arrays))
        self.length = length_of(arrays)
        self._structure = jax.tree.structure(arrays)
        self._names = [name for name, _ in named]
        self._arrays = [stored(leaf, name) for name, leaf in named]

    @classmethod
    def of(cls, dataset: Any) -> "StoredArrays | None":
        """A data set that is an array, or a tuple or mapping of arrays; None for any other.

        A list of arrays is a list of samples.

        Raises `DataError` for a mapping of something else.
        """
        if not (isinstance(dataset, tuple) or is_mapping(dataset)):
            return cls(dataset) if _is_array(dataset) else None
        arrays = jax.tree.map(_tree, dataset, is_leaf=is_mapping)
        if all(_is_array(leaf) for leaf in jax.tree.leaves(arrays)):
            return cls(arrays)
        if isinstance(dataset, tuple):
            return None
        named = named_leaves(arrays)
        name, leaf = next((name, leaf) for name, leaf in named if not _is_array(leaf))
        raise DataError(
            f"{name} is a {type(leaf).__name__}, not an array. Give AccessData arrays by name "
            "(NumPy, memory-mapped, HDF5, Zarr), or a list of samples; ArrayData takes what fits "
            "on the device."
        )

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> PyTree:
        return jax.tree.map(lambda rows: rows[0], self.rows(np.array([index])))

    def rows(self, numbers: np.ndarray, into: PyTree = None) -> PyTree:
        """The samples of these numbers, stacked: in new arrays, or in those of other samples.

        Raises `DataError` naming array, file and samples.
        """
        found: list[np.ndarray] = []
        used = [None] * len(self._arrays) if into is None else jax.tree.leaves(into)
        for name, array, old in zip(self._names, self._arrays, used, strict=True):
            try:
                found.append(array.read(numbers, old))
            except Exception as error:
                raise DataError(
                    f"{name} could not be read for samples {few(numbers.tolist())}: "
                    f"{type(error).__name__}: {error}. The file must stay as it was, and open, "
                    "until the training ends."
                ) from error
        return jax.tree.unflatten(self._structure, found)

    def fingerprint(self) -> dict[str, str]:
        """Dtype and shape of a sample, and what tells the first and the last from other data.

        >>> StoredArrays(np.zeros((3, 2))).fingerprint()["sample"]
        'float64[2]'
        """
        ends = self.rows(np.array([0, self.length - 1]))
        content = b"".join(rows.tobytes() for rows in jax.tree.leaves(ends))
        return {"sample": sample_of(ends), "ends": hashlib.sha256(content).hexdigest()[:16]}


@dataclass(frozen=True)
class InMemory:
    """An array of NumPy."""

    array: np.ndarray

    def read(self, numbers: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """The rows of these numbers."""
        return np.asarray(self.array[numbers])

    def __reduce__(self) -> Any:
        if _root(self.array) is not None:
            raise TypeError(
                "a memory map that leaves parts of its file out, or was opened with mode 'c', "
                "would be sent as a whole"
            )
        return InMemory, (self.array,)


@dataclass(frozen=True)
class InFile:
    """An array that lies in a file as it would in memory, of which the caller has a memory map.

    It is read by calls of the system. Through the map each page would cost a fault, and a file
    that has become shorter would end the process.
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, numbers: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """The rows of these numbers: one read for each run of consecutive ones."""
        shape = len(numbers), *self.shape[1:]
        rows = _like(into, shape, self.dtype)
        rows = np.empty(shape, self.dtype) if rows is None else rows
        size = rows.nbytes // len(numbers)
        target = rows.reshape(-1).view(np.uint8).data
        cuts = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
        runs = zip(numbers[cuts[:-1]].tolist(), cuts[:-1], cuts[1:], strict=True)
        with open(self.path, "rb", buffering=0) as file:
            for number, start, stop in sorted(runs):
                file.seek(self.offset + number * size)
                left = target[start * size : stop * size]
                while left:
                    count = file.readinto(left)
                    if not count:
                        raise EOFError(
                            f"{self.path} has become shorter: it ends at byte "
                            f"{os.fstat(file.fileno()).st_size}"
                        )
                    left = left[count:]
        return rows


@dataclass(frozen=True)
class InChunks:
    """An array of another library, which wants the numbers of rows sorted, and each once."""

    array: Chunked

    def read(self, numbers: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """The rows of these numbers; consecutive ones, in any order, are one slice."""
        first, stop = int(numbers.min()), int(numbers.max()) + 1
        if stop - first == len(numbers):
            shape, in_order = (len(numbers), *self.array.shape[1:]), (np.diff(numbers) == 1).all()
            old = _like(into, shape, self.array.dtype)
            if in_order and old is not None and isinstance(self.array, Direct):
                self.array.read_direct(old, np.s_[first:stop])
                return old
            rows = np.asarray(self.array[first:stop])
            if not in_order:
                return rows[numbers - first]
            return rows if rows.flags.owndata else rows.copy()
        each, places = np.unique(numbers, return_inverse=True)
        return np.asarray(self.array[each])[places]

    def __reduce__(self) -> Any:
        h5py = sys.modules.get("h5py")
        if h5py is None or not isinstance(self.array, h5py.Dataset):
            return InChunks, (self.array,)
        dataset = cast(Any, self.array)
        path = os.path.abspath(dataset.file.filename)
        if not os.path.isfile(path):
            raise TypeError(f"the HDF5 data set {dataset.name} is in no file that opens, {path}")
        return InHdf5, (path, dataset.name, dataset.shape, dataset.dtype)


@dataclass(frozen=True)
class InHdf5:
    """A data set of HDF5 in another process, which opens the file for itself: handles of HDF5 are
    not to be shared."""

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self, numbers: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """The rows of these numbers."""
        return self._opened.read(numbers, into)

    @cached_property
    def _opened(self) -> InChunks:
        found: Any = import_module("h5py").File(self.path, "r")[self.name]
        if (found.shape, found.dtype) != (self.shape, self.dtype):
            raise ValueError(
                f"{self.path}{self.name} holds {found.dtype}{list(found.shape)}; expected "
                f"{self.dtype}{list(self.shape)}"
            )
        return InChunks(found)


def stored(array: Any, name: str) -> Stored:
    """How an array is read. Raises `DataError` for one with a mask, which would be lost."""
    if isinstance(array, jax.Array):
        return InMemory(np.asarray(jax.device_get(array)))
    if not is_a(array, np.ndarray):
        return InChunks(array)
    if is_a(array, np.ma.MaskedArray):
        to_numpy(array, name)
    root = _root(array)
    if root is None or root.filename is None or root.mode == "c" or not array.flags.c_contiguous:
        return InMemory(array)
    offset = root.offset + array.ctypes.data - root.ctypes.data
    return InFile(os.fsdecode(root.filename), offset, array.shape, array.dtype)


def _like(array: np.ndarray | None, shape: tuple[int, ...], dtype: Any) -> np.ndarray | None:
    """The array, if it is one of this shape and dtype."""
    fits = array is not None and (array.shape, array.dtype) == (shape, dtype)
    return array if fits else None


def _root(array: Any) -> Any:
    """The memory map that an array is a view of, if any."""
    while is_a(array, np.ndarray):
        if is_a(array, np.memmap) and is_a(array.base, mmap.mmap):
            return array
        array = array.base
    return None


def _tree(dataset: Any) -> PyTree:
    """Mappings as dicts, so that JAX finds the arrays in them: groups of HDF5, for one."""
    if is_mapping(dataset):
        return {key: _tree(value) for key, value in cast(Mapping[Any, Any], dataset).items()}
    return dataset


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | jax.Array | Chunked)
