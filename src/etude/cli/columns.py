"""Texts below each other, in columns."""

from collections.abc import Sequence


def columns(rows: Sequence[tuple[str, str]]) -> str:
    """Names and what they mean, side by side.

    >>> print(columns([("--seed INT", "of the samples"), ("--out", "folder")]))
      --seed INT  of the samples
      --out       folder
    """
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {text}".rstrip() for name, text in rows)


def numbers(rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, numbers to the right.

    >>> print(numbers([("metric", "last"), ("loss", "0.5")]))
      metric  last
      loss     0.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        right = [f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([f"  {name:{widths[0]}}", *right]))
    return "\n".join(lines)
