"""Better and worse, said once: which way a metric improves, and that NaN is never better."""

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args

from etude.errors import ConfigurationError, suggest

#: Whether smaller or larger values of a metric are better.
Mode = Literal["min", "max"]


def check_name(owner: str, metric: Any) -> None:
    """Raises `ConfigurationError` for a metric that is not named by text."""
    if not isinstance(metric, str):
        raise ConfigurationError(
            f"{owner}: a metric is named by text, as 'valid/loss'; got {metric!r}."
        )


def mode_of(owner: str, metric: str, mode: Mode | None) -> Mode:
    """The mode that `owner` was given for a metric; None is enough for a loss.

    "loss" is the engine's own name for what a learner descends, so its direction is known. The
    direction of every other metric is said, never guessed. Raises `ConfigurationError`, also for a
    metric that is not named by text.

    >>> mode_of("Best", "valid/loss", None), mode_of("Best", "valid/accuracy", "max")
    ('min', 'max')
    """
    check_name(owner, metric)
    if mode is None and metric.split("/")[-1] == "loss":
        return "min"
    if mode is None:
        raise ConfigurationError(
            f"{owner}: is a small or a large {metric!r} better? Pass mode='min' or mode='max'."
        )
    if mode not in get_args(Mode):
        raise ConfigurationError(
            f"{owner}: mode is 'min' or 'max'; got {mode!r}. {suggest(str(mode), get_args(Mode))}"
        )
    return mode


def cost(mode: Mode, value: Any) -> Any:
    """The value, a number or an array, or its negative, so that less is better."""
    return value if mode == "min" else -value


def better(mode: Mode, new: float, old: float | None, by: float = 0.0) -> bool:
    """Whether `new` beats `old`, if there is one, by more than `by`. NaN never does.

    >>> better("max", 0.9, 0.8), better("max", 0.9, 0.8, by=0.2), better("max", 0.9, None)
    (True, False, True)
    >>> better("min", float("nan"), None), better("min", 1e9, float("nan"))
    (False, True)
    """
    if math.isnan(new):
        return False
    if old is None or math.isnan(old):
        return True
    return cost(mode, old) - cost(mode, new) > by


def best(mode: Mode, values: Iterable[float]) -> float | None:
    """The best of the values that are not NaN; None if there is none.

    >>> best("max", [float("nan"), 0.5, 0.7]), best("max", [float("nan")])
    (0.7, None)
    """
    found: float | None = None
    for value in values:
        found = value if better(mode, value, found) else found
    return found
