"""How the history of a training is written down: in its run folder, or in memory.

`history.jsonl` has every validation and event, and the head of every stretch of steps, one JSON
object a line. `history.bin` has the metrics of the steps, row after row (`etude.run.stretches`).

They hold no times, so that two runs of one configuration have the same bytes; times are in
`timing.jsonl`.

>>> import tempfile
>>> history = HistoryFile(Path(tempfile.mkdtemp()) / "history.jsonl")
>>> head = Stretch("fit", 0, 1, 1, None, ("train/loss",))
>>> history.append_steps(head, np.array([[0.5], [np.nan]], np.float32))
>>> history.append({"event": "phase_end", "phase": "fit", "global_step": 2})
>>> history.close()
>>> steps, end = read_file(history.path)
>>> [record["train/loss"] for record in steps.records()], end["event"]
([0.5, nan], 'phase_end')
"""

import warnings
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from etude.run.append_file import AppendFile
from etude.run.folder import LOCK
from etude.run.json_lines import LineFile, decode, encode, parse, unreadable, warn_of_unreadable
from etude.run.lock import is_held
from etude.run.stretches import Block, InFile, InMemory, Stretch, in_order, known_heads

Parts = list[dict[str, Any] | Block]


class HistoryFile:
    """The history of one run: lines at `path`, rows beside it; appends in memory until `flush`.

    `flush`, and what calls it, raises WriteError (an OSError) that names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines, self._rows = LineFile(path), AppendFile(rows_beside(path))
        #: the stretch that goes on, and where its head is among the lines
        self._head: Stretch | None = None
        self._head_at: int | None = None

    def append_steps(self, head: Stretch, values: Float[np.ndarray, "n metrics"]) -> None:
        """Add a row for each of n steps, of which `head` says the first, the names and the place.

        The bits of a float32 and a float64 are kept. Steps without any metric leave nothing.
        Raises ValueError if the columns do not fit `values`.
        """
        head, content = _laid_out(head, values, self._rows.offset())
        if not len(content):
            return
        if self._head is None or not self._head.leads_to(head):
            self._head, self._head_at = head, self._lines.offset()
            self._lines.append(head.line())
        self._rows.append(content)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a validation or an event; numbers that are not finite become strings."""
        self._lines.append(encode(record))

    def flush(self) -> None:
        """Hand everything to the system; it outlives this process."""
        self._lines.flush()  # first: no row is without its head
        self._rows.flush()

    def settle(self) -> None:
        """Return when what was flushed is on the disk; any thread may call it."""
        self._lines.settle()
        self._rows.settle()

    def waiting(self) -> tuple[bytes, bytes]:
        """The ends of the lines and of the rows that a full disk has kept from being written."""
        return self._lines.waiting(), self._rows.waiting()

    def mark(self) -> dict[str, Any]:
        """Where the history ends, as JSON, for the checkpoint that `rewind` will go back to."""
        return {
            "bytes": self._lines.offset(),
            "digest": self._lines.digest(),
            "rows": {"bytes": self._rows.offset(), "digest": self._rows.digest()},
            "head": self._head_at,
        }

    def clear(self) -> None:
        """Forget all records."""
        self._rows.cut(0)
        self._lines.truncate(0)
        self._head = self._head_at = None

    def rewind(self, mark: Mapping[str, Any], global_step: int) -> str | None:
        """Go back to a mark that was set at `global_step`; says what is missing, if anything is.

        Where the files are no longer what they were at the mark, the records that can still be read
        are kept, as far as they are of steps up to `global_step`.
        """
        # A run of the second version has its steps among the lines, and no rows.
        rows = mark.get("rows", {"bytes": 0, "digest": AppendFile.EMPTY})
        files = {self._lines: mark, self._rows: rows}
        changed = [
            f"{file.path} was changed since the checkpoint: it has {file.offset()} bytes, and had "
            f"{known['bytes']}"
            if file.offset() < known["bytes"]
            else f"{file.path} was changed since the checkpoint: its content differs"
            for file, known in files.items()
            if not file.began_with(known["bytes"], known["digest"])
        ]
        if not changed:
            self._rows.cut(rows["bytes"])  # first: no row is without its head
            self._lines.truncate(mark["bytes"])
            self._head_at = mark.get("head")
            self._head = None if self._head_at is None else self._head_of(self._head_at)
            return None
        lines = known_heads(parse(self.path.read_bytes() if self.path.exists() else b""))
        broken, steps = unreadable(lines), self._keep(lines, global_step)
        missing = f"the metrics of {global_step - steps} of {global_step} steps are missing"
        return "; ".join([*changed, *([broken] if broken else []), missing]) + "."

    def close(self) -> None:
        """Flush and close."""
        try:
            self._lines.close()
        finally:
            self._rows.close()

    def _head_of(self, offset: int) -> Stretch | None:
        with self.path.open("rb") as file:
            file.seek(offset)
            (line,) = parse(file.readline())
        return None if line is None else Stretch.of(line)

    def _keep(self, lines: list[dict[str, Any] | None], global_step: int) -> int:
        """Forgets what cannot be read, or is of later steps; how many steps are left."""
        kept: list[dict[str, Any] | Stretch] = []
        rows: dict[Stretch, int] = {}
        steps = set[int]()
        for part in in_order(lines, InFile(self._rows.path, self._rows.offset())):
            if isinstance(part, dict):
                if part.get("global_step", global_step + 1) <= global_step:
                    kept.append(part)
                    if any(key.startswith("train/") for key in part):
                        steps.add(part["global_step"])
            elif (count := min(part.count, global_step - part.global_step + 1)) > 0:
                if part.stretch not in rows:
                    kept.append(part.stretch)
                rows[part.stretch] = part.first + count
                steps.update(range(part.global_step, part.global_step + count))
        self._lines.replace(
            one if isinstance(one, dict) else replace(one, rows=rows[one]).line() for one in kept
        )
        self._rows.cut(max((head.at + n * head.width for head, n in rows.items()), default=0))
        self._head = self._head_at = None
        return len(steps)


