"""Recordings as tables of numbers: CSV with or without a header, and NPY."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

import etude as et
from etude.errors import suggest


def read_csv(path: Path, channel: str | None) -> Float[np.ndarray, "..."]:
    """The column of this name or number (from 0), or the only one.

    Raises DataError for what is no number, several columns without a choice, or no such column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise et.DataError(f"{path} cannot be read as CSV: {error}.") from error
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise et.DataError(f"{path} holds no sample.")
    header = None if _numeric(rows[0]) else [cell.strip() for cell in rows.pop(0)]
    width = len(header or rows[0])
    for number, row in enumerate(rows, 1 + (header is not None)):
        if len(row) != width:
            raise et.DataError(
                f"{path}, row {number}: {row} has {len(row)} fields, expected {width} as in the "
                "first row. Are the decimals commas, or is a line missing? Write points, and "
                "separate columns by commas."
            )
    known = header or [str(number) for number in range(width)]
    if channel is None and width > 1:
        raise et.DataError(
            f"{path} has {width} channels: {', '.join(known)}. Pass one of them as `channel`."
        )
    name = known[0] if channel is None else channel
    if name not in known:
        raise et.DataError(f"{path} has no channel {name!r}. {suggest(name, known)}")
    if known.count(name) > 1:
        raise et.DataError(f"{path} has {known.count(name)} columns {name!r}. Rename them.")
    at = known.index(name)
    try:
        return np.array([float(row[at]) for row in rows])
    except (ValueError, IndexError):
        bad = next(i for i, row in enumerate(rows) if len(row) <= at or not _numeric([row[at]]))
        line = bad + 1 + (header is not None)
        raise et.DataError(f"{path}, row {line}: {rows[bad]} has no number in {name!r}.") from None


def read_npy(path: Path, channel: str | None) -> Float[np.ndarray, "..."]:
    """An array of samples, or the row of this number (from 0) of an array of channels.

    Raises DataError for a file that cannot be read, holds no real numbers, or several channels
    without a choice.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise et.DataError(f"{path} cannot be read as an NPY file: {error}.") from error
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise et.DataError(f"{path} holds {values.dtype}, expected real numbers.")
    values = values.astype(np.float64)
    if channel is None:
        return values
    rows = values if values.ndim == 2 and len(values) <= values.shape[1] else values.T
    if values.ndim != 2 or not channel.isdecimal() or int(channel) >= len(rows):
        raise et.DataError(
            f"{path} has the shape {values.shape} and no channel {channel!r}. Channels are "
            "numbered from 0, along the shorter of two axes."
        )
    return rows[int(channel)]


def _numeric(row: list[str]) -> bool:
    try:
        _ = [float(cell) for cell in row]
    except ValueError:
        return False
    return True
