"""A folder of arrays with a manifest: how it is written and read, and what a kill has left.

Checkpoints are such folders, and so is each set of arrays that they share, in `shared/`.

>>> import tempfile
>>> is_array_folder(Path(tempfile.mkdtemp()))
True
"""

import contextlib
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from etude.run.checkpoints.array_file import digests_in, read_arrays, write_arrays
from etude.run.checkpoints.host_array import HostArray, Shard
from etude.run.checkpoints.manifest import (
    FILE_NAME,
    SMALL,
    Manifest,
    ManifestError,
    entries_of,
    sync_directory,
)
from etude.run.checkpoints.orbax_files import read_packed

#: Folder of the arrays that checkpoints share, beside them.
SHARED = "shared"


class ReplacedError(Exception):
    """A checkpoint was removed or saved anew while it was being read."""


def write_folder(
    folder: Path,
    manifest: Manifest,
    arrays: Mapping[str, HostArray],
    settle: Callable[[], None] | None = None,
) -> None:
    """Write arrays, and then the manifest, with their digests unless it has them.

    `settle` is called before the manifest is written: what must be on the disk by then.
    """
    shards = [shard.data for array in arrays.values() for shard in array.shards]
    entries = manifest.arrays
    if entries or sum(shard.nbytes for shard in shards) < SMALL:
        write_arrays(folder / manifest.place, shards)
        entries = entries or entries_of(arrays)
    else:
        with ThreadPoolExecutor(1, "etude-digest") as beside:
            digesting = beside.submit(entries_of, arrays)  # while the system writes
            write_arrays(folder / manifest.place, shards)
            entries = digesting.result()
    if settle is not None:
        settle()
    replace(manifest, arrays=entries).write(folder)
    sync_directory(folder.parent)


def write_shared(checkpoints: Path, manifest: Manifest, arrays: Mapping[str, HostArray]) -> None:
    """Write arrays that checkpoints share, unless they are there, whole; the manifest is named so.

    What lies there is read: many checkpoints depend on it, and here it can still be mended.
    """
    folder = shared_folder(checkpoints, manifest.name)
    try:
        known = Manifest.read(folder)
        if known.name == manifest.name:
            _verify(folder / known.place, known)
            return
    except (ManifestError, OSError):
        pass
    if folder.exists():  # what a kill, or damage, has left
        remove_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
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
    entries = [(entry, shard) for entry in manifest.arrays.values() for shard in entry.shards]
    for path, entry in manifest.arrays.items():
        if not entry.complete:
            raise ManifestError(f"leaf {path!r} lacks a part of its {list(entry.shape)}")
    place = folder / manifest.place
    if manifest.packed:
        manifest.verify_files(place)  # first, so that Orbax never parses damaged files
        stored = read_packed(place, [shard.key for _, shard in entries])
    else:
        kinds = [(shard.shape, np.dtype(entry.dtype)) for entry, shard in entries]
        try:
            found = read_arrays(place, kinds)
        except OSError as error:
            raise ManifestError(f"{place.name}: {error.strerror}") from None
        except ValueError as error:
            raise ManifestError(f"{place.name} {error}") from None
        stored = {shard.key: one for (_, shard), one in zip(entries, found, strict=True)}
    manifest.verify_arrays(stored)
    return {
        path: HostArray(
            entry.shape,
            np.dtype(entry.dtype),
            tuple(Shard(shard.index, stored[shard.key]) for shard in entry.shards),
        )
        for path, entry in manifest.arrays.items()
    }


def _verify(place: Path, manifest: Manifest) -> None:
    """Read arrays without keeping them; ManifestError if they are damaged."""
    if manifest.packed:
        manifest.verify_files(place)
        return
    entries = [(entry, shard) for entry in manifest.arrays.values() for shard in entry.shards]
    sizes = [math.prod(one.shape) * np.dtype(entry.dtype).itemsize for entry, one in entries]
    if digests_in(place, sizes) != [shard.digest for _, shard in entries]:
        raise ManifestError(f"{place.name} is damaged")


def shared_folder(checkpoints: Path, digest: str) -> Path:
    """Where the shared arrays with a digest lie."""
    return checkpoints / SHARED / digest[:16]


def remove_folder(folder: Path) -> None:
    """Remove a folder of arrays, the manifest first: a crash leaves it absent, not broken.

    What others have put there stays, and the folder with it.
    """
    (folder / FILE_NAME).unlink(missing_ok=True)
    sync_directory(folder)
    _remove_ours(folder)


def _remove_ours(folder: Path, keep: str | None = None) -> None:
    """Remove what a store wrote into `folder`, except `keep` and its manifest."""
    for path in list(folder.iterdir()):
        if not _OURS.fullmatch(path.name) or (keep and path.name in (keep, FILE_NAME)):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


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
    names = [path.name for path in folder.iterdir() if _OURS.fullmatch(path.name)]
    if len(names) == 2 and FILE_NAME in names and any(map(_ARRAYS.fullmatch, names)):
        return
    try:
        keep = Manifest.read(folder).place
    except ManifestError:
        if (folder / FILE_NAME).exists():
            return  # damaged: left for its owner to look at
        keep = None
    _remove_ours(folder, keep)


def checkpoint_folders(checkpoints: Path) -> Iterator[Path]:
    """The folders of checkpoints, whole or not, in the folder of all."""
    if checkpoints.is_dir():
        for folder in checkpoints.iterdir():
            if folder.name != SHARED and is_array_folder(folder):
                yield folder


def array_folders(checkpoints: Path) -> list[Path]:
    """All folders of arrays: those of checkpoints, and those of what they share."""
    shared = checkpoints / SHARED
    inner = list(shared.iterdir()) if shared.is_dir() else []
    return [*checkpoint_folders(checkpoints), *filter(is_array_folder, inner)]


def is_array_folder(folder: Path) -> bool:
    """Whether `folder` holds arrays, or nothing but a manifest, or nothing.

    Other files do not count: a desktop or a network file system leaves some. A manifest alone
    beside others is not taken for ours: the name is a common one.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile, or a file
        return False
    return any(map(_ARRAYS.fullmatch, names)) or all(map(_OURS.fullmatch, names))


def sequence_of(folder: Path) -> int:
    """Sequence number of a checkpoint, or of the attempt to write it."""
    try:
        return Manifest.read(folder).sequence
    except ManifestError:
        return last_sequence(folder)


def last_sequence(folder: Path) -> int:
    """The highest sequence number of arrays in a folder, without a look into the manifest."""
    try:
        matches = [_ARRAYS.fullmatch(path.name) for path in folder.iterdir()]
    except FileNotFoundError:  # removed meanwhile
        return 0
    return max((int(match["sequence"]) for match in matches if match), default=0)


# Orbax wrote into arrays-000012.orbax-checkpoint-tmp and renamed it.
_ARRAYS = re.compile(r"arrays-(?P<sequence>\d+)(\.bin|\.orbax.*)?")
_OURS = re.compile(rf"{_ARRAYS.pattern}|{re.escape(FILE_NAME)}(\.tmp)?")
