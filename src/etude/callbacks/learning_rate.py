"""Keeps the course of the learning rate, and says where none is reported."""

import warnings
from typing import Literal

from etude.callbacks.base import Callback, Event, Request, StepMetrics
from etude.callbacks.members import base


class LearningRateMonitor(Callback):
    """Keeps the learning rate at the end of every chunk of steps of a sitting.

    A learner reports its learning rate, at every step, if its optimizer says it: one made by
    `etude.optim`, or by `optax.inject_hyperparams(optax.adam)(learning_rate=schedule)`. It then
    is in the history as `train/learning_rate` in any case; this callback keeps it at hand, and
    warns once about a phase where no learner reports it.

    >>> LearningRateMonitor().rates
    {}
    """

    def __init__(self) -> None:
        #: metric -> (global step, rate) at the end of each chunk
        self.rates: dict[str, list[tuple[int, float]]] = {}
        self._silent: set[str] = set()

    def with_members(self) -> Literal["all"]:
        return "all"

    def on_train_begin(self, event: Event) -> Request:
        self.rates = {}
        self._silent = set()
        return None

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        own = base if event.members else str
        rates = {n: v for n, v in metrics.last().items() if own(n).endswith("learning_rate")}
        for name, rate in rates.items():
            self.rates.setdefault(name, []).append((event.global_step, rate))
        if not rates and event.phase not in self._silent:
            self._silent.add(event.phase)
            warnings.warn(
                f"LearningRateMonitor: no learner of phase {event.phase!r} reports a learning "
                "rate. Make its optimizer with etude.optim, or with "
                "optax.inject_hyperparams(optax.adam)(learning_rate=schedule).",
                stacklevel=2,
            )
        return None
