"""Ends a phase when a metric stops improving."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from etude.callbacks.base import Callback, Event, Reason, Request, Stop
from etude.callbacks.watching import Reported, unknown_metric, unknown_phase
from etude.engine.direction import Mode, better, mode_of
from etude.engine.numbers import is_count, is_real
from etude.errors import ConfigurationError


class EarlyStopping(Callback):
    """Stops a phase after `patience` validations without improvement (Prechelt, 1998).

    The count starts anew with each visit to a phase. To go on from the best weights, give the
    phase `keep=Best(monitor)`.

    Args:
        monitor: a validation metric, `valid/loss`.
        patience: validations without improvement before the phase ends.
        mode: "min" if small values are better, "max" if large ones are. Of a metric called
            "loss" it is "min"; of any other it must be said.
        min_delta: amount by which the metric must beat its best to count as an improvement.
        phase: name of the only phase that it may end; all that report the metric, if None.

    Raises `ConfigurationError` for values outside their range.

    >>> EarlyStopping("valid/accuracy", patience=5, mode="max").patience
    5
    """

    def __init__(
        self,
        monitor: str = "valid/loss",
        patience: int = 10,
        mode: Mode | None = None,
        min_delta: float = 0.0,
        phase: str | None = None,
    ):
        if not is_count(patience):
            raise ConfigurationError(
                f"EarlyStopping: patience is a whole number from 1; got {patience!r}."
            )
        if not (is_real(min_delta) and 0 <= min_delta < math.inf):
            raise ConfigurationError(
                f"EarlyStopping: min_delta is a finite number from 0; got {min_delta!r}."
            )
        self.mode: Mode = mode_of("EarlyStopping", monitor, mode)
        self.monitor, self.patience = monitor, patience
        self.min_delta, self.phase = min_delta, phase
        #: of each phase that is under way: the best value and the validations since
        self.counts: dict[str, tuple[float | None, int]] = {}

    def on_phase_begin(self, event: Event) -> Request:
        if event.step == 0:  # after a resume the count goes on
            self.counts.pop(event.phase, None)
        return None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        if self.phase not in (None, event.phase) or self.monitor not in metrics:
            return None
        # A rescue has a count of its own, and leaves that of the phase it helps alone.
        best, waited = self.counts.get(event.phase, (None, 0))
        value = float(metrics[self.monitor])
        if better(self.mode, value, best, by=self.min_delta):
            self.counts[event.phase] = (value, 0)
            return None
        self.counts[event.phase] = (best, waited + 1)
        if waited + 1 < self.patience:
            return None
        told = "was always NaN" if best is None else f"was best at {best:.6g}"
        return Stop(Reason.PATIENCE, f"{self.monitor} {told}")

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        unknown = unknown_phase("EarlyStopping", self.phase, phases)
        return unknown or unknown_metric("EarlyStopping", self.monitor, phases, self.phase)

    def with_members(self) -> Literal["each"]:
        return "each"

    def fingerprint(self) -> dict[str, Any]:
        return {
            "monitor": self.monitor,
            "patience": self.patience,
            "mode": self.mode,
            "min_delta": self.min_delta,
            "phase": self.phase,
        }

    def state(self) -> dict[str, Any]:
        return {"counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.counts = {name: (best, waited) for name, (best, waited) in state["counts"].items()}
