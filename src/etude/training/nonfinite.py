"""What happens when a loss or an update is not finite."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from etude.callbacks.base import StepMetrics
from etude.engine.numbers import is_count
from etude.errors import ConfigurationError, NonFiniteError
from etude.training.phase_visit import Visit


@dataclass(frozen=True)
class NonFinite:
    """What to do when a loss or an update becomes NaN or infinite.

    Attributes:
        policy: "stop" raises `NonFiniteError`; "skip" leaves the step out and goes on with the
            old weights; "rollback" restores the last checkpoint and goes on with other random
            numbers.
        retries: roll-backs in the whole training before giving up.

    Raises `ConfigurationError` for another policy, or for retries that are no such number.

    >>> NonFinite("rollback", retries=2).retries
    2
    """

    policy: Literal["stop", "skip", "rollback"] = "stop"
    retries: int = 3

    def __post_init__(self):
        if self.policy not in ("stop", "skip", "rollback"):
            raise ConfigurationError(
                f"NonFinite: policy is 'stop', 'skip' or 'rollback'; got {self.policy!r}."
            )
        if not is_count(self.retries, 0):
            raise ConfigurationError(
                f"NonFinite: retries is a whole number from 0; got {self.retries!r}."
            )


class FaultError(Exception):
    """A loss or an update of a learner (counted from 1) was not finite; says which, and where."""

    def __init__(self, visit: Visit, learner: int, metrics: StepMetrics):
        self.sentence = fault_told(visit, learner, metrics.last())
        super().__init__(self.sentence)


def fault_told(visit: Visit, learner: int, metrics: Mapping[str, float]) -> str:
    """The sentence about a step at which a learner (counted from 1) was at fault."""
    names = [one.name for one in visit.plan.learners]
    name = names[learner - 1]
    who = repr(name) if name else f"{learner}"
    # Learners after it worked with what it broke: their metrics say nothing.
    prefix = f"{name}/" if len(names) > 1 else ""
    bad = [
        metric
        for metric, value in metrics.items()
        if metric.startswith(prefix) and not np.isfinite(value)
    ]
    what = ", ".join(bad) or "the updates or the moved statistics (the loss is finite)"
    return f"Phase {visit.phase.name!r}, step {visit.step}, learner {who}: not finite: {what}."


def given_up(fault: FaultError, rollbacks: int, folder: Path | None) -> NonFiniteError:
    """The error that ends the training, after so many roll-backs."""
    tried = f" {rollbacks} roll-backs did not help." if rollbacks else ""
    last = "" if folder is None else f" The run, with its last checkpoint, is in {folder}."
    return NonFiniteError(
        f"{fault.sentence}{tried}{last} Lower the learning rate, clip the updates "
        "(Learner(clip_norm=1.0)), check the data, or choose nonfinite='skip' or 'rollback'."
    )
