"""`status.json`: whether a training is done, so that nobody reads a whole history to learn it.

It is a convenience, with a time of day; nothing that a training computes depends on it.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp())
>>> Status("finished", "LENGTH", steps=500).write(folder)
>>> found = Status.read(folder)
>>> found.state, found.reason, found.steps
('finished', 'LENGTH', 500)
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from etude.run.json_lines import encode

STATUS = "status.json"

State = Literal["training", "finished", "interrupted", "failed"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Status:
    """How a training stands.

    Attributes:
        state: "training" also stands there after a kill, which leaves no time to write.
        reason: the name of a `Reason` if it is finished, else what ended it.
        steps: of all phases, made when this was written.
        when: it was written, in UTC.
        results: metrics of a recipe's evaluations of the finished model, by split.
    """

    state: State
    reason: str = ""
    steps: int = 0
    when: str = field(default_factory=_now)
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Any])

    @classmethod
    def read(cls, folder: str | Path) -> "Status | None":
        """That of the run in `folder`; None for a run of an early version, or if it is damaged."""
        try:
            found = json.loads((Path(folder) / STATUS).read_bytes())
            results = {
                split: {name: float(value) for name, value in metrics.items()}
                for split, metrics in found["results"].items()
            }
            given = {name: found[name] for name in ("state", "reason", "steps", "when")}
            return cls(**given, results=results)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, folder: Path) -> None:
        """Put it into `folder` at once: whole, or as it was before. OSError if it cannot be."""
        content: dict[str, Any] = asdict(self)
        temporary = folder / f"{STATUS}.tmp"
        temporary.write_text(json.dumps(encode(content), indent=2) + "\n", encoding="utf-8")
        temporary.rename(folder / STATUS)
