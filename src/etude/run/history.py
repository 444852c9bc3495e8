"""The history of a training, for reading: its metrics as columns, its records one by one.

>>> from etude.run.history_writers import HistoryInMemory
>>> written = HistoryInMemory()
>>> written.append({"global_step": 4, "valid/loss": 0.5})
>>> written.append({"event": "phase_end", "phase": "fit", "global_step": 4})
>>> history = History(written)
>>> history["valid/loss"].step, history["valid/loss"].value
(array([4]), array([0.5]))
>>> "valid/loss" in history, "valid/accuracy" in history
(True, False)
>>> history[-1]["event"], len(history)
('phase_end', 2)
"""

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from etude.errors import ColumnError, ConfigurationError, RunError, suggest
from etude.kinds import is_dict, is_list
from etude.run.folder import HISTORY, is_run, not_a_run
from etude.run.history_tables import Span, Summary, columns_of, spans_of, summaries, write_csv
from etude.run.history_writers import Parts, read_file
from etude.run.json_lines import number_of
from etude.run.stretches import Block

if TYPE_CHECKING:
    import pandas


@runtime_checkable
class Source(Protocol):
    """Where the records come from."""

    def read(self) -> Parts:
        """All records in their order: lines as dicts, steps in blocks."""
        ...


@dataclass(frozen=True)
class Column:
    """One metric over a training: `value[i]` at the i-th step that recorded it.

    Attributes:
        step: global steps, which count through all phases (`global_step` of the records).
        value: the metric there. Metrics of steps have the dtype that they were computed in,
            float32 or, in 64-bit mode, float64; those of validations are float64.
    """

    step: Int[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]


