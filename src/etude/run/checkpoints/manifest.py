"""The manifest of a folder of arrays: what it holds, with a digest of every shard.

>>> from etude.run.checkpoints.host_array import HostArray
>>> import numpy as np
>>> entry = entries_of({"w": HostArray.of(np.zeros((2, 3), np.float32))})["w"]
>>> entry.shape, entry.dtype, entry.shards[0].key, entry.shards[0].digest[:8]
((2, 3), 'float32', '0', '9d908ecf')
"""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# NumPy knows bfloat16 and its like by name after this.
import ml_dtypes  # noqa: F401  # pyright: ignore[reportUnusedImport]
import numpy as np

from etude.run.checkpoints.array_file import bytes_of
from etude.run.checkpoints.host_array import HostArray, Index

#: Formats 1 and 2 had their arrays written by Orbax, format 1 every array as one: they are read.
FORMAT = 3
#: Bytes below which it costs more to begin threads than to compute digests in this one.
SMALL = 1 << 22
FILE_NAME = "manifest.json"


class ManifestError(ValueError):
    """A manifest that is missing or damaged, or that disagrees with what lies on the disk."""


@dataclass(frozen=True)
class ShardEntry:
    """One shard of an array: which part it is, and the key under which it is stored."""

    index: Index
    key: str  # its number, in the order in which shards are stored
    digest: str  # SHA-256 of the bytes in C order

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(stop - start for start, stop in self.index)


@dataclass(frozen=True)
class ArrayEntry:
    """One array: what it must be, and its shards, which cover it once."""

    shape: tuple[int, ...]
    dtype: str
    shards: tuple[ShardEntry, ...]  # none for an empty array

    @property
    def complete(self) -> bool:
        """Whether the shards have as many elements as the array."""
        return sum(math.prod(shard.shape) for shard in self.shards) == math.prod(self.shape)

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        shards = [{"index": s.index, "key": s.key, "digest": s.digest} for s in self.shards]
        return {"shape": self.shape, "dtype": self.dtype, "shards": shards}


