"""The trials of an experiment, each a run of its own: which of them are finished.

The run of the first trial is in the folder of the experiment, the others are in `trials/` below it,
so the status of that folder speaks of the first trial alone.

>>> place_of(Path("runs/a"), 0, "plain-0"), place_of(Path("runs/a"), 1, "plain-1")
(PosixPath('runs/a'), PosixPath('runs/a/trials/plain-1'))
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import RunError
from etude.kinds import is_dict, is_list
from etude.run.directory import Run
from etude.run.folder import LOCK, TRIALS, from_recipe, is_run, way_on
from etude.run.history import History
from etude.run.lock import is_held
from etude.run.status import Status

#: Where a recipe leaves the table of its results, and what is known about them:
#: `{"head": [...], "rows": [[...], ...], "about": {title: sentence}, "citations": [BibTeX]}`.
TABLE = "table.json"


def place_of(root: Path, number: int, name: str) -> Path:
    """The folder of a trial of the experiment in `root`; trials are counted from 0."""
    return root / TRIALS / name if number else root


def is_trained(folder: Path, configuration: Any) -> bool:
    """Whether `folder` holds a training that is finished, with this configuration of its recipe."""
    if not _has(folder, configuration):
        return False
    status = Status.read(folder)
    if status is not None:
        return status.state == "finished"
    # A run of the first version has no status, and nothing goes on with it: it is what it is.
    with Run.open(folder, lock=False) as run:
        return not run.checkpoints.empty()


def metrics_of(found: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """What an evaluation found: scalars, which are metrics, and the rest.

    >>> metrics_of({"accuracy": 0.5, "confusion_matrix": [[3, 1]]})
    ({'accuracy': 0.5}, {'confusion_matrix': [[3, 1]]})
    """
    metrics = {name: float(value) for name, value in found.items() if np.ndim(value) == 0}
    return metrics, {name: value for name, value in found.items() if name not in metrics}


def write_results(folder: Path, found: Mapping[str, Any], split: str) -> dict[str, float]:
    """Ends the history of a trial with its evaluation, and its status with the metrics."""
    metrics, rest = metrics_of(found)
    with Run.open(folder) as run:
        run.history.append({"event": "evaluation", "split": split, "metrics": metrics, **rest})
        run.history.flush()
        status = Status.read(folder) or Status("finished")
        replace(status, results={**status.results, split: metrics}).write(folder)
    return metrics


def results_on_test(folder: Path, configuration: Any) -> dict[str, float] | None:
    """The test metrics of a trial, if it is finished and measured with this configuration."""
    if not _has(folder, configuration):
        return None
    status = Status.read(folder)
    if status is not None:
        return dict(status.results["test"]) if "test" in status.results else None
    # A run of the first version, whose history alone tells.
    for event in reversed(History.open(folder).events):
        if event["event"] == "evaluation" and event["split"] == "test":
            return {name: float(value) for name, value in event["metrics"].items()}
    return None


def results_of(run: Path) -> dict[str, Any] | None:
    """The table that a recipe has left, once all of its trials were measured.

    Raises `RunError` if it is damaged.
    """
    path = run / TABLE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not JSON: {error}. Remove it; etude resume makes it.") from None
    if not _is_table(found):
        raise RunError(f"{path} holds no table. Remove it; etude resume makes it.")
    return found


def _is_table(found: Any) -> bool:
    if not is_dict(found) or not _are_texts(found.get("head")) or not is_list(found.get("rows")):
        return False
    about = found.get("about", {})  # runs of earlier versions have the table alone
    whole = is_dict(about) and _are_texts(list(about.values()))
    return (
        whole
        and _are_texts(found.get("citations", []))
        and all(_are_texts(row) and len(row) == len(found["head"]) for row in found["rows"])
    )


def _are_texts(values: Any) -> bool:
    return is_list(values) and all(isinstance(one, str) for one in values)


def progress(root: Path) -> str | None:
    """How many trials of the experiment in `root` are finished, in a sentence.

    None if there is no experiment of several trials, or an early version made it, which did not
    write down its trials. Raises `RunError` if there is no run.
    """
    config = Run.open(root, lock=False).config
    names = config.get("trials") if from_recipe(config) else None
    if not is_list(names) or len(names) < 2:
        return None
    places = [place_of(root, number, str(name)) for number, name in enumerate(names)]
    done = sum(is_trained(place, config["configuration"]) for place in places)
    if any(is_held(place / LOCK) for place in places):
        return f"{done} of {len(names)} trials are finished, and one is in training"
    return finished_of(done, len(names), root)


def finished_of(done: int, count: int, root: Path) -> str:
    """The sentence for `done` of `count` trials, with the way on to the others.

    >>> finished_of(4, 4, Path("runs/a"))
    '4 of 4 trials are finished'
    """
    way = f"; go on with: {way_on(root)}" if done < count else ""
    return f"{done} of {count} trials are finished{way}"


def _has(folder: Path, configuration: Any) -> bool:
    """Whether `folder` holds a run with this configuration of its recipe."""
    if not is_run(folder):
        return False
    return Run.open(folder, lock=False).config.get("configuration") == configuration