class History(Sequence[dict[str, Any]]):
    """What a training wrote down: every step's metrics, every validation and event.

    By the name of a metric it gives a `Column`; by number, and in a loop, the records in their
    order, one dict each. A record of a step has `phase`, `visit`, `step`, `epoch`, `global_step`
    and the metrics, `train/loss` and so on; one of a validation has `valid/loss`; one of an event
    has `event`. A step is read when it is asked for, so a long history opens as fast as a short
    one; a column is read in one go, the fastest way to all values of a metric.

    `Trainer.fit` returns one; `History.open` reads that of a run folder.
    """

    def __init__(self, source: Source):
        self._source = source

    @classmethod
    def open(cls, run: str | Path) -> "History":
        """The history of the run in a folder, as far as it is written; the run may be in training.

        Lines that cannot be read are left out with a warning. Raises RunError if there is no run,
        and so does a later read of steps that a resume from an older checkpoint has cut off.
        """
        folder = Path(run)
        if not is_run(folder):
            raise RunError(not_a_run(folder))
        path = folder / HISTORY
        return cls(_Read(read_file(path) if path.exists() else []))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order in which they were first recorded."""
        return tuple(self._values)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The records of events: `phase_begin`, `phase_end`, `rescue`, `rollback`, `resume`."""
        return [record for record in self._lines if "event" in record]

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The records of validations."""
        return [
            record
            for record in self._lines
            if "event" not in record and not any(key.startswith("train/") for key in record)
        ]

    @property
    def spans(self) -> list[Span]:
        """Stretches of one visit of one phase: (phase, visit, first and last global step)."""
        return spans_of(self._parts)

    def summary(self) -> list[Summary]:
        """Every column in numbers, by name; also what evaluations after the training found."""
        found = summaries(self._stretches, self._values)
        for event in self.events:
            metrics = event.get("metrics")
            for name, value in metrics.items() if is_dict(metrics) else ():
                if (number := number_of(value)) is not None:
                    name = f"{event.get('split', '')}/{name}"
                    found[name] = Summary(name, 1, number, number, number)
        return [found[name] for name in sorted(found)]

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with a row for every step and every validation, NaN where a metric is missing.

        Events are in `events`. Raises ConfigurationError if pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ConfigurationError(
                "History.to_pandas needs the package pandas: pip install pandas. "
                "history['train/loss'] gives columns without it."
            ) from None
        return pandas.DataFrame(columns_of(self._parts, self.names))

    def to_csv(self, path: str | Path) -> None:
        """The same table as a CSV file, empty where a metric is missing.

        Every number has the digits with which it is read back exactly, as a float32 or float64.
        """
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            write_csv(file, self._parts, self.names)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    @overload
    def __getitem__(self, index: str) -> Column: ...
    def __getitem__(self, index: str | int | slice) -> Column | dict[str, Any] | list[Any]:
        """A column by its name, or records by number.

        Raises ColumnError, a KeyError, with near matches if there is no such column.
        """
        if isinstance(index, str):
            return self._column(index)
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"The history has {len(self)} records, and none of number {index}.")
        place = bisect.bisect_right(self._starts, number) - 1
        part = self._parts[place]
        return part if isinstance(part, dict) else part.row(number - self._starts[place])

    def __contains__(self, item: object) -> bool:
        """Whether there is a column of that name, or a record like that."""
        return item in self._values if isinstance(item, str) else any(one == item for one in self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self._parts:
            if isinstance(part, dict):
                yield part
            else:
                for table in part.tables():
                    yield from table

    def __len__(self) -> int:
        return self._starts[-1]

    def __eq__(self, other: object) -> bool:
        if not (isinstance(other, History) or is_list(other)):
            return NotImplemented
        pairs = itertools.zip_longest(self, other)
        # In lists, because one object equals itself there, NaN too.
        return len(self) == len(other) and all([one] == [two] for one, two in pairs)

    def __repr__(self) -> str:
        return f"<History of {len(self)} records: {', '.join(self.names) or 'no metrics'}>"

    def __reduce__(self) -> Any:
        return History, (self._source,)  # what was unpacked is not pickled

    @cached_property
    def _parts(self) -> Parts:
        return self._source.read()

    @property
    def _lines(self) -> list[dict[str, Any]]:
        return [part for part in self._parts if isinstance(part, dict)]

    @cached_property
    def _starts(self) -> list[int]:
        """The number of the first record of every part, and last the number of records."""
        counts = (1 if isinstance(part, dict) else part.count for part in self._parts)
        return [0, *itertools.accumulate(counts)]

    @cached_property
    def _stretches(self) -> list[Block]:
        """The steps, with blocks that lines interrupt joined."""
        found: list[Block] = []
        for part in self._parts:
            if isinstance(part, Block):
                if found and found[-1].stretch is part.stretch:
                    last = found.pop()
                    part = Block(last.stretch, last.first, last.count + part.count, last.rows)
                found.append(part)
        return found

    @cached_property
    def _values(self) -> dict[str, tuple[list[int], list[float]]]:
        """Steps and values that lines have of each column; those of blocks are named alone.

        A metric is a number under a key with a slash, in a record with a global step.
        """
        found: dict[str, tuple[list[int], list[float]]] = {}
        for part in self._parts:
            if isinstance(part, Block):
                if part.first == 0:
                    for name in part.stretch.columns:
                        found.setdefault(name, ([], []))
            elif isinstance(step := part.get("global_step"), int):
                for key, value in part.items():
                    if "/" in key and isinstance(value, int | float):
                        steps, values = found.setdefault(key, ([], []))
                        steps.append(step)
                        values.append(value)
        return found

    def _column(self, name: str) -> Column:
        if name not in self._values:
            near = suggest(name, self.names) if self.names else "Nothing was recorded."
            raise ColumnError(f"The history has no column {name!r}. {near}")
        blocks = [block for block in self._stretches if name in block.stretch.columns]
        steps = [block.counters(block.count)["global_step"] for block in blocks]
        values = [block.column(block.stretch.columns.index(name)) for block in blocks]
        in_lines, told = self._values[name]
        if in_lines:
            steps.append(np.array(in_lines, np.int64))
            values.append(np.array(told, np.float64))
        step, value = np.concatenate(steps), np.concatenate(values)
        if blocks and in_lines:
            order = np.argsort(step, kind="stable")
            step, value = step[order], value[order]
        return Column(step, value)


@dataclass(frozen=True)
class _Read:
    """Records that were read already."""

    parts: Parts

    def read(self) -> Parts:
        return self.parts
