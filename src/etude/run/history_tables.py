"""The records of a history as a table: a row for every step and every validation, and no events."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from etude.run.stretches import Block

#: Where a record stands, before its metrics.
PLACE = ("phase", "visit", "step", "epoch", "global_step")
#: Phase, visit, first and last global step of consecutive records of one visit.
Span = tuple[str, int, int, int]


@dataclass(frozen=True)
class Summary:
    """One metric in numbers; lowest and highest leave out NaN."""

    name: str
    count: int
    last: float
    lowest: float
    highest: float


def summaries(
    blocks: Sequence[Block], lines: Mapping[str, tuple[Sequence[int], Sequence[float]]]
) -> dict[str, Summary]:
    """Every metric in numbers: of steps, which are read once, and of lines, as steps and values.

    >>> summaries([], {"valid/loss": ([1, 2], [3.0, 2.0])})["valid/loss"]
    Summary(name='valid/loss', count=2, last=2.0, lowest=2.0, highest=3.0)
    """
    found: dict[str, Summary] = {}
    latest: dict[str, int] = {}

    def add(name: str, step: int, new: Summary) -> None:
        old = found.get(name)
        if old is not None:
            lowest, highest = np.fmin(old.lowest, new.lowest), np.fmax(old.highest, new.highest)
            last = new.last if step >= latest[name] else old.last
            count = old.count + new.count
            new = Summary(name, count, last, float(lowest), float(highest))
        found[name], latest[name] = new, max(step, latest.get(name, step))

    for block in blocks:
        step = block.global_step - 1
        for piece in block.pieces():
            step += len(piece)
            # Of these, NaN is left out.
            table = np.stack([piece[-1], np.fmin.reduce(piece), np.fmax.reduce(piece)], axis=1)
            for name, row in zip(block.stretch.columns, table.tolist(), strict=True):
                add(name, step, Summary(name, len(piece), *row))
    for name, (steps, values) in lines.items():
        if steps:
            ends = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
            add(name, steps[-1], Summary(name, len(values), float(values[-1]), *ends))
    return found


def columns_of(
    parts: Sequence[Mapping[str, Any] | Block], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The table as columns: the place, and the metrics `names`, NaN where one is missing.

    >>> table = columns_of([{"phase": "fit", "step": 1, "valid/loss": 0.5}], ["valid/loss"])
    >>> table["phase"], table["epoch"], table["valid/loss"]
    (array(['fit'], dtype=object), array([None], dtype=object), array([0.5]))
    """
    rows = [part for part in parts if isinstance(part, Block) or "event" not in part]
    count = sum(part.count if isinstance(part, Block) else 1 for part in rows)
    places = {name: np.full(count, None, object) for name in PLACE}
    metrics = {name: np.full(count, np.nan) for name in names}
    start = 0
    for part in rows:
        if isinstance(part, Block):
            here = slice(start, start + part.count)
            places["phase"][here], places["visit"][here] = part.stretch.phase, part.stretch.visit
            for name, numbers in part.counters(part.count).items():
                places[name][here] = numbers
            start = here.stop
            done = here.start
            for piece in part.pieces():
                for name, values in zip(part.stretch.columns, piece.T, strict=True):
                    metrics[name][done : done + len(piece)] = values
                done += len(piece)
        else:
            for name in PLACE:
                places[name][start] = part.get(name)
            for name in metrics.keys() & part.keys():
                metrics[name][start] = part[name]
            start += 1
    return {**{name: _plain(values) for name, values in places.items()}, **metrics}


def write_csv(
    file: TextIO, parts: Sequence[Mapping[str, Any] | Block], names: Sequence[str]
) -> None:
    """Write the table, empty where a metric is missing; numbers are read back exactly."""
    head = [*PLACE, *names]
    writer = csv.writer(file)
    writer.writerow(head)
    for part in parts:
        if isinstance(part, Block):
            writer.writerows(_rows_of(part, head))
        elif "event" not in part:
            writer.writerow([part.get(name, "") for name in head])


def _rows_of(block: Block, head: Sequence[str]) -> Any:
    done, stretch = 0, block.stretch
    for piece in block.pieces():
        count = len(piece)
        cells: dict[str, Any] = {
            "phase": [stretch.phase] * count,
            "visit": [stretch.visit] * count,
            **{name: numbers.tolist() for name, numbers in block.counters(count, done).items()},
            # The shortest text of a number of this dtype.
            **dict(zip(stretch.columns, piece.T.astype(str), strict=True)),
        }
        yield from zip(*(cells.get(name, [""] * count) for name in head), strict=True)
        done += count


def spans_of(parts: Sequence[Mapping[str, Any] | Block]) -> list[Span]:
    """The stretches of consecutive records of one visit.

    >>> steps = [{"phase": "a", "visit": 0, "global_step": step} for step in (0, 1)]
    >>> spans_of([*steps, {"phase": "b", "visit": 0, "global_step": 2}])
    [('a', 0, 0, 1), ('b', 0, 2, 2)]
    """
    spans: list[Span] = []
    for part in parts:
        if isinstance(part, Block):
            phase, visit, first = part.stretch.phase, part.stretch.visit, part.global_step
            last = first + part.count - 1
        elif "phase" in part and "global_step" in part and "event" not in part:
            phase, visit = part["phase"], part.get("visit", 0)
            first = last = part["global_step"]
        else:
            continue
        if spans and spans[-1][:2] == (phase, visit):
            first = spans.pop()[2]
        spans.append((phase, visit, first, last))
    return spans


def _plain(values: np.ndarray) -> np.ndarray:
    """Numbers as numbers, if all are."""
    whole = all(isinstance(value, int) for value in values)
    return values.astype(np.int64) if whole and len(values) else values
