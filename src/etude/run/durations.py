"""`timing.jsonl`: where the time of a run went, apart from the history, which has no times.

>>> import tempfile
>>> timing = Durations(Path(tempfile.mkdtemp()) / "timing.jsonl")
>>> timing.append("pretrain", 100, "train", 100, 0.25)
>>> timing.close()
>>> Durations.read(timing.path)
[{'phase': 'pretrain', 'step': 100, 'what': 'train', 'steps': 100, 'seconds': 0.25}]
"""

from pathlib import Path
from typing import Any, Literal

from etude.run.json_lines import LineFile, read_lines

What = Literal["train", "valid", "checkpoint", "data", "compile"]


class Durations:
    """The times of one run, at `path`; appends in memory until `flush`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = LineFile(path)

    def append(self, phase: str, step: int, what: What, steps: int, seconds: float) -> None:
        """Add that `steps` steps up to `step` of `phase` spent `seconds` on `what`."""
        self._lines.append(
            {"phase": phase, "step": step, "what": what, "steps": steps, "seconds": seconds}
        )

    def flush(self) -> None:
        """Hand all lines to the system; WriteError (an OSError) names the file."""
        self._lines.flush()

    def close(self) -> None:
        """Flush and close."""
        self._lines.close()

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """All records of the file at `path`."""
        return read_lines(path)
