"""How the history of a training is written down: in its run folder, or in memory.

`history.jsonl` has every step's metrics, every validation and event, one JSON object a line.

It holds no times, so that two runs of one configuration have the same bytes; times are in
`timing.jsonl`.

>>> import tempfile
>>> history = HistoryFile(Path(tempfile.mkdtemp()) / "history.jsonl")
>>> numbers = np.arange(2)
>>> loss = np.array([[0.5], [np.nan]], np.float32)
>>> history.append_steps(
...     {"phase": "fit"}, ["train/loss"], numbers, np.zeros(2, int), numbers, loss)
>>> history.append({"event": "phase_end", "phase": "fit"})
>>> history.close()
>>> print(history.path.read_text(), end="")
{"phase":"fit","step":0,"epoch":0,"global_step":0,"train/loss":0.5}
{"phase":"fit","step":1,"epoch":0,"global_step":1,"train/loss":"nan"}
{"event":"phase_end","phase":"fit"}
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from etude.run.json_lines import LineFile, parse, read_lines, unreadable

_AXES = ("step", "epoch", "global_step")
_NAMES_OF_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class HistoryFile:
    """The history of one run, at `path`; appends in memory until `flush`.

    `flush`, and what calls it, raises WriteError (an OSError) that names the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = LineFile(path)

    def append_steps(
        self,
        common: Mapping[str, Any],
        columns: Sequence[str],
        steps: Int[np.ndarray, " n"],
        epochs: Int[np.ndarray, " n"],
        global_steps: Int[np.ndarray, " n"],
        values: Float[np.ndarray, "n metrics"],
    ) -> None:
        """Add one line for each of n steps: `common`, the three counters, one value per column.

        Each is written so that it is read back exactly (`%.9g` for a float32, Python's own text
        for a float64); values that are not finite become the strings "nan", "inf", "-inf". Raises
        ValueError if `columns` does not fit `values`.
        """
        if len(columns) != values.shape[1]:
            raise ValueError(
                f"history: got {len(columns)} columns {list(columns)} for values of shape "
                f"{values.shape}, expected one column for each of {values.shape[1]} metrics"
            )
        # One template for all lines, filled by one call in C: under a microsecond a line.
        count, width = len(steps), len(_AXES) + len(columns)
        flat: list[Any] = [None] * (count * width)
        for index, numbers in enumerate((steps, epochs, global_steps, *values.T)):
            flat[index::width] = numbers.tolist()
        finite = np.isfinite(values)
        number = "%r" if values.dtype == np.float64 else "%.9g"
        if finite.all():
            text = _template(common, columns, [number] * len(columns)) * count % tuple(flat)
        else:
            text = "".join(
                _template(common, columns, [number if is_finite else '"%s"' for is_finite in row])
                % tuple(flat[index * width : (index + 1) * width])
                for index, row in enumerate(finite.tolist())
            )
        self._lines.append_text(text)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a validation or an event; numbers that are not finite become strings."""
        self._lines.append(encode(record))

    def flush(self) -> None:
        """Hand all lines to the system; they outlive this process."""
        self._lines.flush()

    def sync(self) -> None:
        """Flush, and return when all lines are on the disk."""
        self._lines.sync()

    def mark(self) -> dict[str, Any]:
        """Where the history ends, as JSON, for the checkpoint that `rewind` will go back to."""
        return {"bytes": self._lines.offset(), "digest": self._lines.digest()}

    def clear(self) -> None:
        """Forget all records."""
        self._lines.truncate(0)

    def rewind(self, mark: Mapping[str, Any], global_step: int) -> str | None:
        """Go back to a mark that was set at `global_step`; says what is missing, if anything is.

        Where the file is no longer what it was at the mark, the records that can still be read
        are kept, as far as they are of steps up to `global_step`.
        """
        size, digest = mark["bytes"], mark["digest"]
        if self._lines.began_with(size, digest):
            self._lines.truncate(size)
            return None
        found, broken = parse(self.path.read_bytes())
        kept = [r for r in found if r.get("global_step", global_step + 1) <= global_step]
        before = self._lines.offset()
        self._lines.replace(kept)
        steps = {r["global_step"] for r in kept if any(key.startswith("train/") for key in r)}
        facts = [
            f"it has {before} bytes, and had {size}" if before < size else "its content differs",
            *([unreadable(broken)] if broken else []),
            f"the metrics of {global_step - len(steps)} of {global_step} steps are missing",
        ]
        return f"{self.path} was changed since the checkpoint: {'; '.join(facts)}."

    def close(self) -> None:
        """Flush and close."""
        self._lines.close()


class HistoryInMemory:
    """The history of a training without a run folder; the same records, without a file.

    >>> history = HistoryInMemory()
    >>> history.append({"event": "phase_end"})
    >>> history.read()
    [{'event': 'phase_end'}]
    """

    def __init__(self) -> None:
        self._blocks: list[Any] = []

    def append_steps(
        self,
        common: Mapping[str, Any],
        columns: Sequence[str],
        steps: Int[np.ndarray, " n"],
        epochs: Int[np.ndarray, " n"],
        global_steps: Int[np.ndarray, " n"],
        values: Float[np.ndarray, "n metrics"],
    ) -> None:
        """The metrics of n consecutive steps."""
        self._blocks.append((dict(common), tuple(columns), steps, epochs, global_steps, values))

    def append(self, record: Mapping[str, Any]) -> None:
        """A validation or an event."""
        self._blocks.append(dict(record))

    def flush(self) -> None:
        """Nothing to write."""

    def read(self) -> list[dict[str, Any]]:
        """All records, one dict each."""
        records = []
        for block in self._blocks:
            if isinstance(block, dict):
                records.append(dict(block))
                continue
            common, columns, *counters, values = block
            axes = [dict(zip(_AXES, row, strict=True)) for row in np.stack(counters, 1).tolist()]
            records += [
                {**common, **place, **dict(zip(columns, row, strict=True))}
                for place, row in zip(axes, values.tolist(), strict=True)
            ]
        return records


class PackedHistory:
    """A copy of a history as it is now, compressed in memory; it can be pickled.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
    >>> _ = path.write_text('{"step":1,"train/loss":"nan"}\\n')
    >>> packed = PackedHistory.of(path)
    >>> path.unlink()
    >>> packed.read()
    [{'step': 1, 'train/loss': nan}]
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    @classmethod
    def of(cls, path: Path) -> "PackedHistory":
        """A copy of the file at `path`; it is packed in blocks, so that little memory is used."""
        packer = zlib.compressobj(level=1)
        with path.open("rb") as file:
            blocks = [packer.compress(block) for block in iter(lambda: file.read(1 << 20), b"")]
        return cls(b"".join([*blocks, packer.flush()]))

    def read(self) -> list[dict[str, Any]]:
        """All records, one dict each."""
        return _with_numbers(parse(zlib.decompress(self._content))[0])


