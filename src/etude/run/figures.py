"""Figures of a run: curves per metric with its phases shaded, time, confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from etude.run.history import Column, History
from etude.run.names import NamesOfFiles, shown

#: Points of a curve: more than pixels to draw them on.
POINTS = 4000
TRAIN, VALID, RESCUE = "#2563a8", "#d9730d", "#b3261e"
#: Of several validations, in the order of their names among the columns.
VALIDATIONS = (VALID, "#2e8b57", "#7a4fb5", "#8a5a3c")
#: What is larger is drawn as this: an axis is at most twice as long, and sums stay finite.
LARGEST = 1e290
STYLE: dict[Any, Any] = {
    "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.25, "axes.titlelocation": "left", "axes.titleweight": "bold",
    "legend.frameon": False, "figure.constrained_layout.use": True, "savefig.dpi": 140,
}  # fmt: skip


def write_figures(folder: Path, history: History, times: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write the PNG figures of a history and its times into `folder`; returns their paths."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(exist_ok=True)
    paths: list[Path] = []
    files = NamesOfFiles()

    def save(name: str, figure: Figure) -> None:
        FigureCanvasAgg(figure)
        paths.append(folder / f"{files.name(name)}.png")
        figure.savefig(paths[-1])  # pyright: ignore[reportUnknownMemberType]

    # Matplotlib's signatures name some types without their parameters.
    with mpl.rc_context(STYLE):  # pyright: ignore[reportUnknownMemberType]
        names, spans = history.names, history.spans
        metrics: dict[str, list[str]] = {}
        for name in names:
            prefix, _, metric = name.partition("/")
            metrics.setdefault(metric, []).append(prefix)
        for metric, prefixes in metrics.items():
            figure = Figure(figsize=(8, 3.4))
            columns = {prefix: history[f"{prefix}/{metric}"] for prefix in prefixes}
            _draw_metric(figure.add_subplot(), metric, columns, spans)
            save(metric, figure)
        if times:
            figure = Figure(figsize=(8, 3.0))
            _draw_times(figure.subplots(1, 2, width_ratios=[1, 1.4]), times)
            save("timing", figure)
        matrices = {
            str(record.get("split", "validation")): record["confusion_matrix"]
            for record in (*history.validations, *history.events)
            if "confusion_matrix" in record
        }
        for split, matrix in matrices.items():
            figure = Figure(figsize=(5.2, 4.6))
            _draw_confusion(figure, np.asarray(matrix, np.float64), split)  # NaN is a text there
            save(f"confusion-{split}", figure)
    return paths


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Exponential mean with the bias of its start removed; values that are not finite are skipped.

    >>> smooth(np.array([1.0, 1.0, np.nan]), 0.9).round(6)
    array([1., 1., 1.])
    """
    total, norm, out = 0.0, 0.0, np.full(len(values), np.nan)
    for index, value in enumerate(values):
        if np.isfinite(value):
            total = weight * total + (1 - weight) * value
            norm = weight * norm + (1 - weight)
        if norm:
            out[index] = total / norm
    return out


