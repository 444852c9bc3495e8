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
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.waited = 0

    def on_phase_begin(self, event: Event) -> Request:
        if self.phase in (None, event.phase):
            self._reset()
        return None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        if self.phase not in (None, event.phase) or self.monitor not in metrics:
            return None
        value = float(metrics[self.monitor])
        sign = 1 if self.mode == "min" else -1
        if not math.isnan(value) and (
            self.best is None or sign * value < sign * self.best - self.min_delta
        ):
            self.best, self.waited = value, 0
            return None
        self.waited += 1
        if self.waited < self.patience:
            return None
        best = "never finite" if self.best is None else f"{self.best:.6g}"
        return Stop(Reason.PATIENCE, f"{self.monitor} was best at {best}")

    def problems(self, metrics: frozenset[str]) -> list[str]:
        return unknown_metric("EarlyStopping", self.monitor, metrics)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]


def unknown_metric(component: str, monitor: str, metrics: frozenset[str]) -> list[str]:
    """A sentence if no validation will report a metric; nothing otherwise."""
    prefix = monitor.split("/")[0] + "/*"
    if monitor in metrics or prefix in metrics:
        return []
    if not metrics:
        return [f"{component} watches {monitor!r}, but no phase has a validation. Add one."]
    return [f"{component} watches {monitor!r}, which nothing reports. {suggest(monitor, metrics)}"]
