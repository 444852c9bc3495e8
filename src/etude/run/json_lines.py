"""A file of JSON objects, one a line, appended in memory and written at `flush`.

>>> import tempfile
>>> lines = LineFile(Path(tempfile.mkdtemp()) / "example.jsonl")
>>> lines.append({"step": 1})
>>> lines.flush()
>>> lines.offset()
11
>>> lines.close()
>>> read_lines(lines.path)
[{'step': 1}]
"""

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from etude.kinds import is_dict
from etude.run.append_file import AppendFile

_NAMES_OF_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class LineFile:
    """Appends to `path`. A torn last line, which a killed process may leave, is dropped first.

    A failed `flush` keeps what was not written: the next one goes on at the same byte.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = AppendFile(path)
        self._cut(self._file.offset())

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one object; numbers that JSON lacks must have become strings before."""
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        self._file.append(text.encode() + b"\n")

    def flush(self) -> None:
        """Hand all lines to the system; WriteError names the file, for one where the disk is full.

        What is flushed outlives this process, but not a power cut: see `settle`.
        """
        self._file.flush()

    def settle(self) -> None:
        """Return when the flushed lines are on the disk: before a checkpoint counts on them."""
        self._file.settle()

    def offset(self) -> int:
        """Length of the file in bytes, lines that were not flushed yet among them."""
        return self._file.offset()

    def waiting(self) -> bytes:
        """The lines that a full disk has kept from being written."""
        return self._file.waiting()

    def digest(self) -> str:
        """SHA-256 of the file, lines that were not flushed yet among them."""
        return self._file.digest()

    def began_with(self, offset: int, digest: str) -> bool:
        """Whether the first `offset` bytes have this digest."""
        return self._file.began_with(offset, digest)

    def truncate(self, offset: int) -> None:
        """Drop everything after the first `offset` bytes, and a line that this would tear.

        Raises ValueError if the file is shorter than that.
        """
        self.flush()
        self._cut(offset)

    def replace(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write these objects instead of all others; the file has the old ones or the new ones."""
        self.flush()
        temporary = LineFile(self.path.with_name(f"{self.path.name}.tmp"))
        temporary.truncate(0)  # what a kill has left
        for record in records:
            temporary.append(record)
        temporary.flush()
        temporary.settle()
        self._file.become(temporary._file)

    def close(self) -> None:
        """Flush and close; the file is closed even if the flush fails."""
        self._file.close()

    def _cut(self, offset: int) -> None:
        if offset > self._file.offset():
            self._file.cut(offset)  # which says that there is less
        if not offset:
            self._file.cut(0)
            return
        with self.path.open("rb") as file:
            end = offset
            while end > 0:  # back to the last line end, in steps of a block
                start = max(0, end - 4096)
                file.seek(start)
                position = file.read(end - start).rfind(b"\n")
                if position >= 0:
                    end = start + position + 1
                    break
                end = start
        self._file.cut(end)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All objects of the file at `path`, in order; a torn last line is left out.

    Other lines that cannot be read are left out with a warning that counts them.
    """
    records = parse(path.read_bytes())
    warn_of_unreadable(path, records)
    return [record for record in records if record is not None]


def warn_of_unreadable(path: Path, records: Sequence[dict[str, Any] | None]) -> None:
    """A warning that counts the lines that cannot be read, if there are any."""
    if broken := unreadable(records):
        warnings.warn(f"{path}: {broken}, and left out.", stacklevel=4)


def parse(content: bytes) -> list[dict[str, Any] | None]:
    """The objects of a file, None for each line that is none, but for a torn last.

    >>> parse(b'{"step":1}' + bytes([10]) + b'{"st')
    [{'step': 1}]
    """
    return [_parsed(line) for line in content.split(b"\n")[:-1]]  # the last is empty, or torn


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # of brackets that do not end
        return None
    return record if is_dict(record) else None


def unreadable(records: Sequence[dict[str, Any] | None]) -> str:
    """Which lines cannot be read, as a clause; empty if all can."""
    lines = [number for number, record in enumerate(records, start=1) if record is None]
    if len(lines) < 2:
        return f"line {lines[0]} cannot be read" if lines else ""
    return f"{len(lines)} lines cannot be read, the first of them line {lines[0]}"


def encode(value: Any) -> Any:
    """`value` with NumPy numbers made plain and those that JSON lacks made strings.

    >>> encode({"loss": np.float32("nan")})
    {'loss': 'nan'}
    """
    match value:
        case Mapping():
            return {key: encode(inner) for key, inner in cast(Mapping[str, Any], value).items()}
        case list() | tuple():
            return [encode(inner) for inner in cast(Sequence[Any], value)]
        case np.generic() | np.ndarray():
            return encode(value.tolist())
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def number_of(value: Any) -> float | None:
    """A number, as `encode` has left it; None for what is none.

    >>> number_of("-inf"), number_of("a")
    (-inf, None)
    """
    return value if isinstance(value, int | float) else _NAMES_OF_NUMBERS.get(str(value))


def decode(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the metrics that `encode` made strings, which have names with a slash.

    >>> decode({"phase": "nan", "train/loss": "nan"})
    {'phase': 'nan', 'train/loss': nan}
    """
    return {
        key: _NAMES_OF_NUMBERS.get(value, value) if isinstance(value, str) and "/" in key else value
        for key, value in record.items()
    }
