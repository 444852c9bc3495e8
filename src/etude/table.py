"""A table of text: results, predictions.

>>> print(Table(("method", "accuracy"), (("ours", "0.98"),)))
method  accuracy
------  --------
ours    0.98
"""

import csv
from dataclasses import dataclass
from pathlib import Path


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
