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
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WriteError(OSError):
    """A file of the run could not be written; the message names it."""


class LineFile:
    """Appends to `path`. A torn last line, which a killed process may leave, is dropped first.

    A failed `flush` keeps what was not written: the next one goes on at the same byte.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[bytes] = []
        # Unbuffered, so that we know which bytes were written when the disk is full.
        self._file = path.open("ab", buffering=0)
        self._written = self._file.tell()
        self._cut(self._written)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one object; numbers that JSON lacks must have become strings before."""
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        self._pending.append(text.encode() + b"\n")

    def append_text(self, text: str) -> None:
        """Add lines that are JSON already, each with its line end."""
        self._pending.append(text.encode())

    def flush(self) -> None:
        """Hand all lines to the system; WriteError names the file, for one where the disk is full.

        What is flushed outlives this process, but not a power cut: see `sync`.
        """
        data = memoryview(b"".join(self._pending))
        try:
            while data:
                count = self._file.write(data)
                self._written += count
                data = data[count:]
        except OSError as error:
            raise WriteError(
                error.errno,
                f"{error.strerror}: {len(data)} bytes of the run's record wait to be written. "
                "Free some space; nothing written before is lost",
                str(self.path),
            ) from error
        finally:
            self._pending = [bytes(data)] if data else []

    def sync(self) -> None:
        """Flush, and return when the lines are on the disk: before a checkpoint counts on them."""
        self.flush()
        os.fsync(self._file.fileno())

    def offset(self) -> int:
        """Length of the file in bytes, lines that were not flushed yet among them."""
        return self._written + sum(map(len, self._pending))

    def truncate(self, offset: int) -> None:
        """Drop everything after the first `offset` bytes, and a line that this would tear.

        Raises ValueError if the file is shorter than that.
        """
        self.flush()
        if not 0 <= offset <= self._written:
            raise ValueError(
                f"{self.path} has {self._written} bytes, so it cannot go back to byte {offset}: "
                "it was cut or replaced since that checkpoint. Resume from an older checkpoint."
            )
        self._cut(offset)

    def close(self) -> None:
        """Flush and close; the file is closed even if the flush fails."""
        try:
            self.flush()
        finally:
            self._file.close()

    def _cut(self, offset: int) -> None:
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
        if end != self._written:
            self._file.truncate(end)
        self._written = end


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All objects of the file at `path`, in order; a torn last line is left out.

    Raises ValueError, with the number of the line, if another line is not an object.
    """
    records = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # the last is empty, or torn
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: got {line[:80]!r}, expected an object")
        records.append(record)
    return records