@dataclass(frozen=True)
class FileEntry:
    """One file that Orbax wrote."""

    size: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """The entry of the file at `path`; OSError if it cannot be read."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(file.tell(), digest)


@dataclass(frozen=True)
class Manifest:
    """What a folder holds; it is written after everything else, so it says "whole"."""

    name: str
    sequence: int  # grows with every save of a store: the order of checkpoints
    arrays: Mapping[str, ArrayEntry]  # by leaf path
    meta: Mapping[str, Any]
    shared: Mapping[str, str]  # prefix of leaf paths -> digest of the arrays stored elsewhere
    format: int = FORMAT
    #: up to format 2: by path relative to the folder of the arrays
    files: Mapping[str, FileEntry] = field(default_factory=dict[str, FileEntry])

    @property
    def packed(self) -> bool:
        """Whether Orbax wrote the arrays, into a folder."""
        return self.format < 3

    @property
    def place(self) -> str:
        """Name of the file of the arrays, or of their folder, beside the manifest."""
        return f"arrays-{self.sequence:06d}{'' if self.packed else '.bin'}"

    def write(self, folder: Path) -> None:
        """Put the manifest into `folder`, durably and at once: whole, or as it was before."""
        body = {
            "format": FORMAT,
            "name": self.name,
            "sequence": self.sequence,
            "arrays": {path: entry.as_json() for path, entry in self.arrays.items()},
            "meta": self.meta,
            "shared": dict(self.shared),
        }
        temporary = folder / f"{FILE_NAME}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps({**body, "digest": _digest(body)}))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / FILE_NAME)
        sync_directory(folder)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest in `folder`; ManifestError says what is wrong with it."""
        path = folder / FILE_NAME
        try:
            body = json.loads(path.read_bytes())
            digest = body.pop("digest")
        except FileNotFoundError:
            raise ManifestError(
                f"{FILE_NAME} is missing: the save was cut off, or the file was deleted"
            ) from None
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise ManifestError(f"{FILE_NAME} cannot be read ({error})") from None
        except RecursionError:
            raise ManifestError(f"{FILE_NAME} is damaged: its brackets do not end") from None
        if digest != _digest(body):
            raise ManifestError(f"{FILE_NAME} is damaged: its content does not match its digest")
        entry_of = {1: _whole_entry, 2: _entry, FORMAT: _entry}.get(body["format"])
        if entry_of is None:
            raise ManifestError(
                f"{FILE_NAME} has format {body['format']}, this version of etude reads formats "
                f"1 to {FORMAT}: use the version that wrote it"
            )
        arrays = {path: entry_of(entry) for path, entry in body["arrays"].items()}
        files = {path: FileEntry(**entry) for path, entry in body.get("files", {}).items()}
        return cls(
            body["name"],
            body["sequence"],
            arrays,
            body["meta"],
            body.get("shared", {}),
            body["format"],
            files,
        )

    def verify_files(self, folder: Path) -> None:
        """Compare the files below `folder` with the manifest; ManifestError names the first bad."""
        for path, expected in self.files.items():
            try:
                found = FileEntry.of(folder / path)
            except OSError as error:
                raise ManifestError(f"{folder.name}/{path}: {error.strerror}") from None
            if found.size != expected.size:
                raise ManifestError(
                    f"{folder.name}/{path} has {found.size} bytes, expected {expected.size}"
                )
            if found != expected:
                raise ManifestError(f"{folder.name}/{path} is damaged: its digest differs")

    def verify_arrays(self, stored: Mapping[str, np.ndarray]) -> None:
        """Compare what was read, by key, with the manifest; ManifestError names the first bad."""
        entries = [
            (path, entry, shard) for path, entry in self.arrays.items() for shard in entry.shards
        ]
        digests = digests_of([stored[shard.key] for _, _, shard in entries])
        for (path, entry, shard), digest in zip(entries, digests, strict=True):
            found = stored[shard.key]
            if (found.dtype.name, found.shape, digest) != (entry.dtype, shard.shape, shard.digest):
                raise ManifestError(
                    f"{self.place} is damaged: leaf {path!r} is not what was saved: "
                    f"got {found.dtype.name}{list(found.shape)} with digest {digest[:8]}, expected "
                    f"{entry.dtype}{list(shard.shape)} with digest {shard.digest[:8]}"
                )


def entries_of(arrays: Mapping[str, HostArray]) -> dict[str, ArrayEntry]:
    """The entries of arrays, with keys counted through."""
    digests = digests_of([shard.data for array in arrays.values() for shard in array.shards])
    numbered = zip(map(str, itertools.count()), digests, strict=False)
    return {
        path: ArrayEntry(
            array.shape,
            array.dtype.name,
            tuple(ShardEntry(shard.index, *next(numbered)) for shard in array.shards),
        )
        for path, array in arrays.items()
    }


def digests_of(arrays: Sequence[np.ndarray]) -> list[str]:
    """The digests of arrays that are contiguous in C order, large ones in several threads."""
    if sum(array.nbytes for array in arrays) < SMALL:
        return [digest_of(array) for array in arrays]
    with ThreadPoolExecutor(os.cpu_count(), "etude-digest") as threads:
        return list(threads.map(digest_of, arrays))


def digest_of(array: np.ndarray) -> str:
    """SHA-256 of an array that is contiguous in C order."""
    return hashlib.sha256(bytes_of(array)).hexdigest()


def sync_directory(folder: Path) -> None:
    """Make the names in `folder` durable: a rename survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entry(stored: Mapping[str, Any]) -> ArrayEntry:
    shards = [
        ShardEntry(tuple((start, stop) for start, stop in s["index"]), s["key"], s["digest"])
        for s in stored["shards"]
    ]
    return ArrayEntry(tuple(stored["shape"]), stored["dtype"], tuple(shards))


def _whole_entry(stored: Mapping[str, Any]) -> ArrayEntry:
    """An entry of format 1."""
    shape = tuple(stored["shape"])
    shard = ShardEntry(tuple((0, size) for size in shape), stored["key"], stored["digest"])
    return ArrayEntry(shape, stored["dtype"], () if 0 in shape else (shard,))


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
