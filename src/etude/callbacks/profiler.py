"""A trace of chosen steps."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import jax

from etude.callbacks.base import Callback, Event, Reason, Request, StepMetrics
from etude.callbacks.loggers import absolute, place
from etude.callbacks.watching import Reported, unknown_phase
from etude.engine.numbers import is_count
from etude.errors import ConfigurationError


class Profiler(Callback):
    """Traces a few steps with JAX's profiler, for TensorBoard, XProf or Perfetto.

    Steps `first` to `first + steps - 1` of the first visit to a phase are traced; chunks are cut
    at both ends, so that no other step is. A trace that cannot be made, or whose steps the visit
    does not come to, warns, and training goes on.

    Args:
        first: the first step; at 1 the trace also shows the start-up.
        steps: number of steps.
        folder: where the trace goes; `profile` in the run folder (without a run: in the working
            directory), if None.
        phase: the phase to look at; the first that is entered, if None.

    Raises `ConfigurationError` for values below 1.

    >>> Profiler(first=100, steps=3, folder="profile").first
    100
    """

    def __init__(
        self,
        first: int = 10,
        steps: int = 5,
        folder: str | Path | None = None,
        phase: str | None = None,
    ):
        if not (is_count(first) and is_count(steps)):
            raise ConfigurationError(
                f"Profiler: first and steps are whole numbers from 1; got {first!r} and {steps!r}."
            )
        self.first, self.steps, self.phase = first, steps, phase
        self.folder = absolute(folder)
        self._visit: tuple[str, int] | None = None
        self._tracing = False

    def on_train_begin(self, event: Event) -> Request:
        self._visit = None
        return None

    def on_phase_begin(self, event: Event) -> Request:
        if self._visit is None and self.phase in (None, event.phase):
            self._visit = event.phase, event.visit
        self._begin(event)
        return None

    def next_step(self, event: Event) -> int | None:
        if not self._here(event):
            return None
        ends = (self.first - 1, self.first - 1 + self.steps)
        return min((end for end in ends if end > event.step), default=None)

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        if self._tracing and event.step >= self.first - 1 + self.steps:
            self._end()
        self._begin(event)
        return None

    def on_phase_end(self, event: Event, reason: Reason) -> Request:
        self._end()
        if self._here(event) and event.step < self.first and reason is not Reason.ROLLBACK:
            self._warn(f"phase {event.phase!r} ends at step {event.step}, before {self.first}")
        return None

    def on_exception(self, event: Event, error: BaseException) -> Request:
        self._end()
        return None

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        return unknown_phase("Profiler", self.phase, phases)

    def with_members(self) -> Literal["all"]:
        return "all"

    def _here(self, event: Event) -> bool:
        return self._visit == (event.phase, event.visit)

    def _begin(self, event: Event) -> None:
        if self._tracing or not self._here(event) or event.step != self.first - 1:
            return
        folder = place(self.folder, event, "profile")
        try:
            jax.profiler.start_trace(str(folder))
        except (RuntimeError, OSError) as error:
            self._warn(error)
        else:
            self._tracing = True

    def _end(self) -> None:
        if not self._tracing:
            return
        self._tracing = False
        try:
            jax.profiler.stop_trace()
        except (RuntimeError, OSError) as error:
            self._warn(error)

    def _warn(self, error: object) -> None:
        warnings.warn(f"Profiler: no trace was made ({error}). Training goes on.", stacklevel=2)
