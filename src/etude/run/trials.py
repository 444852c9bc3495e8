"""The trials of an experiment, each a run of its own: which of them are finished.

The run of the first trial is in the folder of the experiment, the others are in `trials/` below it,
so the status of that folder speaks of the first trial alone.

>>> place_of(Path("runs/a"), 0, "plain-0"), place_of(Path("runs/a"), 1, "plain-1")
(PosixPath('runs/a'), PosixPath('runs/a/trials/plain-1'))
"""

from pathlib import Path
from typing import Any

from etude.run.directory import Run
from etude.run.folder import LOCK, TRIALS, from_recipe, is_run, way_on
from etude.run.lock import is_held
from etude.run.status import Status


def place_of(root: Path, number: int, name: str) -> Path:
    """The folder of a trial of the experiment in `root`; trials are counted from 0."""
    return root / TRIALS / name if number else root


def is_trained(folder: Path, configuration: Any) -> bool:
    """Whether `folder` holds a training that is finished, with this configuration of its recipe."""
    if not is_run(folder):
        return False
    with Run.open(folder, lock=False) as run:
        if run.config.get("configuration") != configuration:
            return False
        status = Status.read(folder)
        # A run of the first version has no status, and nothing goes on with it: it is what it is.
        return not run.checkpoints.empty() if status is None else status.state == "finished"


def progress(root: Path) -> str | None:
    """How many trials of the experiment in `root` are finished, in a sentence.

    None if there is no experiment of several trials, or an early version made it, which did not
    write down its trials. Raises `RunError` if there is no run.
    """
    config = Run.open(root, lock=False).config
    names = config.get("trials") if from_recipe(config) else None
    if not isinstance(names, list) or len(names) < 2:
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
