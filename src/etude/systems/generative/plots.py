"""Figures of samples. Matplotlib is imported when a figure is drawn."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any

Points = Float[np.ndarray, "n 2"]


def picture_grid(
    pictures: Float[np.ndarray, "n height width"], title: str = "", columns: int | None = None
) -> Figure:
    """Pictures row by row, white on black, in a grid that is about square; grey lines between them.

    >>> picture_grid(np.zeros((5, 4, 4))).axes[0].images[0].get_array().shape
    (10, 15)
    """
    from matplotlib.figure import Figure

    count, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height + 1, width + 1), pictures.dtype)
    grid[:, -1], grid[:, :, -1] = 0.3, 0.3
    grid[:count, :-1, :-1] = pictures
    tiled = grid.reshape(rows, columns, height + 1, width + 1).transpose(0, 2, 1, 3)
    figure = Figure(figsize=(0.5 * columns, 0.5 * rows + 0.3 * bool(title)), layout="constrained")
    axes = figure.subplots()
    whole = tiled.reshape(rows * (height + 1), columns * (width + 1))
    axes.imshow(whole, cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[], title=title)
    return figure


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
