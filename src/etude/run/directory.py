"""The folder of one training.

    config.yaml  environment.json  status.json  history.jsonl  history.bin  timing.jsonl
    checkpoints/  checkpoints.log  figures/  lock

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp()) / "example"
>>> with Run.create(folder, {"epochs": 3}, seed=0) as run:
...     run.history.append({"event": "begin"})
>>> with Run.open(folder) as run:
...     run.config
{'epochs': 3}
"""

import contextlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from etude.errors import RunError, RunLostError
from etude.kinds import is_dict
from etude.run.checkpoints import CheckpointStore
from etude.run.durations import Durations
from etude.run.environment import environment
from etude.run.folder import (
    CONFIG,
    ENVIRONMENT,
    FOLDERS,
    HISTORY,
    LEDGER,
    LOCK,
    TIMING,
    explained,
    is_run,
    not_a_run,
    refuse_unless_free,
    remove_run,
)
from etude.run.history_writers import HistoryFile
from etude.run.lock import Lock, refuse_without_locks
from etude.yaml_reader import YamlError, read_yaml


class Run:
    """The run in one folder, locked for writing by this training until `close`.

    Make one with `Run.create` or `Run.open`. What only reads a run (a report, an evaluation of
    its checkpoints) opens it with `lock=False`, and reads the history with `History.open`.
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

        Of a run that is overwritten, only what a training and its reports write is removed.

        Raises RunError if there is something else, if the folder cannot be written, if `config`
        is not plain YAML, or on Windows, and LockedError while another training writes a run there.
        """
        refuse_without_locks()
        text = _as_yaml(folder, config or {})
        folder = Path(folder).absolute()
        with explained(folder, "made"), contextlib.ExitStack() as undo:
            refuse_unless_free(folder, overwrite=overwrite)
            # First, because it takes a while, and a kill should find the folder whole or absent.
            facts = json.dumps(environment(seed), indent=2) + "\n"
            folder.mkdir(parents=True, exist_ok=True)
            lock = Lock(folder / LOCK)
            undo.callback(lock.release)
            refuse_unless_free(folder, overwrite=overwrite)  # another may have made one meanwhile
            remove_run(folder)
            for name in FOLDERS:
                (folder / name).mkdir(exist_ok=True)
            (folder / CONFIG).write_text(text, encoding="utf-8")
            (folder / f"{ENVIRONMENT}.tmp").write_text(facts)
            (folder / f"{ENVIRONMENT}.tmp").rename(folder / ENVIRONMENT)
            undo.pop_all()
        return cls(folder, lock)

    @classmethod
    def open(cls, folder: str | Path, *, lock: bool = True) -> "Run":
        """Open the run in `folder`: to go on writing it, or with `lock=False` to read it.

        Raises RunError, with similar names, if there is no run or if it cannot be written, as on
        Windows, and LockedError while another training writes it.
        """
        if lock:
            refuse_without_locks()
        folder = Path(folder).absolute()
        with explained(folder, "opened"):
            if not is_run(folder):
                raise RunError(not_a_run(folder))
            return cls(folder, Lock(folder / LOCK) if lock else None)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration that the run was created with; RunError if it was made unreadable."""
        path = self.path / CONFIG
        try:
            return read_yaml(path.read_text(encoding="utf-8")) or {}
        except (YamlError, UnicodeDecodeError) as error:
            raise RunError(
                f"The configuration {path} is not YAML: {error}. Put back what was there."
            ) from None

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, devices, seed and commit of its creation; RunError if it was damaged."""
        path = self.path / ENVIRONMENT
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} is not JSON: {error}. Put back what was there.") from None
        if not is_dict(found):
            raise RunError(f"{path} holds no JSON object. Put back what was there.")
        return found

    @cached_property
    def checkpoints(self) -> CheckpointStore:
        """Its checkpoints."""
        store = CheckpointStore(
            self.path / "checkpoints",
            ledger=self.path / LEDGER,
            beside_writer=self._lock is None,
        )
        self._closing.callback(store.close)
        return store

    @cached_property
    def history(self) -> HistoryFile:
        """Its history, for appending."""
        return self._closing.enter_context(contextlib.closing(HistoryFile(self._writable(HISTORY))))

    @cached_property
    def timing(self) -> Durations:
        """Its times, for appending."""
        return self._closing.enter_context(contextlib.closing(Durations(self._writable(TIMING))))

    def configure(self, config: Mapping[str, Any]) -> None:
        """Replace the configuration: the run goes on with another one.

        Raises RunError if it is not plain YAML.
        """
        text = _as_yaml(self.path, config)
        temporary = self._writable(f"{CONFIG}.tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(self.path / CONFIG)
        self.__dict__.pop("config", None)  # it was cached

    @property
    def writes(self) -> bool:
        """Whether this process writes the run, and not only reads it."""
        return self._lock is not None

    @property
    def figures(self) -> Path:
        """The folder of its figures."""
        return self.path / "figures"

    def ensure_in_place(self) -> None:
        """Raise RunLostError if the folder of a run that is being written is no longer there."""
        if self._lock is not None and not self._lock.in_place():
            raise RunLostError(
                f"The folder of the run, {self.path}, was deleted, moved or replaced during the "
                "training, so that nothing can be saved there. If it was moved, go on from its "
                "last checkpoint at its new place; if it was deleted, begin again."
            )

    def close(self) -> None:
        """Wait for the last checkpoint, write what is pending, release the lock."""
        try:
            self._closing.close()
        finally:
            self._lock = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _writable(self, name: str) -> Path:
        if self._lock is None:
            raise RunError(
                f"{self.path} was opened for reading: read {name} with History.open or "
                "Durations.read, or open the run with lock=True"
            )
        return self.path / name


def _as_yaml(folder: Path, config: Mapping[str, Any]) -> str:
    """A configuration as text. Raises RunError if it is not plain."""
    try:
        return yaml.safe_dump(dict(config), sort_keys=False)
    except yaml.YAMLError as error:
        raise RunError(
            f"The configuration of run {folder} cannot be written as YAML: {error}. "
            "Use plain numbers, texts, lists and mappings."
        ) from None
