"""`report.html`: one page that holds all of a run, and opens anywhere."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from etude.run.directory import Run
from etude.run.durations import Durations
from etude.run.figures import write_figures
from etude.run.folder import TIMING
from etude.run.history import History
from etude.run.pages import image, page, table, text_of
from etude.run.trials import progress, results_of


def write_report(run_folder: Path) -> Path:
    """Write `figures/*.png` and `report.html` into a run; returns the path of the page.

    Raises RunError if `run_folder` is not a run. The run may be in training meanwhile.
    """
    run = Run.open(run_folder, lock=False)
    history, timing = History.open(run.path), run.path / TIMING
    times = Durations.read(timing) if timing.exists() else []
    figures = write_figures(run.figures, history, times)
    # What an experiment has drawn itself says more than the curves, and comes first.
    figures = sorted(set(run.figures.glob("*.png")) - set(figures)) + list(figures)
    created = html.escape(str(run.environment.get("created", "")))
    pictures = [image(path.stem, path.read_bytes()) for path in figures]
    trials = progress(run_folder)
    stands = f'<p class="soft">{html.escape(trials)}</p>' if trials else ""
    config = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
    body = f"""<p class="soft">created {created}, {len(history)} records</p>{stands}
{_experiment(run.path)}<h2>Metrics</h2>
{table(("metric", "last", "lowest", "highest"), _results(history))}
<h2>Figures</h2>{"".join(pictures) or "<p>Nothing was recorded.</p>"}
<h2>Events</h2>{table(("event", "phase", "step", "details"), map(_event, history.events))}
<h2>Configuration</h2><pre>{html.escape(config)}</pre>
<h2>Environment</h2>{table(("", ""), [(k, text_of(v)) for k, v in run.environment.items()])}
"""
    path = run_folder / "report.html"
    path.write_bytes(page(run.path.resolve().name, body))
    return path


def _experiment(run: Path) -> str:
    """The table of an experiment of several runs, with what is known about it, if there is one."""
    found = results_of(run)
    if found is None:
        return ""
    # Runs of earlier versions have the table alone.
    notes = "".join(
        f'<p class="soft">{html.escape(title.capitalize())}: {html.escape(text)}</p>'
        for title, text in found.get("about", {}).items()
    )
    sources = html.escape("\n\n".join(found.get("citations", ())))
    cited = f"<h2>Citations</h2><pre>{sources}</pre>" if sources else ""
    return f"<h2>Results</h2>{table(found['head'], found['rows'])}{notes}{cited}"


def _results(history: History) -> list[tuple[str, ...]]:
    return [
        (one.name, *(f"{number:.5g}" for number in (one.last, one.lowest, one.highest)))
        for one in history.summary()
    ]


def _event(record: Mapping[str, Any]) -> tuple[str, ...]:
    shown = ("event", "phase", "global_step", "confusion_matrix")
    rest = {key: value for key, value in record.items() if key not in shown}
    first = (str(record["event"]), str(record.get("phase", "")), str(record.get("global_step", "")))
    return (*first, text_of(rest))
