"""A file that grows at its end: appended in memory, written at `flush`, with a running digest.

>>> import tempfile
>>> file = AppendFile(Path(tempfile.mkdtemp()) / "example.bin")
>>> file.append(b"1234")
>>> file.flush()
>>> file.cut(3)
>>> file.close()
>>> file.path.read_bytes()
b'123'
"""

import hashlib
import os
from io import FileIO
from pathlib import Path
from typing import Any, ClassVar


class WriteError(OSError):
    """A file of the run could not be written; the message names it."""


class AppendFile:
    """Appends to `path`, which is made at the first write.

    A failed `flush` keeps what was not written: the next one goes on at the same byte.
    """

    #: the digest of no bytes
    EMPTY: ClassVar[str] = hashlib.sha256().hexdigest()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[bytes | memoryview] = []
        self._file: FileIO | None = None
        self._written = path.stat().st_size if path.exists() else 0
        self._digest = _digest_of(path, self._written)

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes, which may not change until they are flushed."""
        self._pending.append(data)

    def flush(self) -> None:
        """Hand all bytes to the system; WriteError names the file, for one where the disk is full.

        What is flushed outlives this process, but not a power cut: see `settle`.
        """
        pending = self._pending
        data = memoryview(pending[0] if len(pending) == 1 else b"".join(pending))
        try:
            while data:
                count = self._opened().write(data)
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

    def settle(self) -> None:
        """Return when what was flushed is on the disk; any thread may call it."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def offset(self) -> int:
        """Length of the file in bytes, those that were not flushed yet among them."""
        return self._written + sum(map(len, self._pending))

    def waiting(self) -> bytes:
        """The bytes that a full disk has kept from being written."""
        return b"".join(self._pending)

    def digest(self) -> str:
        """SHA-256 of the file, bytes that were not flushed yet among them."""
        digest = self._digest.copy()
        for data in self._pending:
            digest.update(data)
        return digest.hexdigest()

    def began_with(self, offset: int, digest: str) -> bool:
        """Whether the first `offset` bytes have this digest."""
        self.flush()
        if offset > self._written:
            return False
        return _digest_of(self.path, offset).hexdigest() == digest

    def cut(self, offset: int) -> None:
        """Drop everything after the first `offset` bytes; ValueError if there are fewer."""
        self.flush()
        if not 0 <= offset <= self._written:
            raise ValueError(
                f"{self.path} has {self._written} bytes, so it cannot go back to byte {offset}."
            )
        if offset != self._written:
            self._opened().truncate(offset)
            self._written, self._digest = offset, _digest_of(self.path, offset)

    def become(self, other: "AppendFile") -> None:
        """Take the place of `other`, a file beside this one, which is renamed to this path."""
        mine, self._file = self._file, other._opened()
        other.path.rename(self.path)
        self._written, self._digest = other._written, other._digest
        if mine is not None:
            mine.close()

    def close(self) -> None:
        """Flush and close; the file is closed even if the flush fails."""
        try:
            self.flush()
        finally:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _opened(self) -> FileIO:
        if self._file is None:
            # Unbuffered, so that we know which bytes were written when the disk is full.
            self._file = self.path.open("ab", buffering=0)
        return self._file


def _digest_of(path: Path, size: int) -> Any:
    """The running SHA-256 of the first `size` bytes of a file."""
    digest = hashlib.sha256()
    if not size:
        return digest
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest
