"""Markdown tables."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers.

    >>> print(table(["peer", "ratio"], [["by hand", "1.00"]]))
    | peer    | ratio |
    |:--------|------:|
    | by hand |  1.00 |
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "|" + "|".join(
        ":" + "-" * (width + 1) if not number else "-" * (width + 1) + ":"
        for number, width in enumerate(widths)
    )
    return "\n".join([_line(head, widths), rule + "|", *[_line(row, widths) for row in rows]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in others]]
    return "| " + " | ".join(padded) + " |"


def section(title: str, body: str, notes: Sequence[str] = ()) -> str:
    """A heading, a table, and sentences below it."""
    return "\n".join([f"## {title}", "", body, "", *[f"- {note}" for note in notes], ""])
