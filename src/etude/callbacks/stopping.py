"""Ends a phase when a metric stops improving."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from etude.callbacks.base import Callback, Event, Reason, Request, Stop
from etude.engine.errors import ConfigurationError, suggest


class EarlyStopping(Callback):
    """Stops a phase after `patience` validations without improvement (Prechelt, 1998).

    The count starts anew with each visit to a phase. To go on from the best weights, give the
    phase `keep=Best(monitor)`.

    Args:
        monitor: a validation metric, `valid/loss`.
        patience: validations without improvement before the phase ends.
        mode: whether smaller ("min") or larger ("max") is better.
        min_delta: an improvement must be larger than this.
        phase: only in the phase of this name; in all that report the metric, if None.

    Raises `ConfigurationError` for values outside their range.

    >>> EarlyStopping("valid/accuracy", patience=5, mode="max").patience
    5
    """

    def __init__(
        self,
        monitor: str = "valid/loss",
        patience: int = 10,
        mode: Literal["min", "max"] = "min",
        min_delta: float = 0.0,
        phase: str | None = None,
    ):
        if mode not in ("min", "max"):
            raise ConfigurationError(f"EarlyStopping: mode is 'min' or 'max'; got {mode!r}.")
        if patience < 1:
            raise ConfigurationError(f"EarlyStopping: patience is at least 1; got {patience}.")
        if min_delta < 0:
            raise ConfigurationError(f"EarlyStopping: min_delta is not negative; got {min_delta}.")
        self.monitor, self.patience, self.mode = monitor, patience, mode
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
        sign = 1 if self.mode == "min" else -1
        if not math.isnan(value) and (best is None or sign * value < sign * best - self.min_delta):
            self.counts[event.phase] = (value, 0)
            return None
        self.counts[event.phase] = (best, waited + 1)
        if waited + 1 < self.patience:
            return None
        told = "never finite" if best is None else f"{best:.6g}"
        return Stop(Reason.PATIENCE, f"{self.monitor} was best at {told}")

    def problems(self, metrics: frozenset[str]) -> list[str]:
        return unknown_metric("EarlyStopping", self.monitor, metrics)

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


def unknown_metric(component: str, monitor: str, metrics: frozenset[str]) -> list[str]:
    """A sentence if no validation will report a metric; nothing otherwise."""
    prefix = monitor.split("/")[0] + "/*"
    if monitor in metrics or prefix in metrics:
        return []
    if not metrics:
        return [f"{component} watches {monitor!r}, but no phase has a validation. Add one."]
    return [f"{component} watches {monitor!r}, which nothing reports. {suggest(monitor, metrics)}"]
