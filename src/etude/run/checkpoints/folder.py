"""A folder of arrays with a manifest: how it is written and read, and what a kill has left.

Checkpoints are such folders, and so is each set of arrays that they share, in `shared/`.

>>> import tempfile
>>> is_ours(Path(tempfile.mkdtemp()))
True
"""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from etude.run.checkpoints.array_files import read_arrays, write_arrays
from etude.run.checkpoints.host_array import HostArray, Shard
from etude.run.checkpoints.manifest import (
    FILE_NAME,
    FileEntry,
    Manifest,
    ManifestError,
    sync_directory,
)

#: Folder of the arrays that checkpoints share, beside them.
SHARED = "shared"


class ReplacedError(Exception):
    """A checkpoint was removed or saved anew while it was being read."""


def write_folder(folder: Path, manifest: Manifest, arrays: Mapping[str, HostArray]) -> None:
    """Write arrays, and then the manifest with the digests of their files."""
    place = folder / manifest.arrays_folder
    stored = {
        entry.key: shard.data
        for path, array in arrays.items()
        for entry, shard in zip(manifest.arrays[path].shards, array.shards, strict=True)
    }
    write_arrays(place, stored)
    files = {path: FileEntry.of(place / path) for path in _files_of(place)}
    for directory in (place, folder, folder.parent):
        sync_directory(directory)
    replace(manifest, files=files).write(folder)


def write_shared(checkpoints: Path, manifest: Manifest, arrays: Mapping[str, HostArray]) -> None:
    """Write arrays that checkpoints share, unless they are there, whole; the manifest is named so.

    What lies there is read: many checkpoints depend on it, and here it can still be mended.
    """
    folder = shared_folder(checkpoints, manifest.name)
    try:
        known = Manifest.read(folder)
        if known.name == manifest.name:
            known.verify_files(folder / known.arrays_folder)
            return
    except ManifestError:
        pass
    if folder.exists():  # what a kill, or damage, has left
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_folder(folder, manifest, arrays)


def read_whole(folder: Path) -> tuple[Manifest, dict[str, HostArray]]:
    """Manifest and arrays of the checkpoint in `folder`, those that it shares among them.

    Raises ManifestError if anything is damaged, ReplacedError if that is because the training
    that writes them went on meanwhile.
    """
    manifest = Manifest.read(folder)
    try:
        arrays = _read_arrays(folder, manifest)
        for prefix, digest in manifest.shared.items():
            found = _read_shared(shared_folder(folder.parent, digest), digest)
            arrays |= {prefix + path: array for path, array in found.items()}
        return manifest, arrays
    except (ManifestError, OSError, ValueError) as error:
        try:
            same = Manifest.read(folder).sequence == manifest.sequence
        except ManifestError:
            same = (folder / FILE_NAME).exists()
        if not same:
            raise ReplacedError(f"{folder.name}, {error}") from error
        raise


def _read_shared(folder: Path, digest: str) -> dict[str, HostArray]:
    try:
        manifest = Manifest.read(folder)
        if manifest.name != digest:
            raise ManifestError(f"its digest is {manifest.name[:16]}")
        return _read_arrays(folder, manifest)
    except ManifestError as error:
        raise ManifestError(f"{SHARED}/{folder.name}, which it refers to: {error}") from None


def _read_arrays(folder: Path, manifest: Manifest) -> dict[str, HostArray]:
    place = folder / manifest.arrays_folder
    manifest.verify_files(place)  # first, so that Orbax never parses damaged files
    keys = [shard.key for entry in manifest.arrays.values() for shard in entry.shards]
    stored = read_arrays(place, keys)
    manifest.verify_arrays(stored)
    return {
        path: HostArray(
            entry.shape,
            np.dtype(entry.dtype),
            tuple(Shard(shard.index, stored[shard.key]) for shard in entry.shards),
        )
        for path, entry in manifest.arrays.items()
    }


def shared_folder(checkpoints: Path, digest: str) -> Path:
    """Where the shared arrays with a digest lie."""
    return checkpoints / SHARED / digest[:16]


def remove_folder(folder: Path) -> None:
    """Remove a folder of arrays, the manifest first: a crash leaves it absent, not broken."""
    (folder / FILE_NAME).unlink(missing_ok=True)
    sync_directory(folder)
    shutil.rmtree(folder)


def remove_unshared(checkpoints: Path) -> None:
    """Remove shared arrays that no checkpoint refers to; what resists is left to the next time."""
    place = checkpoints / SHARED
    if not place.is_dir():
        return
    wanted = set[str]()
    for folder in checkpoint_folders(checkpoints):
        with contextlib.suppress(ManifestError):
            wanted |= {digest[:16] for digest in Manifest.read(folder).shared.values()}
    with contextlib.suppress(OSError):
        for folder in list(place.iterdir()):
            if folder.name not in wanted and is_array_folder(folder):
                remove_folder(folder)
        if not any(place.iterdir()):
            place.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove what no manifest in `folder` vouches for, and `folder` itself if nothing is left.

    What resists is left to the next save: after a failed one, TensorStore may still be writing.
    """
    with contextlib.suppress(OSError):
        _remove_all_but_whole(folder)


def _remove_all_but_whole(folder: Path) -> None:
    try:
        keep = Manifest.read(folder).arrays_folder
    except ManifestError:
        if (folder / FILE_NAME).exists():
            return  # damaged: left for its owner to look at
        keep = None
    for path in folder.iterdir():
        if path.is_dir() and path.name != keep:
            shutil.rmtree(path)
        elif path.name == f"{FILE_NAME}.tmp":
            path.unlink()
    if keep is None:
        folder.rmdir()


def checkpoint_folders(checkpoints: Path) -> Iterator[Path]:
    """The folders of checkpoints, whole or not, in the folder of all."""
    if checkpoints.is_dir():
        for folder in checkpoints.iterdir():
            if folder.name != SHARED and is_array_folder(folder):
                yield folder


def is_ours(folder: Path) -> bool:
    """Whether `folder` holds nothing but what a store writes."""
    if folder.name != SHARED:
        return is_array_folder(folder)
    return folder.is_dir() and all(is_array_folder(inner) for inner in folder.iterdir())


def is_array_folder(folder: Path) -> bool:
    """Whether `folder` holds nothing but arrays and their manifest, as an empty one does."""
    try:
        return all(_OURS.fullmatch(path.name) for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or a file
        return False


def sequence_of(folder: Path) -> int:
    """Sequence number of a checkpoint, or of the attempt to write it."""
    try:
        return Manifest.read(folder).sequence
    except ManifestError:
        try:
            matches = [_OURS.fullmatch(path.name) for path in folder.iterdir()]
        except FileNotFoundError:  # removed meanwhile
            return 0
        return max((int(match["sequence"] or 0) for match in matches if match), default=0)


# Orbax writes into arrays-000012.orbax-checkpoint-tmp and renames it.
_OURS = re.compile(rf"arrays-(?P<sequence>\d+)(\.orbax.*)?|{re.escape(FILE_NAME)}(\.tmp)?")


def _files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
