"""The folder of one training.

    config.yaml  environment.json  history.jsonl  timing.jsonl  checkpoints/  checkpoints.log
    figures/  lock

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp()) / "example"
>>> with Run.create(folder, {"epochs": 3}, seed=0) as run:
...     run.history.append({"event": "begin"})
>>> with Run.open(folder) as run:
...     run.config
{'epochs': 3}
"""

import contextlib
import difflib
import json
import shlex
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from etude.run.checkpoint import CheckpointStore
from etude.run.environment import environment
from etude.run.history import History
from etude.run.lock import Lock
from etude.run.timing import Timing

CONFIG, ENVIRONMENT, LOCK = "config.yaml", "environment.json", "lock"
LEDGER = "checkpoints.log"
FOLDERS = ("checkpoints", "figures")


class RunError(ValueError):
    """A folder that cannot be made a run, or is none; the message says the cure."""


class Run:
    """The run in one folder, locked for writing by this process until `close`.

    Make one with `Run.create` or `Run.open`. What only reads a run (a report, an evaluation of
    its checkpoints) opens it with `lock=False` and reads the history with `History.read`.
    """

    def __init__(self, path: Path, lock: Lock | None) -> None:
        self.path = path
        self._lock = lock
        self._closing = contextlib.ExitStack()
        if lock is not None:
            self._closing.callback(lock.release)

    @classmethod
    def create(
        cls, folder: Path, config: Mapping[str, Any] | None, seed: int, overwrite: bool = False
    ) -> "Run":
        """Make a new run in `folder`, which is absent or empty, or a run if `overwrite`.

        Raises RunError if there is something else, or if `config` is not plain YAML, and
        LockedError while another process writes a run there.
        """
        try:
            text = yaml.safe_dump(dict(config or {}), sort_keys=False)
        except yaml.YAMLError as error:
            raise RunError(
                f"The configuration of run {folder} cannot be written as YAML: {error}. "
                "Use plain numbers, texts, lists and mappings."
            ) from None
        if folder.is_file():
            raise RunError(f"{folder} is a file: give the run another name")
        entries = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        if is_run(folder) and not overwrite:
            raise RunError(
                f"{folder} holds a run already: go on with it ({way_on(folder)}), give the new "
                "one another name, or replace it (overwrite=True, --overwrite)"
            )
        if not is_run(folder) and not _is_unfinished(folder, entries):
            raise RunError(
                f"{folder} is not empty and not a run (it has {', '.join(entries[:3])}): "
                "nothing there is touched; give the run another name"
            )
        # First, because it takes a while, and a kill should find the folder whole or absent.
        facts = json.dumps(environment(seed), indent=2) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / LOCK)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
        for name in FOLDERS:
            (folder / name).mkdir()
        (folder / CONFIG).write_text(text, encoding="utf-8")
        (folder / f"{ENVIRONMENT}.tmp").write_text(facts)
        (folder / f"{ENVIRONMENT}.tmp").rename(folder / ENVIRONMENT)
        return cls(folder, lock)

    @classmethod
    def open(cls, folder: Path, *, lock: bool = True) -> "Run":
        """Open the run in `folder`: to go on writing it, or with `lock=False` to read it.

        Raises RunError, with similar names, if there is no run, and LockedError while another
        process writes it.
        """
        if not is_run(folder):
            siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
            names = sorted(path.name for path in siblings if is_run(path))
            close = difflib.get_close_matches(folder.name, names) or names[:5]
            state = (
                "is not a run (it lacks environment.json)" if folder.exists() else "is not there"
            )
            there = f"Runs beside it: {', '.join(close)}." if close else "No runs are beside it."
            raise RunError(f"{folder} {state}. {there}")
        return cls(folder, Lock(folder / LOCK) if lock else None)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration that the run was created with."""
        return yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, devices, seed and commit of its creation."""
        return json.loads((self.path / ENVIRONMENT).read_text())

    @cached_property
    def checkpoints(self) -> CheckpointStore:
        """Its checkpoints."""
        store = CheckpointStore(self.path / "checkpoints", ledger=self.path / LEDGER)
        self._closing.callback(store.close)
        return store

    @cached_property
    def history(self) -> History:
        """Its history, for appending."""
        return self._closing.enter_context(
            contextlib.closing(History(self._writable("history.jsonl")))
        )

    @cached_property
    def timing(self) -> Timing:
        """Its times, for appending."""
        return self._closing.enter_context(
            contextlib.closing(Timing(self._writable("timing.jsonl")))
        )

    def configure(self, config: Mapping[str, Any]) -> None:
        """Replace the configuration: the run goes on with another one."""
        text = yaml.safe_dump(dict(config), sort_keys=False)
        temporary = self._writable(f"{CONFIG}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(self.path / CONFIG)
        self.__dict__.pop("config", None)  # it was cached

    @property
    def figures(self) -> Path:
        """The folder of its figures."""
        return self.path / "figures"

    def close(self) -> None:
        """Wait for the last checkpoint, write what is pending, release the lock."""
        self._closing.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _writable(self, name: str) -> Path:
        if self._lock is None:
            raise RunError(
                f"{self.path} was opened for reading: use History.read or Timing.read on "
                f"{self.path / name}, or open it with lock=True"
            )
        return self.path / name


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
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        config = None
    if from_recipe(config):
        return f"etude resume {shlex.quote(str(folder))}{options}"
    return f"trainer.resume({arguments})"


def _is_unfinished(folder: Path, entries: list[str]) -> bool:
    """Whether a folder holds no more than a creation that was cut off leaves, which is no work."""
    ours = {CONFIG, LOCK, f"{ENVIRONMENT}.tmp", *FOLDERS}
    return set(entries) <= ours and not any(
        path.is_dir() and any(path.iterdir()) for path in map(folder.joinpath, entries)
    )


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run: `environment.json` is written last when one is created."""
    return (folder / ENVIRONMENT).is_file() and (folder / CONFIG).is_file()
