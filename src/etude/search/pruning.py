"""A training that is worse than others at the same point ends early."""

from collections.abc import Callable, Mapping
from typing import Any

from etude.callbacks import Callback, Event, Reason, Request, Stop
from etude.callbacks.watching import Reported


class Prune(Callback):
    """Reports a validation metric to a search, and ends the training when that says so.

    Validations are compared by their number, so that trials with other batch sizes or steps can
    be: the third of one with the third of another. `pruned` says what has become of the training,
    also after a resume.

    Args:
        metric: name of the metric, `valid/accuracy`.
        report: `report(number, value) -> whether to stop`.
    """

    def __init__(self, metric: str, report: Callable[[int, float], bool]):
        self.metric, self.report = metric, report
        self.count, self.pruned = 0, False

    def on_phase_begin(self, event: Event) -> Request:
        # A phase that was pruned ends those that come after it too.
        return self._stop() if self.pruned else None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        if self.metric not in metrics or self.pruned:
            return None
        self.count += 1
        self.pruned = self.report(self.count, float(metrics[self.metric]))
        return self._stop() if self.pruned else None

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "pruned": self.pruned}

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self.pruned = state["count"], state["pruned"]

    def _stop(self) -> Stop:
        return Stop(Reason.CALLBACK, f"pruned: others had a better {self.metric} by then")


class Watched(Callback):
    """Learns which metrics the validations of a training report."""

    def __init__(self):
        self.names: frozenset[str] = frozenset()

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        self.names = frozenset[str]().union(*(found.validations for found in phases.values()))
        return []
