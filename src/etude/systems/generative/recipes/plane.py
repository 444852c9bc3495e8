"""Samples in the plane: figures, and what is written of them."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from etude.systems.generative.plots import scatter
from etude.table import Table

Points = Float[np.ndarray, "n 2"]


def few_points(config: Any) -> list[str]:
    """What is wrong where a batch has more points than there are."""
    if config.points >= config.batch:
        return []
    return [f"points={config.points} are fewer than those of a step, batch={config.batch}"]


def write_points(points: Points, folder: Path | None) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "samples.npy", points)
        scatter({"": points}).savefig(folder / "samples.png", dpi=110)
    rows = [(str(number), f"{x:.4f}", f"{y:.4f}") for number, (x, y) in enumerate(points)]
    return Table(("sample", "x", "y"), tuple(rows))
