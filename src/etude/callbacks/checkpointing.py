"""When to save, and which checkpoints to keep."""

import time
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from etude.callbacks.base import Callback, Event, Request, Save
from etude.callbacks.watching import Reported, unknown_metric
from etude.engine.direction import Mode, better, cost, mode_of
from etude.engine.numbers import is_count
from etude.engine.phase import Epochs, Seconds, Steps
from etude.errors import ConfigurationError
from etude.kinds import is_a

MINUTE = Seconds(60)
#: The last checkpoint, and one to spare if it is damaged.
SPARE = 2


class ModelCheckpoint(Callback):
    """Saves the whole state now and then, and keeps the last and the best.

    Args:
        every: `Steps(n)`, `Epochs(n)` or `Seconds(s)`; also at the end of every phase. A phase
            whose epochs have no known length is saved at its end alone by `Epochs(n)`, and warned
            about.
        monitor: a validation metric; its best `top_k` checkpoints are kept beside the last.
        mode: "min" if small values are better, "max" if large ones are. Of a metric called
            "loss" it is "min"; of any other it must be said.
        top_k: how many of the best to keep; of no metric there is no best.
        keep_last: how many of the last to keep. Up to 2 are for going on, and training does not
            wait for the disk: where checkpoints come faster than they are written, the newest
            waits, and those between are left out, which `checkpoints.log` of the run says. More
            than 2 are a series, of which each is written. Those of the end of a phase, of the
            best, and of an interruption are written in any case.

    Raises `ConfigurationError` for values outside their range.

    >>> ModelCheckpoint(every=Steps(100), monitor="valid/loss", top_k=3).top_k
    3
    """

    def __init__(
        self,
        every: Steps | Epochs | Seconds = MINUTE,
        monitor: str | None = None,
        mode: Mode | None = None,
        top_k: int = 1,
        keep_last: int = 2,
    ):
        if not is_a(every, Steps | Epochs | Seconds):
            raise ConfigurationError(
                f"ModelCheckpoint: every is Steps(n), Epochs(n) or Seconds(s); got {every!r}."
            )
        if monitor is None and mode is not None:
            raise ConfigurationError(
                f"ModelCheckpoint: mode={mode!r} is of no metric; pass monitor='valid/loss'."
            )
        if not (is_count(top_k) and is_count(keep_last)):
            raise ConfigurationError(
                "ModelCheckpoint: top_k and keep_last are whole numbers from 1; got "
                f"{top_k!r}, {keep_last!r}."
            )
        if monitor is None and top_k != 1:
            raise ConfigurationError(
                f"ModelCheckpoint: top_k={top_k} are the best of no metric; pass "
                "monitor='valid/loss', or keep_last for the last ones."
            )
        self.every, self.monitor = every, monitor
        self.mode: Mode = "min" if monitor is None else mode_of("ModelCheckpoint", monitor, mode)
        self.top_k, self.keep_last = top_k, keep_last
        #: name of a kept checkpoint -> value of the metric
        self.best: dict[str, float] = {}
        self._measured: float | None = None
        self._saved = time.monotonic()

    def _interval(self, event: Event) -> int | None:
        if isinstance(self.every, Steps):
            return self.every.count
        if isinstance(self.every, Epochs) and event.steps_per_epoch:
            return self.every.count * event.steps_per_epoch
        return None

    def with_members(self) -> Literal["all"]:
        if self.monitor is not None:
            raise ConfigurationError(
                f"ModelCheckpoint(monitor={self.monitor!r}) keeps the best checkpoints of one "
                "training, and those of a population hold all members. Leave monitor out, and give "
                "the phase keep=Best(metric): each member then keeps its best weights."
            )
        return "all"

    def next_step(self, event: Event) -> int | None:
        interval = self._interval(event)
        return None if interval is None else (event.step // interval + 1) * interval

    def on_train_begin(self, event: Event) -> Request:
        self._saved = time.monotonic()
        if event.folder is not None:  # of those that a resume goes back to, some may be gone
            manifests = event.folder.glob("checkpoints/*/manifest.json")
            self.forget_all_but([path.parent.name for path in manifests])
        return None

    def on_phase_begin(self, event: Event) -> Request:
        if isinstance(self.every, Epochs) and not event.steps_per_epoch:
            warnings.warn(
                f"ModelCheckpoint(every={self.every}): phase {event.phase!r} has no epochs of a "
                "known length, and is saved at its end alone. Pass every=Steps(n) or Seconds(s).",
                stacklevel=2,
            )
        return None

    def on_steps_end(self, event: Event, metrics: Any) -> Request:
        interval = self._interval(event)
        save = Save(optional=self.keep_last <= SPARE)
        if interval is not None:
            return save if event.step % interval == 0 else None
        if not isinstance(self.every, Seconds):
            return None
        return save if time.monotonic() - self._saved >= self.every.count else None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        if self.monitor is None or self.monitor not in metrics:
            return None
        value = float(metrics[self.monitor])
        if value != value:
            return None
        beats = any(better(self.mode, value, kept) for kept in self.best.values())
        if len(self.best) < self.top_k or beats:
            self._measured = value
            return Save()
        return None

    def on_checkpoint(self, event: Event, name: str) -> Request:
        self._saved = time.monotonic()
        if self._measured is not None:
            self.best[name] = self._measured
            self._measured = None
            ranked = sorted(self.best, key=lambda n: cost(self.mode, self.best[n]))
            self.best = {n: self.best[n] for n in ranked[: self.top_k]}
        return None

    def forget_all_but(self, names: Collection[str]) -> None:
        """One that could not be written, or is gone, is not among the best."""
        self.best = {name: value for name, value in self.best.items() if name in names}

    def keeper(self) -> Callable[[list[str]], set[str]]:
        """Says which of the checkpoints, oldest first, are among the last or the best as of now."""
        best, last = set(self.best), self.keep_last
        return lambda names: best.intersection(names).union(names[-last:])

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        if self.monitor is None:
            return []
        return unknown_metric("ModelCheckpoint", self.monitor, phases)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "measured": self._measured}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self._measured = dict(state["best"]), state["measured"]
