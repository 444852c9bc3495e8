"""One file from the network, verified by its SHA-256: there whole and right, or not at all."""

import logging
import os
from pathlib import Path
from typing import Any

import pooch

from etude.errors import DataError

#: The environment variable that says where data lie.
VARIABLE = "ETUDE_DATA"


def data_folder(root: str | Path | None = None) -> Path:
    """Where data lie: `root`, else the variable ETUDE_DATA, else the user's cache folder.

    >>> data_folder("somewhere").name
    'somewhere'
    """
    return Path(root or os.environ.get(VARIABLE) or pooch.os_cache("etude"))


def download(address: str, path: Path, sha256: str) -> Path:
    """The file at `path`, fetched from `address` if it is not there yet.

    Raises `DataError` if it cannot be fetched, or if what is there or comes is another file.
    """
    if path.is_file():
        found = pooch.file_hash(str(path), alg="sha256")
        if found != sha256:
            raise DataError(
                f"{path} is not the published file: its SHA-256 is {found}, expected {sha256}. "
                "Delete it, and it is fetched again."
            )
        return path
    pooch.get_logger().setLevel(logging.WARNING)
    bar: Any = _Bar(path.name)
    downloader: Any = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16)
    try:
        pooch.retrieve(address, f"sha256:{sha256}", path.name, path.parent, downloader=downloader)
    except ValueError as error:
        raise DataError(
            f"{address} is not the published file ({error}) Something between here and there "
            "answered instead, or cut it short; try again, or fetch it by another way."
        ) from error
    except OSError as error:  # no network, refused, timed out, not found; no place to write
        raise DataError(
            f"{address} could not be fetched into {path.parent} ({error}); is this machine "
            f"offline? Put the file {path.name} there by hand."
        ) from error
    return path


class _Bar:
    """What pooch tells of a download, shown by rich."""

    def __init__(self, name: str):
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self.total = 0
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._task = self._progress.add_task(name, total=None)

    def update(self, size: int) -> None:
        self._progress.start()
        self._progress.update(self._task, advance=size, total=self.total or None)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        self._progress.stop()