class HistoryInMemory:
    """The history of a training without a run folder; the same records, without a file.

    >>> history = HistoryInMemory()
    >>> history.append({"event": "phase_end"})
    >>> history.read()
    [{'event': 'phase_end'}]
    """

    def __init__(self) -> None:
        self._lines: list[dict[str, Any] | None] = []
        self._rows = bytearray()
        self._head: Stretch | None = None

    def append_steps(self, head: Stretch, values: Float[np.ndarray, "n metrics"]) -> None:
        """A row for each of n steps, as `HistoryFile.append_steps`."""
        head, content = _laid_out(head, values, len(self._rows))
        if not len(content):
            return
        if self._head is None or not self._head.leads_to(head):
            self._head = head
            self._lines.append(head.line())
        self._rows += content

    def append(self, record: Mapping[str, Any]) -> None:
        """A validation or an event."""
        self._lines.append(decode(encode(record)))

    def flush(self) -> None:
        """Nothing to write."""

    def read(self) -> Parts:
        """All records."""
        return in_order(self._lines, InMemory(self._rows))


class HistoryCopy:
    """A copy of a history as it is now, in memory, its lines compressed; it can be pickled.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
    >>> _ = path.write_text('{"step":1,"train/loss":"nan"}\\n')
    >>> copy = HistoryCopy.of(path)
    >>> path.unlink()
    >>> copy.read()
    [{'step': 1, 'train/loss': nan}]
    """

    def __init__(self, lines: bytes, rows: bytes) -> None:
        self._lines, self._rows = lines, rows

    @classmethod
    def of(cls, path: Path, waiting: tuple[bytes, bytes] = (b"", b"")) -> "HistoryCopy":
        """A copy of the history whose lines are at `path`, and of what waits to be written."""
        rows = rows_beside(path)
        content = rows.read_bytes() if rows.exists() else b""
        packer = zlib.compressobj(level=1)
        with path.open("rb") as file:
            blocks = [packer.compress(block) for block in iter(lambda: file.read(1 << 20), b"")]
        blocks += [packer.compress(waiting[0]), packer.flush()]
        return cls(b"".join(blocks), content + waiting[1])

    def read(self) -> Parts:
        """All records; lines that cannot be read are left out."""
        lines = known_heads(parse(zlib.decompress(self._lines)))
        return in_order([line and decode(line) for line in lines], InMemory(self._rows))


def rows_beside(path: Path) -> Path:
    """The file of the rows of the history whose lines are at `path`."""
    return path.with_suffix(".bin")


def read_file(path: Path) -> Parts:
    """All records of a history; lines that cannot be read are left out with a warning."""
    rows = rows_beside(path)
    # Before the lines: then the head of each row is among them.
    size = rows.stat().st_size if rows.exists() else 0
    lines = known_heads(parse(path.read_bytes()))
    warn_of_unreadable(path, lines)
    lacking: list[int] = []
    parts = in_order([line and decode(line) for line in lines], InFile(rows, size), lacking.append)
    # While a training writes, its lines come before its rows.
    if lacking and not is_held(path.parent / LOCK):
        warnings.warn(
            f"{rows} lacks the metrics of {max(lacking)} steps or more that {path.name} speaks of: "
            "it was cut, or left out of a copy. The steps that are there are read.",
            stacklevel=2,
        )
    return parts


def _laid_out(
    head: Stretch, values: Float[np.ndarray, "n metrics"], at: int
) -> tuple[Stretch, bytes | memoryview]:
    """The head of rows that will lie at byte `at`, and their bytes."""
    if len(head.columns) != values.shape[1]:
        raise ValueError(
            f"history: got {len(head.columns)} columns {list(head.columns)} for values of shape "
            f"{values.shape}, expected one column for each of {values.shape[1]} metrics"
        )
    dtype = "<f8" if values.dtype == np.float64 else "<f4"
    content = np.ascontiguousarray(values, dtype)
    return replace(head, dtype=dtype, at=at), content.reshape(-1).view(np.uint8).data
