"""The IDX format of MNIST: magic number, sizes, then big-endian values; gzipped or not.

Format: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from etude.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

CURE = "Get the file again from its source."


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file, in native byte order; gzip is told by its first two bytes.

    Raises `DataError` if the file is missing, no IDX file, truncated, too long, or its gzip
    stream is damaged; it names the file, got and expected.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]))
    >>> read_idx(path)
    array([5, 6, 7], dtype=uint8)
    """
    content = _content(Path(path))
    if len(content) < 4:
        raise DataError(f"{path} has {len(content)} bytes; an IDX file has at least 4. {CURE}")
    zeros, code, axes = content[:2], content[2], content[3]
    if zeros != b"\0\0" or code not in TYPES:
        expected = ", ".join(f"{known:#04x}" for known in TYPES)
        raise DataError(
            f"{path} is no IDX file: its magic number is 0x{content[:4].hex()}, expected 0x0000, "
            f"a type ({expected}) and the number of axes. Check the name of the file."
        )
    start = 4 + 4 * axes
    if len(content) < start:
        raise DataError(
            f"{path} is truncated in its header: {len(content)} bytes, expected {start} for "
            f"{axes} axes. {CURE}"
        )
    shape = struct.unpack(f">{axes}I", content[4:start])
    dtype = np.dtype(TYPES[code])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        wrong = "is truncated" if len(content) < expected else "is too long"
        raise DataError(
            f"{path} {wrong}: {len(content)} bytes, expected {expected} for an array of shape "
            f"{shape}. {CURE}"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the folder.") from error
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged: got a gzip stream that ends early or fails its checksum "
            f"({error}), expected a whole one. {CURE}"
        ) from error
