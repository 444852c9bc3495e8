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

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
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
        self._digest = _digest_of(path, self._written)
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
                self._digest.update(data[:count])
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

    def digest(self) -> str:
        """SHA-256 of the file, lines that were not flushed yet among them."""
        digest = self._digest.copy()
        for data in self._pending:
            digest.update(data)
        return digest.hexdigest()

    def began_with(self, offset: int, digest: str | None) -> bool:
        """Whether the first `offset` bytes have this digest, where one is known."""
        self.flush()
        if offset > self._written:
            return False
        return digest is None or _digest_of(self.path, offset).hexdigest() == digest

    def truncate(self, offset: int) -> None:
        """Drop everything after the first `offset` bytes, and a line that this would tear.

        Raises ValueError if the file is shorter than that.
        """
        self.flush()
        if not 0 <= offset <= self._written:
            raise ValueError(
                f"{self.path} has {self._written} bytes, so it cannot go back to byte {offset}."
            )
        self._cut(offset)

    def replace(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write these objects instead of all others; the file has the old ones or the new ones."""
        self.flush()
        temporary = LineFile(self.path.with_name(f"{self.path.name}.tmp"))
        temporary.truncate(0)  # what a kill has left
        for record in records:
            temporary.append(record)
        temporary.sync()
        temporary.path.rename(self.path)
        self._file.close()
        self._file, self._written = temporary._file, temporary._written
        self._digest = temporary._digest

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
            self._digest = _digest_of(self.path, end)
        self._written = end


def _digest_of(path: Path, size: int) -> Any:
    """The running SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All objects of the file at `path`, in order; a torn last line is left out.

    Other lines that cannot be read are left out with a warning that counts them.
    """
    records, broken = parse(path.read_bytes())
    if broken:
        warnings.warn(f"{path}: {unreadable(broken)}, and left out.", stacklevel=3)
    return records


def parse(content: bytes) -> tuple[list[dict[str, Any]], list[int]]:
    """The objects of a file, and the numbers of the lines that are none, but for a torn last."""
    records, broken = [], []
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # the last is empty, or torn
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            broken.append(number)
    return records, broken


def unreadable(lines: list[int]) -> str:
    """Which lines cannot be read, as a clause."""
    if len(lines) == 1:
        return f"line {lines[0]} cannot be read"
    return f"{len(lines)} lines cannot be read, the first of them line {lines[0]}"
