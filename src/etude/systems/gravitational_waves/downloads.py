"""The strain around GW150914 as the Gravitational Wave Open Science Center publishes it.

R. Abbott et al., SoftwareX 13 (2021) 100658; data set doi:10.7935/K5MW2F23, CC BY 4.0. Please
acknowledge the center (gwosc.org) when you publish results that use its data.
"""

import hashlib
import os
import urllib.request
from pathlib import Path

from etude.data.named import VARIABLE
from etude.engine.errors import DataError

ADDRESS = "https://gwosc.org/s/events/GW150914/"

#: detector -> name of its file (32 s at 4096 Hz) and its SHA-256
FILES = {
    "H1": (
        "H-H1_LOSC_4_V2-1126259446-32.hdf5",
        "6e6976e932074a3b4e4a398ed02c62e30fcaa2781811762caea04937133583f6",
    ),
    "L1": (
        "L-L1_LOSC_4_V2-1126259446-32.hdf5",
        "56706e68c811b15548f1d7ed69d7c48d5fcc62aeb21fbaf131355f3cc5c07189",
    ),
}

_BLOCK = 1 << 16


def gw150914(root: str | Path | None = None) -> dict[str, Path]:
    """The two files of GW150914, by detector; what is not there yet is fetched, 1 MB each.

    They are looked for in the folder `gw150914` of `root`, and fetched into it. A file is there
    whole, with the right SHA-256, or not at all.

    Args:
        root: folder of the data; None: the variable ETUDE_DATA, else the user's cache folder.

    Raises:
        DataError: no network, or a file that is not the one published.

    >>> sorted(FILES)
    ['H1', 'L1']
    """
    folder = _root(root) / "gw150914"
    paths = {}
    for detector, (name, digest) in FILES.items():
        paths[detector] = folder / name
        if not paths[detector].is_file():
            _fetch(paths[detector], digest)
        elif (found := _digest(paths[detector])) != digest:
            raise DataError(
                f"{paths[detector]} is not the published file: its SHA-256 is {found}, expected "
                f"{digest}. Delete it, and it is fetched again."
            )
    return paths


def _root(root: str | Path | None) -> Path:
    given = root or os.environ.get(VARIABLE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "etude"


def _fetch(path: Path, digest: str) -> None:
    from rich.progress import wrap_file

    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(ADDRESS + path.name, timeout=30) as response:
            total = int(response.headers.get("Content-Length") or 0)
            with (
                wrap_file(response, total, description=path.name) as source,
                part.open("wb") as out,
            ):
                while block := source.read(_BLOCK):
                    out.write(block)
        found = _digest(part)
        if found != digest:
            raise DataError(
                f"{ADDRESS}{path.name} is not the published file: its SHA-256 is {found}, expected "
                f"{digest}. Something between here and there answered instead, or cut it short; "
                "try again, or fetch it by another way."
            )
        part.replace(path)
    except OSError as error:  # no network, refused, timed out, not found; no place to write
        raise DataError(
            f"{ADDRESS}{path.name} could not be fetched into {path.parent} ({error}); is this "
            f"machine offline? Put the files {', '.join(name for name, _ in FILES.values())} there "
            f"by hand, or set {VARIABLE} to a folder that holds them in gw150914."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
