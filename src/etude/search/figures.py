"""Figures of a search: its history, importances, slices, maps of two settings, parallel axes.

Each takes `Results` and returns a figure of Matplotlib.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from etude.engine.direction import best, cost
from etude.errors import ConfigurationError, suggest
from etude.run.figures import RESCUE, STYLE, TRAIN, VALID
from etude.search.backend import optuna_or_refuse, quiet
from etude.search.results import Found, Results
from etude.search.space import Range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Cells along an axis of a map, and values of one that stand as they are.
CELLS, FEW = 10, 16
MISSING = "#c9ced6"

P = ParamSpec("P")
R = TypeVar("R")


def _in_style(plot: Callable[P, R]) -> Callable[P, R]:
    """The plot in the style of the figures of a run."""

    @functools.wraps(plot)
    def styled(*given: P.args, **named: P.kwargs) -> R:
        import matplotlib as mpl

        with mpl.rc_context(STYLE):  # pyright: ignore[reportUnknownMemberType]
            return plot(*given, **named)

    return styled


@_in_style
def plot_history(results: Results) -> "Figure":
    """The value of each trial in their order, and the best so far."""
    figure = _figure(8, 3.4)
    axes = figure.add_subplot()
    complete = _complete(results)
    numbers = [found.number for found in complete]
    axes.errorbar(
        numbers, [found.value for found in complete], yerr=_spreads(complete),
        fmt="o", color=TRAIN, ms=4, lw=0.8, label="trial",
    )  # fmt: skip
    so_far = list(
        itertools.accumulate(
            (found.value or 0.0 for found in complete),
            lambda one, other: best(results.mode, (one, other)) or 0.0,
        )
    )
    axes.step(numbers, so_far, color=VALID, where="post", label="best so far")
    for state, colour in (("pruned", "#98a2b3"), ("diverged", RESCUE), ("failed", RESCUE)):
        ended = [found.number for found in results.trials if found.state == state]
        if ended:  # they have no value: a mark on the axis
            axes.plot(
                ended, [0.02] * len(ended), "|" if state == "pruned" else "x", color=colour, ms=6,
                transform=axes.get_xaxis_transform(), label=state,
            )  # fmt: skip
    axes.set(title="history", xlabel="trial", ylabel=results.metric)
    axes.legend(loc="best")
    return figure


def importances(results: Results) -> dict[str, float]:
    """How much each setting matters to be among the good trials; they sum to 1 (PED-ANOVA).

    Watanabe, Bansal and Hutter (2023). Empty if too few trials have a value to tell.
    """
    trials = [t for t in results.optuna_trials if t.state.name == "COMPLETE"]
    varied = {name for name in results.space.varied if len({t.params[name] for t in trials}) > 1}
    if len(trials) < 4 or not varied:
        return {}
    optuna = optuna_or_refuse()
    with quiet():
        study = optuna.create_study(direction="minimize" if results.mode == "min" else "maximize")
        study.add_trials(trials)
        found: dict[str, float] = optuna.importance.get_param_importances(
            study,
            params=sorted(varied),
            evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
        )
    return dict(sorted(found.items(), key=lambda one: -one[1]))


@_in_style
def plot_importances(results: Results) -> "Figure":
    """How much each setting matters."""
    found = importances(results)
    figure = _figure(8, 1.2 + 0.35 * max(1, len(found)))
    axes = figure.add_subplot()
    names = list(found)[::-1]
    bars = axes.barh(names, [found[name] for name in names], color=TRAIN)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.margins(x=0.15)
    axes.set(title="importance", xlabel="share (PED-ANOVA)")
    if not found:
        axes.annotate("too few trials to tell", (0.5, 0.5), xycoords="axes fraction", ha="center")
    return figure


@_in_style
def plot_slices(results: Results, names: Sequence[str] | None = None) -> "Figure":
    """The value against each setting, or some of them; later trials are darker.

    Raises `ConfigurationError` for a name that is not varied.
    """
    names = list(results.space.varied if names is None else names)
    for name in names:
        _check(results, name)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = _figure(1 + 3 * columns, 0.4 + 2.6 * rows)
    complete = _complete(results)
    for number, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.scatter(
            _places(axes, results, name, complete), [found.value for found in complete],
            c=[found.number for found in complete], cmap="Blues", vmin=-len(results.trials) / 2,
            edgecolors=TRAIN, linewidths=0.5, s=22,
        )  # fmt: skip
        axes.set(xlabel=name, ylabel=results.metric if number % columns == 0 else "")
    figure.suptitle("slices; later trials are darker", x=0.02, ha="left", fontweight="bold")
    return figure


@_in_style
def plot_map(results: Results, x: str, y: str) -> "Figure":
    """The best value in each cell of two settings; a cell without a trial is hatched, not guessed.

    A setting of many values is cut into ten parts. Raises `ConfigurationError` for a name that is
    not varied.
    """
    figure = _figure(6.4, 4.8)
    axes = figure.add_subplot()
    complete = _complete(results)
    (across, columns), (up, rows) = (_cells(results, name, complete) for name in (x, y))
    grid = np.full((len(rows), len(columns)), np.nan)
    for found, column, row in zip(complete, across, up, strict=True):
        here = float(grid[row, column])
        values = [found.value or 0.0] if math.isnan(here) else [found.value or 0.0, here]
        grid[row, column] = best(results.mode, values)
    axes.set_facecolor("white")
    axes.patch.set(hatch="////", edgecolor=MISSING)
    colours = "viridis_r" if results.mode == "min" else "viridis"
    image = axes.imshow(np.ma.masked_invalid(grid), cmap=colours, origin="lower", aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    if grid.size <= 100:
        for row, column in zip(*np.nonzero(np.isfinite(grid)), strict=True):
            shade = image.norm(grid[row, column])
            dark = (shade < 0.5) == (results.mode == "max")
            axes.text(
                column, row, f"{grid[row, column]:.3g}", ha="center", va="center", fontsize=8,
                color="white" if dark else "black",
            )  # fmt: skip
    others = len(results.space.varied) > 2
    title = f"{results.metric}, best{' over the others' if others else ''}; hatched: no trial"
    axes.set(title=title, xlabel=x, ylabel=y)
    if complete:
        figure.colorbar(image, ax=axes, label=results.metric)
    return figure


@_in_style
def plot_parallel(results: Results) -> "Figure":
    """Each trial as a line across one axis for each setting; the better, the stronger."""
    names = list(results.space.varied)
    complete = _complete(results)
    figure = _figure(2.5 + 1.8 * len(names), 3.8)
    axes = figure.add_subplot()
    order = sorted(complete, key=lambda found: -cost(results.mode, found.value))
    heights = [_heights(results, name) for name in names]
    last = _scaled([found.value or 0.0 for found in complete])
    for rank, found in enumerate(order):
        line = [height(found) for height in heights] + [last(found.value or 0.0)]
        share = (rank + 1) / len(order)
        top = rank >= len(order) - max(1, len(order) // 10)
        axes.plot(
            range(len(line)), line, color=VALID if top else TRAIN,
            alpha=0.15 + 0.6 * share, lw=1.8 if top else 0.9,
        )  # fmt: skip
    axes.set_xticks(range(len(names) + 1), [*names, results.metric])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    for place, name in enumerate([*names, results.metric]):
        low, high = _ends(results, name, complete)
        for text, height, align in ((low, 0, "top"), (high, 1, "bottom")):
            axes.annotate(
                text, (place, height), xytext=(0, -4 if align == "top" else 4),
                textcoords="offset points", ha="center", va=align, fontsize=8,
            )  # fmt: skip
    axes.set_ylim(-0.12, 1.12)
    axes.grid(visible=True, axis="x", alpha=0.6)
    axes.set_title("parallel axes; the best tenth in orange")
    return figure


def _figure(width: float, height: float) -> Any:
    """An empty figure; Matplotlib's own signatures name some types without their parameters."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _check(results: Results, name: str) -> None:
    if name not in results.space.varied:
        near = suggest(name, results.space.varied)
        raise ConfigurationError(f"The search varies no {name!r}. {near}")


