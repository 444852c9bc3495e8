"""Where the time of a training goes."""

import sys
from typing import Any, Literal

from etude.callbacks.base import Callback, Event, Request
from etude.callbacks.unfailing import Unfailing
from etude.errors import ConfigurationError
from etude.kinds import is_a

#: What is told apart; the steps without the wait for their data are "step".
PARTS = ("step", "data", "validation", "checkpoint", "compile")
_NAMES = {"train": "step", "valid": "validation"}


class Timing(Callback):
    """Adds up, for each phase, the seconds in steps, data, validations, checkpoints, compilation.

    A step whose data are on the device waits for none. Steps run while the host does other
    things; a checkpoint is what training waits for, while a thread writes it. Other callbacks
    count as steps.

    Args:
        verbose: print the table on standard error when training ends.

    Raises `ConfigurationError` if `verbose` is neither True nor False.

    >>> timing = Timing()
    >>> timing.add("fit", "train", 2.0, steps=100)
    >>> timing.add("fit", "data", 0.5)
    >>> timing.summary()["fit"]["step"], timing.summary()["fit"]["steps_per_second"]
    (1.5, 50.0)
    """

    def __init__(self, verbose: bool = True):
        if not is_a(verbose, bool):  # a text, such as "no", would count as true
            raise ConfigurationError(f"Timing: verbose is True or False; got {verbose!r}.")
        self.verbose = verbose
        self._seconds: dict[str, dict[str, float]] = {}
        self._steps: dict[str, int] = {}

    def on_time(self, event: Event, what: str, seconds: float, steps: int) -> Request:
        self.add(event.phase, what, seconds, steps)
        return None

    def add(self, phase: str, what: str, seconds: float, steps: int = 0) -> None:
        """Adds what `on_time` says."""
        spent = self._seconds.setdefault(phase, dict.fromkeys(PARTS, 0.0))
        spent[_NAMES.get(what, what)] += seconds
        if what == "data":  # it is a part of what "train" took
            spent["step"] -= seconds
        self._steps[phase] = self._steps.get(phase, 0) + steps

    def summary(self) -> dict[str, dict[str, float]]:
        """For each phase: seconds by part, the number of `steps`, and `steps_per_second`."""
        found: dict[str, dict[str, float]] = {}
        for phase, spent in self._seconds.items():
            steps, training = self._steps[phase], spent["step"] + spent["data"]
            rate = steps / training if training > 0 else 0.0
            found[phase] = {**spent, "steps": steps, "steps_per_second": rate}
        return found

    def table(self) -> str:
        """The same as text."""
        lines = [f"{'phase':16} {'steps':>9} {'steps/s':>9}" + "".join(f"{p:>12}" for p in PARTS)]
        for phase, row in self.summary().items():
            seconds = "".join(f"{row[part]:>10.2f} s" for part in PARTS)
            lines.append(f"{phase:16} {row['steps']:>9} {row['steps_per_second']:>9.0f}{seconds}")
        return "\n".join(lines)

    def on_train_end(self, event: Event) -> Request:
        if self.verbose:
            Unfailing(sys.stderr).line(self.table())
        return None

    def with_members(self) -> Literal["all"]:
        return "all"

    def state(self) -> dict[str, Any]:
        return {"seconds": self._seconds, "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        self._seconds = {phase: dict(spent) for phase, spent in state["seconds"].items()}
        self._steps = dict(state["steps"])
