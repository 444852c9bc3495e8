"""`report.html`: one page that holds all of a run, and opens anywhere."""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from etude.kinds import is_mapping
from etude.run.directory import Run
from etude.run.durations import Durations
from etude.run.figures import write_figures
from etude.run.folder import TIMING
from etude.run.history import History
from etude.run.trials import progress

#: Where a recipe leaves the table of its results, and what is known about them:
#: `{"head": [...], "rows": [[...], ...], "about": {title: sentence}, "citations": [BibTeX]}`.
TABLE = "table.json"

CSS = """
:root{color-scheme:light dark;--ink:#1d2433;
--soft:#667085;--line:#dfe3ea;--page:#fff;--card:#f6f7f9}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--soft:#98a2b3;--line:#344054;--page:#14181f;
--card:#1d232d}img{filter:invert(.9) hue-rotate(180deg)}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;
margin:0 auto;padding:2rem 1rem}
h1{margin:0}h2{margin:2.5rem 0 .6rem;font-size:1.15rem}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}th{font-weight:600}
pre{background:var(--card);padding:1rem;border-radius:6px;overflow:auto;font-size:.85rem}
td:first-child{white-space:nowrap}
img{max-width:min(100%,50rem);display:block;margin:1rem 0}
"""


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
    title = html.escape(run.path.resolve().name)
    created = html.escape(str(run.environment.get("created", "")))
    trials = progress(run_folder)
    stands = f'<p class="soft">{html.escape(trials)}</p>' if trials else ""
    config = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{CSS}</style></head><body>
<h1>{title}</h1><p class="soft">created {created}, {len(history)} records</p>{stands}
{_experiment(run.path / TABLE)}<h2>Metrics</h2>
{_table(("metric", "last", "lowest", "highest"), _results(history))}
<h2>Figures</h2>{"".join(map(_image, figures)) or "<p>Nothing was recorded.</p>"}
<h2>Events</h2>{_table(("event", "phase", "step", "details"), map(_event, history.events))}
<h2>Configuration</h2><pre>{html.escape(config)}</pre>
<h2>Environment</h2>{_table(("", ""), [(k, _text(v)) for k, v in run.environment.items()])}
</body></html>
"""
    path = run_folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _experiment(path: Path) -> str:
    """The table of an experiment of several runs, with what is known about it, if there is one."""
    if not path.exists():
        return ""
    table = json.loads(path.read_text(encoding="utf-8"))
    # Runs of earlier versions have the table alone.
    notes = "".join(
        f'<p class="soft">{html.escape(title.capitalize())}: {html.escape(text)}</p>'
        for title, text in table.get("about", {}).items()
    )
    sources = html.escape("\n\n".join(table.get("citations", ())))
    cited = f"<h2>Citations</h2><pre>{sources}</pre>" if sources else ""
    return f"<h2>Results</h2>{_table(table['head'], table['rows'])}{notes}{cited}"


def _results(history: History) -> list[tuple[str, ...]]:
    return [
        (one.name, *(f"{number:.5g}" for number in (one.last, one.lowest, one.highest)))
        for one in history.summary()
    ]


def _event(record: Mapping[str, Any]) -> tuple[str, ...]:
    shown = ("event", "phase", "global_step", "confusion_matrix")
    rest = {key: value for key, value in record.items() if key not in shown}
    first = (str(record["event"]), str(record.get("phase", "")), str(record.get("global_step", "")))
    return (*first, _text(rest))


def _text(value: Any) -> str:
    if is_mapping(value):
        return ", ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _table(head: Sequence[str], rows: Any) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    header = f"<tr>{cells(head, 'th')}</tr>" if any(head) else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table>{header}{body}</table>"


def _image(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{content}">'
