"""The manifest of a checkpoint: what it holds, with a digest of every array and file.

>>> import numpy as np
>>> entry = ArrayEntry.of("0", np.zeros((2, 3), np.float32))
>>> entry.shape, entry.dtype, entry.digest[:8]
((2, 3), 'float32', '9d908ecf')
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
FILE_NAME = "manifest.json"


class ManifestError(ValueError):
    """A manifest that is missing or damaged, or that disagrees with what lies on the disk."""


@dataclass(frozen=True)
class ArrayEntry:
    """One array of a checkpoint: the key under which it is stored and what it must be."""

    key: str  # plain digits: leaf paths may hold any character, storage keys may not
    shape: tuple[int, ...]
    dtype: str
    digest: str  # SHA-256 of the bytes in C order

    @classmethod
    def of(cls, key: str, array: np.ndarray) -> "ArrayEntry":
        """The entry of `array`, which must be contiguous in C order."""
        # The view as bytes is free, and the buffer protocol does not know bfloat16.
        content = array.reshape(-1).view(np.uint8)
        digest = hashlib.sha256(content.data).hexdigest()
        return cls(key, tuple(array.shape), array.dtype.name, digest)


@dataclass(frozen=True)
class FileEntry:
    """One file of a checkpoint."""

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
    """What a checkpoint holds; it is written after everything else, so it says "whole"."""

    name: str
    sequence: int  # grows with every save of a store: the order of checkpoints
    arrays: Mapping[str, ArrayEntry]  # by leaf path
    files: Mapping[str, FileEntry]  # by path relative to the folder of the arrays
    meta: Mapping[str, Any]

    @property
    def arrays_folder(self) -> str:
        """Name of the folder of the arrays, beside the manifest."""
        return f"arrays-{self.sequence:06d}"

    def write(self, folder: Path) -> None:
        """Put the manifest into `folder`, durably and at once: whole, or as it was before."""
        body = {
            "format": FORMAT,
            "name": self.name,
            "sequence": self.sequence,
            "arrays": {path: asdict(entry) for path, entry in self.arrays.items()},
            "files": {path: asdict(entry) for path, entry in self.files.items()},
            "meta": self.meta,
        }
        temporary = folder / f"{FILE_NAME}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({**body, "digest": _digest(body)}, file, indent=1)
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
        if digest != _digest(body):
            raise ManifestError(f"{FILE_NAME} is damaged: its content does not match its digest")
        if body["format"] != FORMAT:
            raise ManifestError(
                f"{FILE_NAME} has format {body['format']}, this version of etude reads format "
                f"{FORMAT}: use the version that wrote it"
            )
        arrays = {
            path: ArrayEntry(**{**entry, "shape": tuple(entry["shape"])})
            for path, entry in body["arrays"].items()
        }
        files = {path: FileEntry(**entry) for path, entry in body["files"].items()}
        return cls(body["name"], body["sequence"], arrays, files, body["meta"])

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

    def verify_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Compare what was read with the manifest; ManifestError names the first bad leaf."""
        for path, expected in self.arrays.items():
            found = ArrayEntry.of(expected.key, arrays[path])
            if found != expected:
                raise ManifestError(
                    f"leaf {path!r} is not what was saved: "
                    f"got {found.dtype}{list(found.shape)} with digest {found.digest[:8]}, "
                    f"expected {expected.dtype}{list(expected.shape)} "
                    f"with digest {expected.digest[:8]}"
                )


def sync_directory(folder: Path) -> None:
    """Make the names in `folder` durable: a rename survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
