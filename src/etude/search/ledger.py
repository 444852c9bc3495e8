"""The trials of a search: who works on which, what came of them, and those whose worker died.

A worker holds a file of its own locked for as long as it lives, and a trial names its worker from
the moment it is there. A trial whose worker is dead is taken over as it is: it keeps its number,
its folder and what it has reported, so that it is neither lost nor repeated.
"""

import contextlib
import math
import os
import secrets
import socket
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import ConfigurationError
from etude.run.lock import Lock, is_held
from etude.search.backend import BEAT, locked, optuna_or_refuse
from etude.search.proposing import Setting, Tried
from etude.search.space import Space, key_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

#: So many deaths of its workers, as for lack of memory, make a trial a failure.
DEATHS = 5
#: So many failures, and no success before them, end a search.
FAILURES = 3

Propose = Callable[["Sequence[FrozenTrial]", Tried], Setting | None]


@dataclass(frozen=True)
class Taken:
    """A trial that this worker works on; `again` if another one has begun it."""

    number: int
    setting: Setting
    again: bool


class Ledger:
    """The trials in a storage, as one worker sees and writes them.

    `folder` is that of the search; None if the storage is the memory of this process.
    """

    def __init__(
        self,
        storage: "BaseStorage",
        study: str,
        space: Space,
        folder: Path | None,
        pruner: "BasePruner | None" = None,
    ):
        self.storage, self.study, self.space, self.folder = storage, study, space, folder
        self.pruner = pruner
        self.worker = f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(4)}"
        self._lock: Lock | None = None

    def __enter__(self) -> "Ledger":
        if self.folder is not None:
            (self.folder / "workers").mkdir(exist_ok=True)
            self._lock = Lock(self._file_of(self.worker))
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._file_of(self.worker).unlink(missing_ok=True)
            self._lock.release()

    def trials(self) -> "list[FrozenTrial]":
        """All trials, by number."""
        return self._study().get_trials(deepcopy=False)

    def take(self, propose: Propose, budget: int | None) -> Taken | None:
        """The next trial to work on; None if there are `budget` trials, or no setting is left.

        A setting that a finished trial has becomes a trial with the same outcome at once, and the
        next one is looked for. Raises `ConfigurationError` if all trials so far have failed.
        """
        with self.alone():
            while True:
                trials = self.trials()
                for trial in trials:
                    left = not trial.state.is_finished() and self._is_dead(trial)
                    if left and (taken := self._adopted(trial)):
                        return taken
                self._refuse_failures(trials)
                if budget is not None and len(trials) >= budget:
                    return None
                finished = {self._key(t): t for t in reversed(trials) if t.state.is_finished()}
                running = {self._key(t) for t in trials if not t.state.is_finished()}
                setting = propose(trials, Tried(finished, running))
                if setting is None:
                    return None
                twin = finished.get(key_of(setting))
                number = self._add(setting, twin)
                if twin is None:
                    return Taken(number, setting, again=False)

    def done(self, taken: Taken, values: Sequence[float]) -> None:
        """The trial has a value: the mean of several."""
        mean = math.fsum(values) / len(values)
        self._note(taken.number, "values", [float(value) for value in values])
        self._study().tell(taken.number, mean)

    def ended(self, taken: Taken, how: str, why: str) -> None:
        """The trial has no value: it was "pruned", is "diverged" or has "failed"."""
        states = optuna_or_refuse().trial.TrialState
        self._note(taken.number, "end", [how, why])
        # One that diverged is told as pruned: TPE learns from it, as it does not from a failure.
        self._study().tell(taken.number, state=states.FAIL if how == "failed" else states.PRUNED)

    def released(self, taken: Taken) -> None:
        """The worker leaves the trial for later, in good order."""
        with contextlib.suppress(Exception):  # it counts as a death then
            self._note(taken.number, "deaths", self._attributes(taken.number).get("deaths", 0) - 1)

    def report(self, number: int, step: int, value: float) -> bool:
        """Notes an intermediate value; whether the trial shall be pruned.

        One that is not finite cannot be compared: whether it ends the training is the trainer's
        matter.
        """
        if not math.isfinite(value):
            return False
        trial = optuna_or_refuse().trial.Trial(self._study(), self._id_of(number))
        if step not in self.storage.get_trial(self._id_of(number)).intermediate_values:
            trial.report(value, step)
        return bool(trial.should_prune())  # of NumPy, which is no JSON

    @contextlib.contextmanager
    def alone(self) -> Generator[None, None, None]:
        """Within, no other worker on this host takes a trial, or says which is best."""
        if self.folder is None:
            yield
            return
        with locked(self.folder / "workers" / "lock"):
            yield

    @contextlib.contextmanager
    def alive(self, taken: Taken) -> Generator[None, None, None]:
        """Within, a storage that has a heartbeat is told that the trial is worked on."""
        storage, stopped = self._with_heartbeat(), threading.Event()
        if storage is None:
            yield
            return
        number = self._id_of(taken.number)

        def beat() -> None:
            while not stopped.wait(BEAT):
                with contextlib.suppress(Exception):  # the database is away for a while
                    storage.record_heartbeat(number)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _add(self, setting: Setting, twin: "FrozenTrial | None") -> int:
        """A new trial, in one record, so that none is ever there by half."""
        optuna = optuna_or_refuse()
        token = secrets.token_hex(8)
        attributes: dict[str, Any] = {"token": token, "worker": self.worker, "deaths": 0}
        state, value, reported = optuna.trial.TrialState.RUNNING, None, None
        if twin is not None:
            state, value, reported = twin.state, twin.value, twin.intermediate_values
            same = twin.user_attrs.get("same_as", twin.number)
            kept = {k: v for k, v in twin.user_attrs.items() if k in ("values", "end")}
            attributes |= kept | {"same_as": same}
        study = self._study()
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value,
                params=self.space.encoded(setting),
                distributions=self.space.distributions(),
                user_attrs=attributes,
                intermediate_values=reported,
            )
        )
        # Its number is told by nobody, and another host may have added one meanwhile.
        number = next(
            trial.number
            for trial in reversed(study.get_trials(deepcopy=False))
            if trial.user_attrs.get("token") == token
        )
        self._beat(number)
        return number

    def _adopted(self, trial: "FrozenTrial") -> Taken | None:
        """A trial whose worker died, now ours; None after too many deaths."""
        setting = self.space.decoded(trial.params)
        taken = Taken(trial.number, setting, again=True)
        deaths = trial.user_attrs.get("deaths", 0) + 1
        if deaths >= DEATHS:
            self.ended(taken, "failed", f"its worker died {deaths} times; too little memory?")
            return None
        self._note(trial.number, "deaths", deaths)
        before = str(trial.user_attrs.get("worker", ""))
        self._note(trial.number, "worker", self.worker)
        self._beat(trial.number)
        if self.folder is not None and before:
            self._file_of(before).unlink(missing_ok=True)  # a kill leaves it
        return taken

    def _is_dead(self, trial: "FrozenTrial") -> bool:
        """Whether nobody works on a trial that is not finished.

        On its own host, and in a folder that hosts share, the lock of its worker tells. Of another
        host, the heartbeat of the storage has to have stopped as well, if it has one: not every
        shared folder shares locks.
        """
        worker = str(trial.user_attrs.get("worker", ""))
        if self.folder is None or worker == self.worker:
            return worker != self.worker
        if is_held(self._file_of(worker)):
            return False
        storage = self._with_heartbeat()
        if worker.partition(":")[0] == socket.gethostname() or storage is None:
            return True
        stale = storage._get_stale_trial_ids(self._study_id)  # pyright: ignore[reportPrivateUsage]
        return trial._trial_id in stale  # pyright: ignore[reportPrivateUsage]

    def _beat(self, number: int) -> None:
        """A sign of life, at once: a trial that never gave one would never count as left."""
        storage = self._with_heartbeat()
        if storage is not None:
            storage.record_heartbeat(self._id_of(number))

    def _with_heartbeat(self) -> "RDBStorage | None":
        from optuna.storages import RDBStorage

        return self.storage if isinstance(self.storage, RDBStorage) else None

    def _refuse_failures(self, trials: "Sequence[FrozenTrial]") -> None:
        ends = [t.user_attrs.get("end", [""]) for t in trials if t.state.is_finished()]
        if len(ends) >= FAILURES and all(end[0] == "failed" for end in ends):
            raise ConfigurationError(
                f"All {len(ends)} trials so far have failed, the last one so: {ends[-1][1]}"
            )

    def _study(self) -> "Study":
        """Made anew, for it remembers the trials that it has seen."""
        return optuna_or_refuse().load_study(
            study_name=self.study, storage=self.storage, pruner=self.pruner,
            sampler=optuna_or_refuse().samplers.RandomSampler(),
        )  # fmt: skip

    @property
    def _study_id(self) -> int:
        return self.storage.get_study_id_from_name(self.study)

    def _id_of(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _attributes(self, number: int) -> Mapping[str, Any]:
        return self.storage.get_trial(self._id_of(number)).user_attrs

    def _note(self, number: int, name: str, value: Any) -> None:
        self.storage.set_trial_user_attr(self._id_of(number), name, value)

    def _key(self, trial: "FrozenTrial") -> str:
        return key_of(self.space.decoded(trial.params))

    def _file_of(self, worker: str) -> Path:
        assert self.folder is not None
        return self.folder / "workers" / worker.replace("/", "-")