def thinned(
    step: Int[np.ndarray, " n"], value: Float[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " few"], Float[np.ndarray, "few lines"]]:
    """A curve of at most `POINTS` points: itself, or lowest, mean and highest of groups of steps.

    >>> thinned(np.array([1, 2]), np.array([0.5, 0.25]))
    (array([1, 2]), array([[0.5 ],
           [0.25]]))
    """
    if len(step) <= POINTS:
        return step, value[:, None]
    first = np.arange(0, len(step), -(-len(step) // POINTS))
    finite = np.isfinite(value)
    count = np.add.reduceat(finite.astype(float), first)
    total = np.add.reduceat(np.where(finite, value, 0).astype(float), first)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    ends = np.fmin.reduceat(value, first), np.fmax.reduceat(value, first)  # without NaN
    return step[first], np.stack([ends[0], mean, ends[1]], axis=1)


def drawable(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Values that can be on an axis: finite ones, no larger than `LARGEST`, and NaN.

    >>> drawable(np.array([1.5, np.inf, -1e308]))
    array([ 1.5e+000,       nan, -1.0e+290])
    """
    wide = values.astype(np.float64)
    return np.where(np.isfinite(wide), np.clip(wide, -LARGEST, LARGEST), np.nan)


def _draw_metric(
    axes: Any, metric: str, columns: Mapping[str, Column], spans: Sequence[Any]
) -> None:
    train, valid = columns.get("train"), {n: c for n, c in columns.items() if n != "train"}
    for index, (phase, _, first, last) in enumerate(spans):
        # A stretch cut out of another phase's is a rescue: both its neighbours are one phase.
        around = {span[0] for span in (*spans[max(0, index - 1) : index], *spans[index + 1 :][:1])}
        rescue = 0 < index < len(spans) - 1 and len(around) == 1
        colour = RESCUE if rescue else "#888888"
        if rescue or index % 2 == 0:
            axes.axvspan(first, last + 1, color=colour, alpha=0.09, lw=0)
        axes.annotate(
            f"{phase} (rescue)" if rescue else phase, ((first + last) / 2, 1.0),
            xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
            ha="center", va="bottom", fontsize=8, color=colour,
        )  # fmt: skip
    if train is not None:
        noisy = len(train.step) > 20 and "learning_rate" not in metric
        width, alpha = (0.6, 0.35) if noisy else (1.6, 1.0)
        value = drawable(train.value)
        steps, lines = thinned(train.step, value)
        for line in lines.T[::2]:
            axes.plot(steps, line, color=TRAIN, lw=width, alpha=alpha)
        if noisy:
            for _, _, first, last in spans:  # never smooth over the end of a phase
                inside = slice(*np.searchsorted(train.step, [first, last + 1]))
                steps, lines = thinned(train.step[inside], value[inside])
                weight = 1 - 1 / max(2, len(steps) / 25)
                middle = lines[:, lines.shape[1] // 2]
                axes.plot(steps, smooth(middle, weight), TRAIN, lw=1.6)
        axes.plot([], [], color=TRAIN, label="train")
    for number, (name, column) in enumerate(valid.items()):
        label = "validation" if name == "valid" else shown(name)
        colour = VALIDATIONS[number % len(VALIDATIONS)]
        axes.plot(column.step, drawable(column.value), "o", color=colour, ms=4, label=label)
    axes.set_title(shown(metric), pad=18, parse_math=False)
    axes.set_xlabel("step")
    axes.margins(x=0.01)
    for text in axes.legend(*axes.get_legend_handles_labels(), loc="best").get_texts():
        text.set_parse_math(False)


def _draw_times(axes: Any, times: Sequence[Mapping[str, Any]]) -> None:
    totals: dict[str, float] = {}
    for record in times:
        totals[record["what"]] = totals.get(record["what"], 0.0) + record["seconds"]
    names = sorted(totals, key=lambda name: totals[name])
    bars = axes[0].barh(names, [totals[name] for name in names], color=TRAIN)
    axes[0].bar_label(bars, fmt="%.1f s", padding=3)
    axes[0].margins(x=0.25)
    axes[0].set(title="where the time went", xlabel="seconds")
    chunks = [record for record in times if record["what"] == "train" and record["seconds"] > 0]
    steps = np.cumsum([record["steps"] for record in chunks])
    axes[1].plot(steps, [record["steps"] / record["seconds"] for record in chunks], color=TRAIN)
    axes[1].set(title="training speed", xlabel="step", ylabel="steps/s")
    axes[1].set_ylim(bottom=0)


def _draw_confusion(figure: Any, matrix: np.ndarray, split: str) -> None:
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.set_title(f"confusion, {shown(split)}", parse_math=False)
    axes.set(xlabel="predicted", ylabel="true")
    if len(matrix) <= 20:
        axes.set_xticks(range(len(matrix)))
        axes.set_yticks(range(len(matrix)))
        for row, column in np.ndindex(*matrix.shape):
            colour = "white" if shares[row, column] > 0.5 else "#444444"
            count = float(matrix[row, column])
            text = str(int(count)) if count.is_integer() else f"{count:g}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)
