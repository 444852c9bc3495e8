"""Metrics as one table in long form, which pandas, R and spreadsheets read."""

import csv
from pathlib import Path
from typing import TextIO

import numpy as np

from etude.callbacks.base import Event
from etude.callbacks.loggers import Logger, absolute, place
from etude.callbacks.writer import Scalars

COLUMNS = ("phase", "visit", "global_step", "metric", "value")


class CSVLogger(Logger):
    """Writes `phase,visit,global_step,metric,value`, one line for each number.

    A resume cuts off what was written after the checkpoint that it goes on from, so that no
    step is there twice. In pandas:
    `pd.read_csv(path).pivot_table("value", ["phase", "visit", "global_step"], "metric")`.

    Args:
        path: file to write; `metrics.csv` in the run folder (without a run: in the working
            directory), if None. A new training overwrites it.
        every: steps between records; the first step of each group is written.

    >>> CSVLogger("metrics.csv").every
    1
    """

    def __init__(self, path: str | Path | None = None, every: int = 1):
        super().__init__(every)
        self.path = absolute(path)
        self._file: TextIO | None = None

    def open(self, event: Event) -> None:
        path = place(self.path, event, "metrics.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.written and path.exists():
            _cut(path, 1 + self.written)
            self._file = path.open("a", newline="", encoding="utf-8")
            return
        self._file = path.open("w", newline="", encoding="utf-8")
        csv.writer(self._file).writerow(COLUMNS)

    def write(self, scalars: Scalars) -> None:
        assert self._file is not None
        where, names = (scalars.phase, scalars.visit), scalars.names
        # As in the history: read back exactly, float32 (the steps) and float64 (validations).
        text = repr if scalars.values.dtype == np.float64 else "{:.9g}".format
        # Step by step, so that the first lines are the same however steps were chunked.
        csv.writer(self._file).writerows(
            (*where, step, name, text(value))
            for step, row in zip(scalars.steps.tolist(), scalars.values.tolist(), strict=True)
            for name, value in zip(names, row, strict=True)
        )
        self._file.flush()

    def close(self, failed: bool) -> None:
        if self._file is not None:
            self._file.close()


def _cut(path: Path, lines: int) -> None:
    """Keep the first lines of a file, or as many as are whole."""
    end = 0
    with path.open("r+b") as file:
        for _ in range(lines):
            if not file.readline().endswith(b"\n"):  # torn by a kill
                break
            end = file.tell()
        file.truncate(end)
