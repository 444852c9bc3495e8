"""The file of the arrays of a checkpoint: their bytes, one after the other, and nothing else.

Each array is contiguous in C order, in the byte order of the machine that wrote it; the manifest
says what they are. NumPy alone reads it:
`numpy.fromfile(path, dtype, count, offset=bytes_of_those_before)`.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "arrays.bin"
>>> write_arrays(path, [np.arange(3), np.ones((2, 2), np.float32)])
>>> read_arrays(path, [((3,), np.dtype(int)), ((2, 2), np.dtype("float32"))])[0]
array([0, 1, 2])
"""

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

#: Bytes that are collected before they are written; what is larger is written from where it lies.
BUFFER = 1 << 20


def write_arrays(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write contiguous arrays into the new file `path`; return when they are on the disk."""
    with path.open("wb", buffering=BUFFER) as file:
        for array in arrays:
            file.write(bytes_of(array))
        file.flush()
        os.fsync(file.fileno())


def read_arrays(path: Path, kinds: Sequence[tuple[tuple[int, ...], np.dtype]]) -> list[np.ndarray]:
    """Read arrays of these shapes and dtypes from `path`.

    Raises ValueError, which says the sizes, if the file has not just their bytes.
    """
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in kinds)
    found = path.stat().st_size
    if found != size:
        raise ValueError(f"has {found} bytes, expected {size}")
    arrays = [np.empty(shape, dtype) for shape, dtype in kinds]
    with path.open("rb") as file:
        for array in arrays:
            file.readinto(bytes_of(array))
    return arrays


def digests_in(path: Path, sizes: Sequence[int]) -> list[str]:
    """SHA-256 of consecutive parts of a file, of so many bytes each, in little memory."""
    found: list[str] = []
    with path.open("rb", buffering=0) as file:
        for size in sizes:
            digest = hashlib.sha256()
            while size > 0 and (block := file.read(min(size, BUFFER))):
                digest.update(block)
                size -= len(block)
            found.append(digest.hexdigest())
    return found


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array, not copied; also of a dtype that buffers do not know."""
    return array.reshape(-1).view(np.uint8).data
