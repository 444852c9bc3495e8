"""A table of text: results, predictions.

>>> print(Table(("method", "accuracy"), (("ours", "0.98"),)))
method  accuracy
------  --------
ours    0.98
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; every row is as long as the head.

    Raises `ValueError` for a row of another length.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(
                    f"Table: got a row of {len(row)} cells, {row}; the head has {len(self.head)}."
                )

    def __str__(self) -> str:
        """The table in aligned columns."""
        rows = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(lines)

    def write_csv(self, path: Path) -> None:
        """Writes the table, head first; the folder is made if it is missing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.head, *self.rows])


def mean_and_deviation(values: Sequence[float]) -> str:
    """Mean ± standard deviation, to four decimals; to two from ten on.

    >>> mean_and_deviation([0.98765, 0.98777]), mean_and_deviation([-10.5])
    ('0.9877 ± 0.0001', '-10.50')
    >>> mean_and_deviation([130.61, 130.79])
    '130.70 ± 0.13'
    >>> mean_and_deviation([math.inf, 1.0])
    'inf ± nan'
    """
    mean = fmean(values)
    digits = 2 if abs(mean) >= 10 else 4
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    deviation = stdev(values) if all(map(math.isfinite, values)) else math.nan  # else it raises
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"
