"""The folder of one checkpoint: what is in it, whether it is whole, what a kill has left.

>>> import tempfile
>>> is_checkpoint(Path(tempfile.mkdtemp()))
True
"""

import contextlib
import re
import shutil
from pathlib import Path

import numpy as np

from etude.run.manifest import FILE_NAME, Manifest, ManifestError
from etude.run.storage import read_arrays


class ReplacedError(Exception):
    """A checkpoint was removed or saved anew while it was being read."""


def read_whole(folder: Path) -> tuple[Manifest, dict[str, np.ndarray]]:
    """Manifest and arrays of the checkpoint in `folder`.

    Raises ManifestError if anything is damaged, ReplacedError if that is because the training
    that writes them went on meanwhile.
    """
    manifest = Manifest.read(folder)
    try:
        return manifest, _read_arrays(folder / manifest.arrays_folder, manifest)
    except (ManifestError, OSError, ValueError) as error:
        try:
            same = Manifest.read(folder).sequence == manifest.sequence
        except ManifestError:
            same = (folder / FILE_NAME).exists()
        if not same:
            raise ReplacedError(f"{folder.name}, {error}") from error
        raise


def _read_arrays(place: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    manifest.verify_files(place)  # first, so that Orbax never parses damaged files
    stored = [entry.key for entry in manifest.arrays.values() if 0 not in entry.shape]
    by_key = read_arrays(place, stored)
    arrays = {
        path: np.empty(entry.shape, entry.dtype) if 0 in entry.shape else by_key[entry.key]
        for path, entry in manifest.arrays.items()
    }
    manifest.verify_arrays(arrays)
    return arrays


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


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds nothing but (parts of) a checkpoint, as an empty one does."""
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


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
