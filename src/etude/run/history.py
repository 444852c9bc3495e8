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

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from etude.errors import ColumnError, ConfigurationError, RunError, suggest
from etude.run.folder import HISTORY, is_run, not_a_run
from etude.run.history_writers import read_file

if TYPE_CHECKING:
    import pandas

#: Where a record stands, before its metrics.
PLACE = ("phase", "visit", "step", "epoch", "global_step")


@runtime_checkable
class Source(Protocol):
    """Where the records come from."""

    def read(self) -> list[dict[str, Any]]:
        """All records, one dict each."""
        ...


@dataclass(frozen=True)
class Column:
    """One metric over a training: `value[i]` at the i-th step that recorded it.

    Attributes:
        step: global steps, which count through all phases (`global_step` of the records).
        value: the metric there.
    """

    step: Int[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Summary:
    """One metric in numbers; lowest and highest leave out NaN."""

    name: str
    count: int
    last: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, name: str, values: Float[np.ndarray, " n"]) -> "Summary":
        """The summary of at least one value."""
        numbers = values[~np.isnan(values)]
        ends = (numbers.min(), numbers.max()) if len(numbers) else (np.nan, np.nan)
        return cls(name, len(values), float(values[-1]), *map(float, ends))


class History(Sequence[dict[str, Any]]):
    """What a training wrote down: every step's metrics, every validation and event.

    By the name of a metric it gives a `Column`; by number, and in a loop, the records in their
    order, one dict each. A record of a step has `phase`, `visit`, `step`, `epoch`, `global_step`
    and the metrics, `train/loss` and so on; one of a validation has `valid/loss`; one of an event
    has `event`.

    `Trainer.fit` returns one; `History.open` reads that of a run folder.
    """

    def __init__(self, source: Source):
        self._source = source

    @classmethod
    def open(cls, run: str | Path) -> "History":
        """The history of the run in a folder, as far as it is written; the run may be in training.

        Lines that cannot be read are left out with a warning. Raises RunError if there is no run.
        """
        folder = Path(run)
        if not is_run(folder):
            raise RunError(not_a_run(folder))
        path = folder / HISTORY
        return cls(_Records(read_file(path) if path.exists() else []))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the order in which they were first recorded."""
        return tuple(self._columns)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The records of events: `phase_begin`, `phase_end`, `rescue`, `rollback`, `resume`."""
        return [record for record in self._records if "event" in record]

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The records of validations."""
        return [
            record
            for record in self._records
            if "event" not in record and not any(key.startswith("train/") for key in record)
        ]

    def summary(self) -> list[Summary]:
        """Every column in numbers, by name; also what evaluations after the training found."""
        found = {name: column.value for name, column in self._columns.items()}
        for event in self.events:
            metrics = event.get("metrics")
            for name, value in metrics.items() if isinstance(metrics, dict) else ():
                if isinstance(value, int | float):
                    found[f"{event.get('split', '')}/{name}"] = np.array([value], np.float64)
        return [Summary.of(name, found[name]) for name in sorted(found)]

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
        return pandas.DataFrame(self._rows(), columns=[*PLACE, *self.names])

    def to_csv(self, path: str | Path) -> None:
        """The same table as a CSV file, empty where a metric is missing."""
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, [*PLACE, *self.names], extrasaction="ignore")
            table.writeheader()
            table.writerows(self._rows())

    @overload
    def __getitem__(self, index: str) -> Column: ...
    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: str | int | slice) -> Column | dict[str, Any] | list[Any]:
        """A column by its name, or records by number.

        Raises ColumnError, a KeyError, with near matches if there is no such column.
        """
        if not isinstance(index, str):
            return self._records[index]
        if index not in self._columns:
            near = suggest(index, self.names) if self.names else "Nothing was recorded."
            raise ColumnError(f"The history has no column {index!r}. {near}")
        return self._columns[index]

    def __contains__(self, item: object) -> bool:
        """Whether there is a column of that name, or a record like that."""
        return item in (self._columns if isinstance(item, str) else self._records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, History):
            return self._records == other._records
        return self._records == other if isinstance(other, list) else NotImplemented

    def __repr__(self) -> str:
        return f"<History of {len(self)} records: {', '.join(self.names) or 'no metrics'}>"

    def __reduce__(self) -> Any:
        return History, (self._source,)  # what was unpacked is not pickled

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        return self._source.read()

    @cached_property
    def _columns(self) -> dict[str, Column]:
        """A metric is a number under a key with a slash, in a record with a global step."""
        found: dict[str, tuple[list[int], list[float]]] = {}
        for record in self._records:
            step = record.get("global_step")
            if not isinstance(step, int):
                continue
            for key, value in record.items():
                if "/" in key and isinstance(value, int | float):
                    steps, values = found.setdefault(key, ([], []))
                    steps.append(step)
                    values.append(value)
        return {
            key: Column(np.array(steps, np.int64), np.array(values, np.float64))
            for key, (steps, values) in found.items()
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [record for record in self._records if "event" not in record]


@dataclass(frozen=True)
class _Records:
    """Records that were read already."""

    records: list[dict[str, Any]]

    def read(self) -> list[dict[str, Any]]:
        return self.records
