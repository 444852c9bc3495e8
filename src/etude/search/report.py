"""`report.html` of a search: its best setting, its trials, and figures."""

import html
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from etude.run import pages
from etude.search.figures import (
    importances,
    plot_history,
    plot_importances,
    plot_map,
    plot_parallel,
    plot_slices,
)
from etude.search.record import BEST, recorded
from etude.search.results import Found, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Maps are drawn of every two among so many settings, those that matter most.
MAPPED = 3


def write_report(folder: str | Path, storage: str | None = None) -> Path:
    """Writes `figures/*.png` and `report.html` into the folder of a search; returns the page.

    The search may be under way. Raises what `Results.open` raises.
    """
    place = Path(folder)
    results = Results.open(place, storage)
    figures = place / "figures"
    figures.mkdir(exist_ok=True)
    paths: list[Path] = []
    for name, figure in _figures(results):
        paths.append(figures / f"{name.replace('/', '-')}.png")
        figure.savefig(paths[-1], dpi=140)  # pyright: ignore[reportUnknownMemberType]
    record = yaml.safe_dump(recorded(place), sort_keys=False, allow_unicode=True)
    best = place / BEST
    found = (
        f"<h2>Best</h2><pre>{html.escape(best.read_text(encoding='utf-8'))}</pre>"
        if best.exists()
        else ""
    )
    images = "".join(pages.image(one.stem, one.read_bytes()) for one in paths)
    head = ("trial", *results.space.varied, results.metric, "")
    body = f"""<p class="soft">{len(results.trials)} trials: {html.escape(results.stands)}</p>
{found}<h2>Figures</h2>{images or "<p>No trial has a value yet.</p>"}
<h2>Trials</h2>{pages.table(head, [_row(one, results) for one in _ordered(results)])}
<h2>Search</h2><pre>{html.escape(record)}</pre>
"""
    path = place / "report.html"
    path.write_bytes(pages.page(place.resolve().name, body))
    return path


def _figures(results: Results) -> "Iterator[tuple[str, Figure]]":
    if not results.has_best:
        return
    yield "history", plot_history(results)
    share = importances(results)
    if share:
        yield "importances", plot_importances(results)
    yield "slices", plot_slices(results)
    order = [*share, *(name for name in results.space.varied if name not in share)]
    for x, y in itertools.combinations(order[:MAPPED], 2):
        yield f"map-{x}-{y}", plot_map(results, x, y)
    yield "parallel", plot_parallel(results)


def _ordered(results: Results) -> list[Found]:
    """The best first, those without a value last."""
    sign = 1 if results.mode == "min" else -1
    return sorted(
        results.trials,
        key=lambda one: (one.value is None, sign * (one.value or 0.0), one.number),
    )


def _row(one: Found, results: Results) -> tuple[str, ...]:
    note = one.why if one.same_as is None else f"as trial {one.same_as}"
    return (str(one.number), *(str(one.setting[n]) for n in results.space.varied), one.shown, note)
