"""Writes down what happens: steps, validations, events; and how long things took."""

import warnings
from typing import Any, Literal

from etude.callbacks.base import Reason, StepMetrics
from etude.run import History, Run, Status
from etude.run.durations import What
from etude.run.history_writers import HistoryCopy, HistoryInMemory
from etude.run.status import State
from etude.run.stretches import Stretch
from etude.training.phase_visit import Visit


class Journal:
    """The history of a training, in its run directory or in memory.

    What is written is a pure function of the training, without times of day, so that a resumed
    run leaves the same file as one that was never interrupted. Durations go to a file of their
    own, and so does how the training stands.
    """

    def __init__(self, run: Run | None, on_full_disk: Literal["stop", "continue"] = "stop"):
        self.run, self.on_full_disk = run, on_full_disk
        self._warned = False
        #: whether anything was written in this sitting, and the steps that the run has
        self.begun, self.steps_made = False, 0
        self.history = HistoryInMemory() if run is None else run.history

    def steps(self, visit: Visit, metrics: StepMetrics) -> None:
        """A chunk of steps."""
        self._begin(visit)
        names = tuple(f"train/{name}" for name in metrics.names)
        phase, first = visit.phase, metrics.first
        head = Stretch(
            phase.name, visit.number, first, first + visit.origin, phase.steps_per_epoch, names
        )
        self.history.append_steps(head, metrics.rows)
        self._flush()

    def validation(self, visit: Visit, metrics: dict[str, Any]) -> None:
        """A validation."""
        self._begin(visit)
        self.history.append(self._place(visit) | metrics)

    def event(self, visit: Visit, what: str, **details: Any) -> None:
        """Something that happened."""
        self._begin(visit)
        self.history.append(self._place(visit) | {"event": what} | details)
        self._flush()

    def end(self, visit: Visit, reason: Reason) -> None:
        """The end of a visit, with what there is to say about its reason."""
        if unmeasured := visit.without_best():
            warnings.warn(f"Phase {visit.phase.name!r}: {unmeasured}", stacklevel=2)
        detail = "; ".join(filter(None, [visit.detail, unmeasured]))
        self.event(visit, "phase_end", reason=reason.name, **({"detail": detail} if detail else {}))

    def stands(self, state: State, reason: str = "") -> None:
        """Writes how the training stands. Raises OSError, or RunLostError without its folder."""
        if self.run is not None:
            self.run.ensure_in_place()
            Status(state, reason, self.steps_made).write(self.run.path)

    def took(self, visit: Visit, what: What, seconds: float, steps: int = 0) -> None:
        """How long something took."""
        if self.run is not None:
            self.run.timing.append(
                phase=visit.phase.name, step=visit.step, what=what, steps=steps, seconds=seconds
            )

    def written(self) -> History:
        """Everything written, apart from what happens to the run later; after it is closed."""
        if isinstance(self.history, HistoryInMemory):
            return History(self.history)
        try:
            return History(HistoryCopy.of(self.history.path, self.history.waiting()))
        except OSError as error:
            warnings.warn(f"The history cannot be read: {error}. It is left out.", stacklevel=3)
            return History(HistoryInMemory())

    def failed(self, error: Exception) -> None:
        """Something could not be written: raises `error`, or warns, once in a training.

        Raises RunLostError instead if the folder of the run is gone.
        """
        if self.run is not None:
            self.run.ensure_in_place()
        if self.on_full_disk == "stop":
            raise error
        if not self._warned:
            self._warned = True
            text = (
                f"{error} The training goes on without it and tries again; "
                "failures after this one are not told."
            )
            warnings.warn(text, stacklevel=3)

    def _begin(self, visit: Visit) -> None:
        """The history grows: the run is in training, whatever it was before."""
        self.steps_made = visit.global_step
        if not self.begun:
            self.begun = True
            try:
                self.stands("training")
            except OSError as error:
                self.failed(error)

    def _flush(self) -> None:
        """Writes what is pending; on a full disk it is kept for the next time, or raised."""
        if self.run is not None:
            self.run.ensure_in_place()  # what is written to a deleted file is lost without an error
        try:
            self.history.flush()
            if self.run is not None:
                self.run.timing.flush()
        except OSError as error:
            self.failed(error)

    def _place(self, visit: Visit) -> dict[str, Any]:
        per_epoch = visit.phase.steps_per_epoch
        epoch = max(visit.step - 1, 0) // per_epoch if per_epoch else 0
        return {
            "phase": visit.phase.name,
            "visit": visit.number,
            "step": visit.step,
            "epoch": epoch,
            "global_step": visit.global_step,
        }
