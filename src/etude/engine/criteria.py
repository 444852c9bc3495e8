"""What a phase asks of its metrics: a goal, the best weights, and when something has gone wrong."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from etude.engine.direction import Mode, best, better, check_name, mode_of
from etude.engine.numbers import is_real
from etude.errors import ConfigurationError


@dataclass(frozen=True)
class AtMost:
    """A goal: the metric is not above `value`. Raises `ConfigurationError` if that is no number.

    >>> AtMost("valid/rmse", 0.05).met({"valid/rmse": 0.04})
    True
    """

    metric: str
    value: float

    def __post_init__(self):
        _check(self)

    def met(self, metrics: Mapping[str, Any]) -> bool:
        """Whether the metrics of a validation reach the goal; NaN does not."""
        return self.metric in metrics and bool(metrics[self.metric] <= self.value)

    def __str__(self) -> str:
        return f"{self.metric} <= {self.value:g}"


@dataclass(frozen=True)
class AtLeast:
    """A goal: the metric is not below `value`. Raises `ConfigurationError` if that is no number.

    >>> AtLeast("valid/accuracy", 0.95).met({"valid/accuracy": 0.9})
    False
    """

    metric: str
    value: float

    def __post_init__(self):
        _check(self)

    def met(self, metrics: Mapping[str, Any]) -> bool:
        """Whether the metrics of a validation reach the goal; NaN does not."""
        return self.metric in metrics and bool(metrics[self.metric] >= self.value)

    def __str__(self) -> str:
        return f"{self.metric} >= {self.value:g}"


Goal = AtMost | AtLeast


@dataclass(frozen=True)
class Best:
    """At the end of a phase, the weights of its best validation are restored.

    Attributes:
        metric: of a validation, `valid/accuracy`.
        mode: "min" if small values are better, "max" if large ones are. Of a metric called
            "loss" it is "min"; of any other it must be said.

    Where the metric is NaN in every validation the last weights stay, with a warning. Raises
    `ConfigurationError` for a mode that is unknown or missing.

    >>> Best("valid/accuracy", mode="max").better(0.9, 0.8)
    True
    """

    metric: str
    mode: Mode | None = None

    def __post_init__(self):
        object.__setattr__(self, "mode", mode_of("Best", self.metric, self.mode))

    def better(self, new: float, old: float | None) -> bool:
        """Whether a value beats the best so far (NaN never does)."""
        return better(cast(Mode, self.mode), new, old)


@dataclass(frozen=True)
class Fallen:
    """True when a metric is NaN, or worse than its best by more than `tolerance`.

    Attributes:
        metric: of a validation of the phase, `valid/accuracy`.
        tolerance: in units of the metric.
        mode: "min" if small values are better, "max" if large ones are. Of a metric called
            "loss" it is "min"; of any other it must be said.
        reference: what to compare with instead of the best so far.

    Raises `ConfigurationError` for a mode that is unknown or missing, a tolerance below 0, and a
    reference that is NaN.

    >>> fallen = Fallen("valid/accuracy", tolerance=0.05, mode="max")
    >>> fallen([{"valid/accuracy": 0.95}, {"valid/accuracy": 0.85}])
    True
    """

    metric: str
    tolerance: float
    mode: Mode | None = None
    reference: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "mode", mode_of("Fallen", self.metric, self.mode))
        if not (is_real(self.tolerance) and self.tolerance >= 0):
            raise ConfigurationError(
                f"Fallen: tolerance is a number from 0; got {self.tolerance!r}."
            )
        if not (self.reference is None or is_real(self.reference)):
            raise ConfigurationError(
                "Fallen: reference is a number to compare with, or None for the best so far; got "
                f"{self.reference!r}."
            )

    def __call__(self, validations: Sequence[Mapping[str, float]]) -> bool:
        values = [v[self.metric] for v in validations if self.metric in v]
        if not values or self.metric not in validations[-1]:
            return False
        mode, last = cast(Mode, self.mode), values[-1]
        reference = best(mode, values) if self.reference is None else self.reference
        return math.isnan(last) or better(mode, cast(float, reference), last, by=self.tolerance)


def _check(goal: Goal) -> None:
    check_name(type(goal).__name__, goal.metric)
    if not is_real(goal.value):
        raise ConfigurationError(
            f"{type(goal).__name__}: {goal.metric!r} is compared with a number, such as 0.9; got "
            f"{goal.value!r}."
        )
