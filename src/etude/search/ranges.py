"""A range of numbers, and what is wrong with one.

>>> wrong_in(3, 1)
'the range is empty: low 3 is not below high 1'
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from etude.engine.numbers import is_real
from etude.errors import ConfigurationError

#: What a range consists of, in a file.
PARTS = ("low", "high", "log", "step")
#: So many values are told apart by the sampler, whose probabilities are floating-point numbers.
APART = 10**12
#: Up to here a floating-point number holds every whole one, and what lies between them.
WHOLE = 10**15
#: So many steps from 0, a number shows to eight digits that steps lead to it, as Optuna asks.
STEPS = 10**7


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Where both (and `step`) are whole numbers, so are all values, unless the field takes others.

    Attributes:
        low: the least value.
        high: the largest; if `step` does not lead there, the last value before it.
        log: draw the logarithm evenly, as for a learning rate.
        step: distance of the values; None: any number between, or any whole one.

    Raises `ConfigurationError` if it is empty, has more values than can be told apart, or if `log`
    and `step` are combined.

    >>> list(Range(0.1, 0.5, step=0.2).values())
    [0.1, 0.3, 0.5]
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self):
        for part in PARTS:
            value: Any = getattr(self, part)
            if isinstance(value, np.generic):  # which no file holds
                object.__setattr__(self, part, value.item())
        if found := wrong_in(self.low, self.high, self.log, self.step):
            raise ConfigurationError(f"Range: {found}.")

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return all(isinstance(part, int) for part in (self.low, self.high, self.step or 1))

    @property
    def count(self) -> int | None:
        """How many values there are; None if they cannot be counted."""
        if self.step is None and not self.whole:
            return None
        return _count(self.low, self.high, self.step or 1)

    def values(self) -> Iterator[float]:
        """All values of a range that can be counted, in order; none of any other."""
        for number in range(self.count or 0):
            yield self._at(number)

    @property
    def last(self) -> float:
        """The largest value."""
        return self.high if self.count is None else self._at(self.count - 1)

    def nearest(self, value: float) -> float:
        """The value that is meant: a sum of floating steps is not quite what decimals say.

        >>> Range(0.0, 1.0, step=0.3).nearest(3 * 0.3)
        0.9
        """
        if self.count is None:
            return value
        return self._at(round((_exact(value) - _exact(self.low)) / _exact(self.step or 1)))

    def _at(self, number: int) -> float:
        value = _exact(self.low) + number * _exact(self.step or 1)
        return int(value) if self.whole else float(value)


def wrong_in(low: Any, high: Any, log: Any = False, step: Any = None) -> str:
    """What is wrong with a range, as part of a sentence; empty if nothing is."""
    numbers = {"low": low, "high": high} | ({} if step is None else {"step": step})
    found = [
        f"{part} is a finite number; got {value!r}"
        for part, value in numbers.items()
        if not is_real(value) or not _is_finite(value)
    ]
    if not isinstance(log, bool):
        found.append(f"log is true or false; got {log!r}")
    if found:
        return "; ".join(found)
    if low >= high:
        found.append(f"the range is empty: low {low} is not below high {high}")
    elif log and low <= 0:
        found.append(f"a logarithmic range begins above 0; got low {low}")
    if step is not None and log:
        found.append("log and step cannot be combined: list the values instead")
    elif step is not None and step <= 0:
        found.append(f"step is above 0; got {step}")
    if found:
        return "; ".join(found)
    whole = all(isinstance(value, int) for value in numbers.values())
    if whole and max(abs(low), abs(high)) > WHOLE:
        return f"whole numbers are drawn up to {WHOLE}; got {low} to {high}"
    if not _is_finite(_exact(high) - _exact(low)):
        return f"the range is too wide for a number; got {low} to {high}"
    if (step is not None or whole) and _count(low, high, step or 1) > APART:
        return f"a range has at most {APART} values; got {low} to {high}, step {step or 1}"
    if step is not None and not whole and max(abs(low), abs(high)) / step > STEPS:
        return f"low and high are at most {STEPS} steps from 0; got {low} to {high}, step {step}"
    return ""


def _exact(value: float) -> Fraction:
    """The decimal that a number is written as."""
    return Fraction(str(value))


def _count(low: float, high: float, step: float) -> int:
    return (_exact(high) - _exact(low)) // _exact(step) + 1


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no floating one comes near
        return False