def _complete(results: Results) -> list[Found]:
    return [found for found in results.trials if found.value is not None]


def _spreads(complete: Sequence[Found]) -> list[float] | None:
    spreads = [found.spread or 0.0 for found in complete]
    return spreads if any(spreads) else None


def _places(axes: Any, results: Results, name: str, complete: Sequence[Found]) -> list[Any]:
    """Where trials stand along an axis of a setting, which is labelled."""
    one = results.space.varied[name]
    if isinstance(one, Range):
        if one.log:
            axes.set_xscale("log")
        return [found.setting[name] for found in complete]
    axes.set_xticks(range(len(one)), [_text(choice) for choice in one], rotation=45, ha="right")
    axes.set_xlim(-0.5, len(one) - 0.5)
    return [one.index(found.setting[name]) for found in complete]


def _cells(results: Results, name: str, complete: Sequence[Found]) -> tuple[list[int], list[str]]:
    """The cell of each trial along a setting, and what the cells are called."""
    _check(results, name)
    one = results.space.varied[name]
    values: list[Any] = list(one) if not isinstance(one, Range) else []
    if isinstance(one, Range) and one.count is not None and one.count <= FEW:
        values = list(one.values())
    if values:
        return [values.index(found.setting[name]) for found in complete], list(map(_text, values))
    assert isinstance(one, Range)
    shares = [part / CELLS for part in range(CELLS + 1)]
    edges = [
        one.low * (one.high / one.low) ** s if one.log else one.low + (one.high - one.low) * s
        for s in shares
    ]
    cells = [bisect.bisect(edges[1:-1], found.setting[name]) for found in complete]
    pairs = itertools.pairwise(edges)
    middle = [math.sqrt(a * b) if one.log else (a + b) / 2 for a, b in pairs]
    return cells, list(map(_text, middle))


def _heights(results: Results, name: str) -> Callable[[Found], float]:
    """From a trial to its height on the axis of a setting, 0 to 1."""
    one = results.space.varied[name]
    if not isinstance(one, Range):
        return lambda found: one.index(found.setting[name]) / (len(one) - 1)
    if one.log:
        scaled = _scaled([math.log(one.low), math.log(one.high)])
        return lambda found: scaled(math.log(found.setting[name]))
    scaled = _scaled([one.low, one.high])
    return lambda found: scaled(found.setting[name])


def _scaled(values: Sequence[float]) -> Callable[[float], float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return lambda value: (value - low) / (high - low) if high > low else 0.5


def _ends(results: Results, name: str, complete: Sequence[Found]) -> tuple[str, str]:
    """What stands at the lower and the upper end of an axis."""
    if name == results.metric:
        values = [found.value or 0.0 for found in complete]
        return (_text(min(values)), _text(max(values))) if values else ("", "")
    one = results.space.varied[name]
    ends = (one.low, one.high) if isinstance(one, Range) else (one[0], one[-1])
    return _text(ends[0]), _text(ends[1])


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
