"""Runs in a few words each: recipe, state, main metric, when.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp())
>>> Run.create(folder / "mine", {}, seed=0).close()
>>> [(listed(run).recipe, listed(run).state) for run in runs_in(folder)]
[('', 'unknown')]
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from etude.errors import RunError
from etude.kinds import is_list
from etude.run.directory import Run
from etude.run.folder import LOCK, POPULATIONS, TRIALS, from_recipe, is_run
from etude.run.history import History
from etude.run.lock import is_held
from etude.run.status import Status
from etude.run.trials import is_trained, place_of, results_of

#: Of a run: "killed" ended without a word, "unknown" is of an early version or never began, and
#: "damaged" cannot be read.
State = Literal["training", "finished", "interrupted", "failed", "killed", "unknown", "damaged"]
STATES: tuple[State, ...] = get_args(State)
#: Those of a population that an experiment has as well.
_UNFINISHED: tuple[State, ...] = ("killed", "failed", "interrupted")


@dataclass(frozen=True)
class Listed:
    """A run in a few words.

    Attributes:
        path: its folder.
        recipe: the recipe that made it; "" if none did.
        state: that of the training; of an experiment "finished" once all of its trials are.
        trials: how many trials of an experiment are finished, of how many, as "2 of 4"; "" of one
            training.
        metric: name of the main metric: the first column of the recipe's table; else the first
            test metric, the lowest validation loss, or the lowest training loss; "" if none.
        shown: its value as text, with a spread if there is one.
        value: the same as a number; NaN if there is none.
        when: it ended, or stood so, in UTC; its creation if nothing tells.
        problem: of a damaged run, what is wrong.
    """

    path: Path
    recipe: str = ""
    state: State = "unknown"
    trials: str = ""
    metric: str = ""
    shown: str = ""
    value: float = float("nan")
    when: str = ""
    problem: str = ""


def runs_in(folder: Path) -> list[Path]:
    """The runs in and below a folder, by name; of a run itself also its trials.

    Trials are part of the run that they are in. A link to a run is one; others are not followed.
    Folders that may not be read are passed over.
    """
    if is_run(folder):
        place = folder / TRIALS
        inner = sorted(place.iterdir()) if place.is_dir() else []
        return [folder, *(trial for trial in inner if is_run(trial))]
    found: list[Path] = []
    for place, names, _ in os.walk(folder):
        names.sort()
        below = [name for name in names if not name.startswith(".")]
        runs = [name for name in below if _is_readable_run(Path(place, name))]
        found += [Path(place, name) for name in runs]
        names[:] = [name for name in below if name not in runs]
    return sorted(found)


def _is_readable_run(folder: Path) -> bool:
    try:
        return is_run(folder)
    except PermissionError:
        return False


def listed(run: Path) -> Listed:
    """What is known of a run; nothing that is wrong with it raises an error."""
    try:
        return _listed(run)
    except (RunError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        return Listed(run, state="damaged", problem=str(error))


def _listed(run: Path) -> Listed:
    opened = Run.open(run, lock=False)
    config, status = opened.config, Status.read(run)
    state: State = _state(run, status)
    trials = ""
    names = config.get("trials") if from_recipe(config) else None
    if is_list(names) and len(names) > 1:
        places = [place_of(run, number, str(name)) for number, name in enumerate(names)]
        done = sum(is_trained(place, config["configuration"]) for place in places)
        trials = f"{done} of {len(names)}"
        crowds = _populations(run)
        if any(is_held(place / LOCK) for place in [*places, *crowds]):
            state = "training"
        elif state in ("finished", "unknown") and done < len(names):
            # Before a population has ended, none of its trials has a word of its own.
            told = {_state(place, Status.read(place)) for place in crowds}
            unfinished: list[State] = [one for one in _UNFINISHED if one in told]
            if told or state == "finished":
                state = unfinished[0] if unfinished else "interrupted"
    metric, shown, value = _metric(run, status)
    when = str(opened.environment.get("created", "")) if status is None else status.when
    recipe = str(config["recipe"]) if from_recipe(config) else ""
    return Listed(run, recipe, state, trials, metric, shown, value, when)


def _state(run: Path, status: Status | None) -> State:
    """That of the training in a folder, of which the status may be out of date."""
    if status is None:
        return "unknown"
    if status.state == "training" and not is_held(run / LOCK):
        return "killed"
    return status.state


def _populations(run: Path) -> list[Path]:
    """The runs of the populations in which the trials of an experiment are trained."""
    place = run / POPULATIONS
    return [one for one in sorted(place.iterdir()) if is_run(one)] if place.is_dir() else []


def _metric(run: Path, status: Status | None) -> tuple[str, str, float]:
    """Name, text and value of the main metric."""
    table = results_of(run)
    if table is not None and table["rows"] and len(table["head"]) > 1:
        name, cell = table["head"][1], table["rows"][0][1]
        return name, cell, _number(cell.partition(" ")[0])
    if status is not None and status.results.get("test"):
        name, value = next(iter(status.results["test"].items()))
        return f"test/{name}", f"{value:.5g}", value
    found = {one.name: one for one in History.open(run).summary()}
    for name in ("valid/loss", "train/loss"):
        if name in found:
            return f"{name}, lowest", f"{found[name].lowest:.5g}", found[name].lowest
    return "", "", float("nan")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
