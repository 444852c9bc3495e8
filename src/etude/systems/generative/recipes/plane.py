"""Samples in the plane: figures, and what is written of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from etude.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any

Points = Float[np.ndarray, "n 2"]


def scatter(samples: Mapping[str, Points]) -> Figure:
    """Points of several samples side by side, on the same axes.

    >>> len(scatter({"data": np.zeros((5, 2)), "model": np.ones((5, 2))}).axes)
    2
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(samples), 2.5), layout="constrained")
    panels = figure.subplots(1, len(samples), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, points) in zip(panels, samples.items(), strict=True):
        axes.plot(*points.T, ".", markersize=1.5, alpha=0.4, color="C0", rasterized=True)
        axes.set(title=title, aspect="equal", xticks=[], yticks=[])
    return figure


def write_points(points: Points, folder: Path | None) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "samples.npy", points)
        scatter({"": points}).savefig(folder / "samples.png", dpi=110)
    rows = [(str(number), f"{x:.4f}", f"{y:.4f}") for number, (x, y) in enumerate(points)]
    return Table(("sample", "x", "y"), tuple(rows))
