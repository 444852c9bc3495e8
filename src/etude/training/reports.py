"""What phases turn out to report, checked against what phases and callbacks go by."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from etude.callbacks.base import Callback
from etude.callbacks.watching import Reported, reports, suggestion
from etude.engine.phase import Phase
from etude.errors import ConfigurationError
from etude.kinds import is_mapping


class Reports:
    """The names of metrics, phase by phase, as they become known.

    Most are known before training, by tracing. The columns of data from the host show with the
    first step, and the values of an object that computes several (`valid/auc/*`) with the first
    validation. What is watched is checked then once more.
    """

    def __init__(self, phases: Sequence[Phase], callbacks: Sequence[Callback]):
        self._phases, self._callbacks = phases, callbacks
        self._steps: dict[str, frozenset[str]] = {}
        #: of each phase, the names from each of its validations
        self._validations: dict[str, list[frozenset[str]]] = {}
        self._hyper = {
            phase.name: frozenset(map(str, phase.hyper) if is_mapping(phase.hyper) else ())
            for phase in phases
        }
        self._settled: set[tuple[str, int | None]] = set()

    def watched_by(self, callbacks: Sequence[Callback]) -> "Reports":
        """What the same phases report, to other callbacks.

        Raises `ConfigurationError` if they watch what nothing reports.
        """
        other = Reports(self._phases, callbacks)
        other._steps, other._settled = dict(self._steps), set(self._settled)
        other._validations = {name: list(names) for name, names in self._validations.items()}
        if problems := other.problems():
            raise ConfigurationError("\n".join(problems))
        return other

    def expect(
        self, phase: Phase, steps: Iterable[str] | None, validations: Iterable[frozenset[str]]
    ) -> None:
        """Takes note of the names that are known before training; None if none of a step is."""
        self._steps[phase.name] = frozenset(["*"] if steps is None else steps)
        self._validations[phase.name] = list(validations)

    def problems(self) -> list[str]:
        """What is watched that nothing reports."""
        known = {
            name: Reported(steps, frozenset().union(*self._validations[name]), self._hyper[name])
            for name, steps in self._steps.items()
        }
        found = [
            f"Phase {phase.name!r} watches {metric!r}, which its validations do not report as a "
            f"number. {suggestion(metric, known[phase.name].validations)}"
            for phase in self._phases
            for metric in phase.watched
            if not reports(known[phase.name].validations, metric)
        ]
        for callback in self._callbacks:
            found += callback.problems(known)
        return list(dict.fromkeys(found))

    def saw_steps(self, phase: Phase, names: Sequence[str]) -> None:
        """Steps were made. Raises `ConfigurationError` for a metric that shows to be missing."""
        if (phase.name, None) not in self._settled:
            self._steps[phase.name] = frozenset(names)
            self._settle(phase.name, None)

    def saw_validation(self, phase: Phase, index: int, metrics: Mapping[str, Any]) -> None:
        """A validation was made. Raises `ConfigurationError` for a metric that is missing."""
        if (phase.name, index) not in self._settled:
            numbers = (name for name, value in metrics.items() if np.ndim(value) == 0)
            self._validations[phase.name][index] = frozenset(numbers)
            self._settle(phase.name, index)

    def _settle(self, phase: str, index: int | None) -> None:
        if problems := self.problems():
            raise ConfigurationError("\n".join(problems))
        self._settled.add((phase, index))
