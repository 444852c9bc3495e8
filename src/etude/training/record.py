"""A history kept in memory, for a training without a run directory."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class MemoryHistory:
    """The records of a training, as a run directory would have them in `history.jsonl`."""

    def __init__(self) -> None:
        self._blocks: list[Any] = []

    def append_steps(
        self,
        common: Mapping[str, Any],
        columns: Sequence[str],
        steps: np.ndarray,
        epochs: np.ndarray,
        global_steps: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """The metrics of consecutive steps."""
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
                records.append(block)
                continue
            common, columns, steps, epochs, global_steps, values = block
            for i, row in enumerate(values.tolist()):
                place = {"step": int(steps[i]), "epoch": int(epochs[i])}
                place["global_step"] = int(global_steps[i])
                records.append({**common, **place, **dict(zip(columns, row, strict=True))})
        return records
