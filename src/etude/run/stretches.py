"""How the steps of a history lie in its binary file, and how they are read with its lines.

A stretch is consecutive steps of one visit with the same metrics. Its head is a line of
`history.jsonl`; its rows lie one after the other in `history.bin`, one number for each metric, from
the byte that the head names to the first byte of the next stretch.

>>> head = Stretch("fit", 0, 1, 1, None, ("train/loss",), "<f4", at=0)
>>> rows = InMemory(np.array([0.5, 0.25], "<f4").tobytes())
>>> event = {"event": "phase_end", "phase": "fit", "visit": 0, "step": 2, "global_step": 2}
>>> block, last = in_order([head.line(), event], rows)
>>> block.records()[1]
{'phase': 'fit', 'visit': 0, 'step': 2, 'epoch': 0, 'global_step': 2, 'train/loss': 0.25}
>>> last == event
True
"""

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from etude.errors import RunError

#: The key of a line that is the head of a stretch.
HEAD = "stretch"
#: The key of the check of such a line.
CHECK = "check"
#: Bytes that are read at once.
PIECE = 1 << 20


@runtime_checkable
class Rows(Protocol):
    """The bytes of all rows."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """Some of them."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Rows that were read, or never written."""

    content: bytes | bytearray

    @property
    def size(self) -> int:
        return len(self.content)

    def read(self, start: int, size: int) -> bytes:
        return bytes(memoryview(self.content)[start : start + size])


@dataclass(frozen=True)
class InFile:
    """Rows of a file, as far as it was written when `size` was found out.

    They are read when they are asked for, and not mapped: a training that is resumed may cut them
    off. `read` raises `RunError` then.
    """

    path: Path
    size: int

    def read(self, start: int, size: int) -> bytes:
        with self.path.open("rb", buffering=0) as file:
            file.seek(start)
            content = file.read(size)
        if len(content) != size:
            raise RunError(f"{self.path} was cut since it was opened: open the history again.")
        return content


@dataclass(frozen=True)
class Stretch:
    """The head of a stretch.

    Attributes:
        phase: the phase.
        visit: how many visits to the phase there were before.
        step: of the first row, counted from 1 in the visit.
        global_step: of the first row, counted from 1 through all phases.
        per_epoch: steps of an epoch, if the phase has epochs.
        columns: names of the metrics, at least one.
        dtype: of each number, little-endian: "<f4" or "<f8".
        at: the byte at which its first row lies.
        rows: how many there are, where it is not all up to the next stretch.
    """

    phase: str
    visit: int
    step: int
    global_step: int
    per_epoch: int | None
    columns: tuple[str, ...]
    dtype: str = "<f4"
    at: int = 0
    rows: int | None = None

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return len(self.columns) * int(self.dtype[2:])

    def line(self) -> dict[str, Any]:
        """The head as a line, with a check of itself: a wrong head would misread all its rows."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        return {HEAD: fields, CHECK: _check(fields)}

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Stretch | None":
        """The head that a line is; None if it is damaged."""
        if line.get(CHECK) != _check(line.get(HEAD)):
            return None
        try:
            found: dict[str, Any] = {"per_epoch": None, **line[HEAD]}
            columns = tuple(map(str, found.pop("columns")))
            one = cls(**found, columns=columns)
            numbers = [one.visit, one.step, one.global_step, one.at, one.per_epoch or 1]
            good = one.columns and one.dtype in ("<f4", "<f8") and all(n >= 0 for n in numbers)
        except (TypeError, KeyError):
            return None
        return one if good else None

    def leads_to(self, other: "Stretch") -> bool:
        """Whether the rows of `other` are the next ones of this stretch."""
        rows, rest = divmod(other.at - self.at, self.width)
        here = (self.phase, self.visit, self.per_epoch, self.dtype, self.columns, self.rows)
        there = (other.phase, other.visit, other.per_epoch, other.dtype, other.columns, other.rows)
        steps = (other.step - self.step, other.global_step - self.global_step)
        return rest == 0 and here == there and steps == (rows, rows)

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Whether a line was written during the visit of this stretch, as far as it was not
        interrupted."""
        offset = record.get("global_step", 0) - record.get("step", 0)
        return (record.get("phase"), record.get("visit"), offset) == (
            self.phase, self.visit, self.global_step - self.step,
        )  # fmt: skip


