"""One metric of several runs in one figure.

>>> len(set(colours(50)))
50
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from etude.run.figures import STYLE, drawable, smooth, thinned
from etude.run.history import Column
from etude.run.history_tables import Span
from etude.run.names import shown

#: Points of a curve, beyond which it is smoothed.
MANY = 200

#: Of up to ten runs; more are shades from one end of a scale to the other.
FEW = (
    "#2563a8", "#d9730d", "#2e8b57", "#b3261e", "#7a4fb5",
    "#8a5a3c", "#c94f9c", "#6b7280", "#9a8f1d", "#1d8fa3",
)  # fmt: skip


def colours(count: int) -> list[str]:
    """A colour for each of so many runs."""
    if count <= len(FEW):
        return list(FEW[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    scale: Any = colormaps["turbo"]
    return [to_hex(scale(place)) for place in np.linspace(0.05, 0.95, count)]


def overlay(title: str, curves: Sequence[tuple[Column, Sequence[Span]] | None]) -> bytes:
    """A PNG: the curve of each run in its colour, its number at the end.

    Args:
        title: name of the metric.
        curves: of each run the metric and its phases, within each of which it is smoothed where
            it has many steps; None for a run that has no such metric. Values that are not finite
            are left out.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # pyright: ignore[reportUnknownMemberType]
        figure = Figure(figsize=(8, 3.4))
        FigureCanvasAgg(figure)
        axes: Any = figure.add_subplot()
        shades = colours(len(curves))
        for number, (curve, colour) in enumerate(zip(curves, shades, strict=True), 1):
            if curve is not None:
                _draw(axes, *_smoothed(*curve), colour, str(number))
        axes.set_title(shown(title), parse_math=False)
        axes.set_xlabel("step")
        axes.margins(x=0.03)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")  # pyright: ignore[reportUnknownMemberType]
    return buffer.getvalue()


def _smoothed(
    column: Column, spans: Sequence[Span]
) -> tuple[Int[np.ndarray, " few"], Float[np.ndarray, " few"]]:
    """A few points, never smoothed over the end of a phase."""
    value = drawable(column.value)
    if len(column.step) <= MANY:
        return column.step, value
    steps, values = list[np.ndarray](), list[np.ndarray]()
    for _, _, first, last in spans:
        inside = slice(*np.searchsorted(column.step, [first, last + 1]))
        step, lines = thinned(column.step[inside], value[inside])
        weight = 1 - 1 / max(2, len(step) / 50)
        steps.append(step)
        values.append(smooth(lines[:, lines.shape[1] // 2], weight))
    return np.concatenate(steps), np.concatenate(values)


def _draw(
    axes: Any,
    steps: Int[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    colour: str,
    label: str,
) -> None:
    finite = np.isfinite(values)
    if not finite.any():
        return
    steps, values = steps[finite], values[finite]
    axes.plot(steps, values, color=colour, lw=1.4, marker="o" if len(steps) < 30 else None, ms=3)
    axes.annotate(
        label, (steps[-1], values[-1]), xytext=(3, 0), textcoords="offset points",
        fontsize=7, color=colour, va="center",
    )  # fmt: skip
