"""One page that puts several runs beside each other: results, what differs, curves.

>>> differing({"a": {"lr": 0.1, "steps": 5}, "b": {"lr": 0.2, "steps": 5}})
{'lr': {'a': '0.1', 'b': '0.2'}}
"""

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.kinds import is_mapping
from etude.run.directory import Run
from etude.run.folder import from_recipe
from etude.run.history import History
from etude.run.listing import Listed, listed
from etude.run.overlays import colours, overlay
from etude.run.pages import image, page, table, text_of
from etude.run.trials import results_of

#: What stands where a run has no such field.
ABSENT = "-"

#: Of a run's environment: what may change its results, beside the configuration.
PARTS = ("seed", "versions", "devices", "git")


def write_comparison(runs: Sequence[Path], path: Path) -> Path:
    """Write a page that compares runs, which may be of different recipes or in training.

    It has a table of the runs; the tables of results, those of one kind in one; the fields of the
    configurations, the seeds, versions and devices that differ; and for each metric that several
    runs have a figure with a curve of each. An experiment has the curves of its first trial.

    Raises `RunError` if a folder is not a run, or its configuration or results are damaged;
    OSError if the page cannot be written.
    """
    names = _names(runs)
    opened = {name: Run.open(run, lock=False) for name, run in zip(names, runs, strict=True)}
    settings = {name: dict(_settings(run)) for name, run in opened.items()}
    parts = [
        _runs([listed(run) for run in runs], names),
        _results({name: run.path for name, run in opened.items()}),
        _differences(settings, opened),
        _curves({name: History.open(run.path) for name, run in opened.items()}),
    ]
    path.write_bytes(page(f"{len(runs)} runs", "\n".join(parts)))
    return path


def differing(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Fields that are not the same in all runs: `{field: {run: value}}`, in their order."""
    fields = dict.fromkeys(field for one in settings.values() for field in one)
    found: dict[str, dict[str, str]] = {}
    for field in fields:
        values = {
            run: text_of(one[field]) if field in one else ABSENT for run, one in settings.items()
        }
        if len(set(values.values())) > 1:
            found[field] = values
    return found


def _names(runs: Sequence[Path]) -> list[str]:
    """What tells the runs apart: their paths without the folders that they have in common."""
    paths = [run.absolute().parts for run in runs]
    shared = 0
    while all(len(parts) > shared + 1 for parts in paths) and len({p[shared] for p in paths}) == 1:
        shared += 1
    return ["/".join(parts[shared:]) for parts in paths]


def _runs(found: Sequence[Listed], names: Sequence[str]) -> str:
    head = ("", "run", "recipe", "state", "metric", "value", "when")
    rows: list[str] = []
    for number, (one, name, colour) in enumerate(
        zip(found, names, colours(len(found)), strict=True), 1
    ):
        state = f"{one.state}, {one.trials}" if one.trials else one.state
        cells = (name, one.recipe, state, one.metric, one.shown, one.when)
        texts = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        mark = f'<span class="mark" style="background:{colour}"></span>'
        rows.append(f"<tr><td>{mark}{number}</td>{texts}</tr>")
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{"".join(rows)}</table></div>'


def _results(runs: Mapping[str, Path]) -> str:
    """Tables of one head are one table, with the run in front."""
    tables: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    without: list[str] = []
    for name, run in runs.items():
        found = results_of(run)
        if found is None:
            without.append(name)
        else:
            rows = [(name, *row) for row in found["rows"]]
            tables.setdefault(tuple(found["head"]), []).extend(rows)
    shown = [
        f'<div class="wide">{table(("run", *head), rows)}</div>' for head, rows in tables.items()
    ]
    if without and tables:
        shown.append(_soft(f"Without a table of results: {', '.join(without)}."))
    return f"<h2>Results</h2>{''.join(shown)}" if tables else ""


def _differences(settings: Mapping[str, Mapping[str, Any]], opened: Mapping[str, Run]) -> str:
    around = {
        name: dict(_flat({part: run.environment.get(part) for part in PARTS}))
        for name, run in opened.items()
    }
    parts: list[str] = []
    for title, found in (("configurations", settings), ("environments", around)):
        fields = differing(found)
        parts.append(f"<h2>What differs in the {title}</h2>")
        if not fields:
            parts.append("<p>Nothing.</p>")
            continue
        rows = [(name, *(fields[field][name] for field in fields)) for name in found]
        parts.append(f'<div class="wide">{table(("run", *fields), rows)}</div>')
    return "".join(parts)


def _curves(histories: Mapping[str, History]) -> str:
    names = dict.fromkeys(name for history in histories.values() for name in history.names)
    parts, lone = ["<h2>Curves</h2>"], list[str]()
    for name in names:
        having = {run: history for run, history in histories.items() if name in history}
        if len(having) < 2:
            lone.append(name)
            continue
        curves = [
            (having[run][name], having[run].spans) if run in having else None for run in histories
        ]
        parts.append(image(name, overlay(name, curves)))
    if lone:
        parts.append(_soft(f"Of one run alone: {', '.join(lone)}."))
    if len(parts) == 1:
        parts.append("<p>No metric was recorded.</p>")
    return "".join(parts)


def _settings(run: Run) -> Iterator[tuple[str, Any]]:
    """The configuration, field by field; of a recipe its own, beside its name."""
    config = run.config
    if from_recipe(config):
        yield "recipe", config["recipe"]
        if "trial" in config and "trials" not in config:
            yield "trial", config["trial"]
        config = config["configuration"]
    yield from _flat(config)


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of groups by dotted names."""
    if is_mapping(values) and values:
        for name, value in values.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    elif prefix:
        yield prefix, values


def _soft(text: str) -> str:
    return f'<p class="soft">{html.escape(text)}</p>'