def read_file(path: Path) -> list[dict[str, Any]]:
    """All records of a file; lines that cannot be read are left out with a warning."""
    return _with_numbers(read_lines(path))


def _with_numbers(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: _NAMES_OF_NUMBERS.get(value, value) if isinstance(value, str) else value
         for key, value in record.items()}
        for record in records
    ]  # fmt: skip


def _template(common: Mapping[str, Any], columns: Sequence[str], numbers: Sequence[str]) -> str:
    """A line with places for the counters and the values."""
    fixed = [f"{_json(key)}:{_json(value)}" for key, value in common.items()]
    fields = [text.replace("%", "%%") for text in fixed]
    fields += [f'"{axis}":%d' for axis in _AXES]
    fields += [
        _json(column).replace("%", "%%") + ":" + number
        for column, number in zip(columns, numbers, strict=True)
    ]
    return "{" + ",".join(fields) + "}\n"


def _json(value: Any) -> str:
    return json.dumps(encode(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode(value: Any) -> Any:
    """`value` with NumPy numbers made plain and those that JSON lacks made strings.

    >>> encode({"loss": np.float32("nan")})
    {'loss': 'nan'}
    """
    match value:
        case Mapping():
            return {key: encode(inner) for key, inner in value.items()}
        case list() | tuple():
            return [encode(inner) for inner in value]
        case np.generic() | np.ndarray():
            return encode(value.tolist())
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