@dataclass(frozen=True)
class Block:
    """Some rows of a stretch: `count` from the one of number `first`."""

    stretch: Stretch
    first: int
    count: int
    rows: Rows

    @property
    def global_step(self) -> int:
        """Of the first of these rows."""
        return self.stretch.global_step + self.first

    def pieces(self) -> Iterator[Float[np.ndarray, "n metrics"]]:
        """The numbers, some rows at a time."""
        head = self.stretch
        most = max(1, PIECE // head.width)
        for start in range(self.first, self.first + self.count, most):
            count = min(most, self.first + self.count - start)
            content = self.rows.read(head.at + start * head.width, count * head.width)
            yield np.frombuffer(content, head.dtype).reshape(count, -1)

    def column(self, index: int) -> Float[np.ndarray, " n"]:
        """One metric at every row."""
        found, done = np.empty(self.count, self.stretch.dtype), 0
        for piece in self.pieces():
            found[done : done + len(piece)] = piece[:, index]
            done += len(piece)
        return found

    def counters(self, count: int, skip: int = 0) -> dict[str, Int[np.ndarray, " n"]]:
        """`step`, `epoch` and `global_step` of `count` rows, from the one of number `skip`."""
        numbers = np.arange(self.first + skip, self.first + skip + count)
        step, per_epoch = self.stretch.step + numbers, self.stretch.per_epoch
        epoch = (step - 1) // per_epoch if per_epoch else np.zeros_like(step)
        return {"step": step, "epoch": epoch, "global_step": self.stretch.global_step + numbers}

    def records(self) -> list[dict[str, Any]]:
        """One dict for each row."""
        return [record for piece in self.tables() for record in piece]

    def tables(self) -> Iterator[list[dict[str, Any]]]:
        """One dict for each row, some rows at a time."""
        head, done = self.stretch, 0
        common = {"phase": head.phase, "visit": head.visit}
        for piece in self.pieces():
            counters = self.counters(len(piece), done)
            places = zip(*(numbers.tolist() for numbers in counters.values()), strict=True)
            done += len(piece)
            yield [
                # One object for every NaN: records that hold it are equal to themselves.
                {**common, **dict(zip(counters, place, strict=True))}
                | {name: value if value == value else math.nan
                   for name, value in zip(head.columns, row, strict=True)}
                for place, row in zip(places, piece.tolist(), strict=True)
            ]  # fmt: skip

    def row(self, index: int) -> dict[str, Any]:
        """One of the rows, as a dict."""
        return Block(self.stretch, self.first + index, 1, self.rows).records()[0]


def known_heads(lines: Sequence[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
    """Lines, with None in place of a head that is damaged."""
    return [
        None
        if line is not None and (HEAD in line or CHECK in line) and Stretch.of(line) is None
        else line
        for line in lines
    ]


def in_order(
    lines: Sequence[dict[str, Any] | None],
    rows: Rows,
    lacking: Callable[[int], None] = lambda count: None,
) -> list[dict[str, Any] | Block]:
    """The records of a history: its lines, and its steps in blocks.

    A line comes after the steps up to its `global_step`. Where a line cannot be read (None), it may
    have been the head of a stretch: of the stretch before, only those rows are taken that a later
    line vouches for. Rows beyond the end of a phase are of a head that is missing: left out.
    `lacking` is told how many rows a line vouches for that are not there.
    """
    parts: list[dict[str, Any] | Block] = []
    heads = _heads(lines, rows.size)
    head, done, end, sure, at = None, 0, 0, True, 0

    def take(until: int) -> None:
        nonlocal done
        if head is not None and until > done:
            parts.append(Block(head, done, until - done, rows))
            done = until

    for index, line in enumerate(lines):
        if line is None:
            sure = False
        elif index in heads:
            if sure:
                take(end)
            (head, end), done, sure, at = heads[index], 0, True, index
        else:
            step = line.get("global_step")
            if head is not None and isinstance(step, int) and head.holds(line):
                wanted = step - head.global_step + 1
                there = heads[at][1]
                # A head that says how many rows it has was written when others were known lost.
                if wanted > there and (head.rows is None or there < head.rows):
                    lacking(wanted - there)
                # A phase that has ended may become longer: then a line of it comes again.
                ended = line.get("event") == "phase_end"
                end = min(there, max(wanted, done)) if ended else there
            if head is not None and isinstance(step, int) and (sure or head.holds(line)):
                take(min(step - head.global_step + 1, end))
                sure = True
            parts.append(line)
    if sure:
        take(end)
    return parts


def _heads(lines: Sequence[dict[str, Any] | None], size: int) -> dict[int, tuple[Stretch, int]]:
    """Each head among the lines, and how many rows it has, by the number of its line."""
    found: dict[int, tuple[Stretch, int]] = {}
    for index in reversed(range(len(lines))):
        line = lines[index]
        if line is not None and HEAD in line and (head := Stretch.of(line)) is not None:
            rows = max(0, size - head.at) // head.width
            found[index] = (head, rows if head.rows is None else min(rows, head.rows))
            size = min(size, head.at)
    return found


def _check(fields: Any) -> int:
    """CRC-32 of the fields of a head, the same in whichever order they are written."""
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode())
