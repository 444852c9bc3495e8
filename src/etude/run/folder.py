"""The folder of a run: whether one may be made there, and what goes when it is overwritten.

>>> import tempfile
>>> is_run(Path(tempfile.mkdtemp()))
False
"""

import contextlib
import difflib
import os
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Any

from etude.errors import RunError
from etude.run.checkpoints.folder import SHARED, array_folders, remove_folder
from etude.run.lock import Lock
from etude.run.status import STATUS
from etude.yaml_reader import read_yaml

CONFIG, ENVIRONMENT, LOCK = "config.yaml", "environment.json", "lock"
HISTORY, TIMING = "history.jsonl", "timing.jsonl"
LEDGER = "checkpoints.log"
FOLDERS = ("checkpoints", "figures")
#: Folder of all trials but the first, in the folder of an experiment.
TRIALS = "trials"
#: Where the runs of the populations that trials were trained in are.
POPULATIONS = "populations"

# What a training, its callbacks and its report leave beside checkpoints: an overwriting run removes
# these and nothing else, so that what a user keeps in the folder stays.
RESULTS = (
    HISTORY, f"{HISTORY}.tmp", "history.bin", TIMING, STATUS, f"{STATUS}.tmp", LEDGER,
    f"{CONFIG}.tmp",
    "report.html", "table.json", "metrics.csv",
    "figures/*.png", "tensorboard/events.out.*",
    "detections/*/triggers.csv", "detections/*/detection.png",
)  # fmt: skip

#: The files of a checkpoint add up to about 300 bytes to the path of their run.
ROOM = 500


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run: `environment.json` is written last when one is created."""
    return (folder / ENVIRONMENT).is_file() and (folder / CONFIG).is_file()


def from_recipe(config: Any) -> bool:
    """Whether the configuration of a run says which recipe made it: the command line can go on."""
    return isinstance(config, dict) and "recipe" in config and "configuration" in config


def way_on(folder: Path, options: str = "", arguments: str = "") -> str:
    """How to go on with the run in `folder`: on the command line if it began there, or in Python.

    `options` are of the command, `arguments` of the method.

    >>> way_on(Path("runs/of my own"))
    'trainer.resume()'
    """
    try:
        config = read_yaml((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if config is not None and from_recipe(config):
        # A recipe that no package offers is named again: a run folder may not choose a module.
        named = f" --recipe {config['recipe']}" if ":" in str(config["recipe"]) else ""
        return f"etude resume {shlex.quote(str(_from_here(folder)))}{named}{options}"
    return f"trainer.resume({arguments})"


def _from_here(folder: Path) -> Path:
    """The shorter path of a folder below the working directory."""
    try:
        return folder.relative_to(Path.cwd())
    except (ValueError, OSError):  # it is elsewhere, or the working directory is gone
        return folder


@contextlib.contextmanager
def explained(folder: Path, what: str) -> Generator[None, None, None]:
    """Errors of the system become a RunError that says which folder it is about."""
    try:
        yield
    except OSError as error:
        place = "" if error.filename in (None, str(folder)) else f" ({error.filename})"
        raise RunError(
            f"The run {folder} cannot be {what}: {error.strerror}{place}. "
            "Choose a folder that you may write, on a disk with free space."
        ) from error


def refuse_unless_free(folder: Path, *, overwrite: bool) -> None:
    """Raise RunError unless a run may be made in `folder`."""
    longest = os.pathconf("/", "PC_PATH_MAX") - ROOM
    if len(os.fsencode(folder)) > longest or "\0" in str(folder):
        raise RunError(
            f"No run can be made at {str(folder)[:60]!r}...: the path has "
            f"{len(os.fsencode(folder))} bytes, and may have {longest}, none of them zero."
        )
    if folder.is_file():
        raise RunError(f"{folder} is a file: give the run another name")
    if is_run(folder):
        if overwrite:
            return
        raise RunError(
            f"{folder} holds a run already: go on with it ({way_on(folder)}), give the new "
            "one another name, or replace it (overwrite=True, --overwrite)"
        )
    entries = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not _is_unfinished(folder, entries):
        raise RunError(
            f"{folder} is not empty and not a run (it has {', '.join(entries[:3])}): "
            "nothing there is touched; give the run another name"
        )


def _is_unfinished(folder: Path, entries: list[str]) -> bool:
    """Whether `folder` holds no work of a training: absent, empty, or left by a creation cut off.

    A creation begins with the lock. The user's own files may lie beside it, where one overwrote a
    run.
    """
    if not entries:
        return True
    results = any(any(folder.glob(pattern)) for pattern in RESULTS)
    return _was_locked(folder / LOCK) and not results and not array_folders(folder / "checkpoints")


def _was_locked(path: Path) -> bool:
    """Whether a file is what a Lock leaves: the number of a process, or nothing as yet."""
    content = path.read_bytes()[:32].strip() if path.is_file() else b"none"
    return not content or content.isdigit()


def remove_run(folder: Path) -> None:
    """Remove what trainings wrote into `folder`, its trials and populations included.

    Raises LockedError, before anything is removed, while another training writes one of them.
    """
    places = [place for name in (TRIALS, POPULATIONS) if (place := folder / name).is_dir()]
    trials = [path for place in places for path in place.iterdir() if is_run(path)]
    with contextlib.ExitStack() as held:
        for trial in trials:
            held.callback(Lock(trial / LOCK).release)
        for run in [*trials, folder]:
            _remove_results(run)
    for trial in trials:
        if [path.name for path in trial.iterdir()] == [LOCK]:  # else it tells whose folder it is
            (trial / LOCK).unlink()
        _remove_empty(trial)
    for place in places:
        _remove_empty(place)


def _remove_results(folder: Path) -> None:
    """Remove results and checkpoints, and last, in case of a kill, what makes `folder` a run."""
    for path in array_folders(folder / "checkpoints"):
        remove_folder(path)
    found = [path for pattern in RESULTS for path in folder.glob(pattern)]
    for path in [*found, folder / ENVIRONMENT, folder / f"{ENVIRONMENT}.tmp", folder / CONFIG]:
        path.unlink(missing_ok=True)
    places = {path.parent for path in found} | {folder / name for name in FOLDERS}
    places.add(folder / "checkpoints" / SHARED)
    for path in sorted(places - {folder}, reverse=True):  # inner ones first
        _remove_empty(path)
        _remove_empty(path.parent)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless the user's own files are in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def not_a_run(folder: Path) -> str:
    """What there is instead of a run in `folder`, and which runs are beside it."""
    siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
    names = sorted(path.name for path in siblings if is_run(path))
    close = difflib.get_close_matches(folder.name, names) or names[:5]
    if (folder / "search.yaml").is_file():
        return (
            f"{folder} is a search, not a run: its best setting is in {folder / 'best.yaml'}, its "
            f"trials are runs in {folder / 'trials'}, and etude report {folder} shows it."
        )
    state = "is not a run (it lacks environment.json)" if folder.exists() else "is not there"
    there = f"Runs beside it: {', '.join(close)}." if close else "No runs are beside it."
    return f"{folder} {state}. {there}"
