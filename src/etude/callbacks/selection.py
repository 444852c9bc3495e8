"""Selection between the members of a population: exploit and explore."""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from etude.callbacks.base import Callback, Event, Exchange, Request
from etude.callbacks.members import of_member
from etude.callbacks.watching import Reported, unknown_metric, unknown_phase
from etude.engine.direction import Mode, cost, mode_of
from etude.engine.numbers import is_count, is_real
from etude.errors import ConfigurationError, suggest
from etude.kinds import is_a


class Selection(Callback):
    """Lets the worst members of a population go on as copies of the best, with other numbers.

    Population-based training (Jaderberg et al., 2017, arXiv:1711.09846) with truncation: after a
    validation, each of the worst members takes the weights, the optimizer state and the varied
    numbers of one of the best, drawn at random, and each number in `perturb` is multiplied by one
    of `factors`, drawn at random. Members of a group are compared with each other; one that has
    ended takes no part. Every exchange is an event in the history.

    Args:
        monitor: a validation metric, `valid/loss`.
        perturb: names of the varied numbers that a copy changes, of `Population(vary=...)`.
        mode: "min" if small values are better, "max" if large ones are. Of a metric called
            "loss" it is "min"; of any other it must be said.
        every: validations with that metric from one selection to the next.
        share: of the members of a group, those that are replaced, and as many that are copied;
            at least one of each.
        factors: what a number is multiplied by.
        seed: of the draws.
        phase: name of the only phase in which there is a selection; all, if None.

    Raises `ConfigurationError` for values outside their range.

    >>> Selection("valid/loss", perturb=["learning_rate"]).factors
    (0.8, 1.25)
    """

    def __init__(
        self,
        monitor: str,
        perturb: Sequence[str],
        mode: Mode | None = None,
        every: int = 1,
        share: float = 0.25,
        factors: Sequence[float] = (0.8, 1.25),
        seed: int = 0,
        phase: str | None = None,
    ):
        self.mode: Mode = mode_of("Selection", monitor, mode)
        names, numbers = _listed(perturb), _listed(factors)
        if not names or not all(is_a(name, str) for name in names):
            raise ConfigurationError(
                f"Selection: perturb lists the names of varied numbers; got {perturb!r}. Pass "
                'perturb=["learning_rate"].'
            )
        if not is_count(every):
            raise ConfigurationError(f"Selection: every is a whole number from 1; got {every!r}.")
        if not (is_real(share) and 0 < share <= 0.5):
            raise ConfigurationError(
                f"Selection: share is a part of the members in (0, 0.5]; got {share!r}."
            )
        if not numbers or not all(is_real(one) and 0 < one < math.inf for one in numbers):
            raise ConfigurationError(
                f"Selection: factors are positive numbers, such as (0.8, 1.25); got {factors!r}."
            )
        if not is_count(seed, least=0):
            raise ConfigurationError(f"Selection: seed is a whole number from 0; got {seed!r}.")
        self.monitor, self.perturb = monitor, names
        self.every, self.share, self.factors = int(every), share, numbers
        self.seed, self.phase = int(seed), phase
        #: validations with the metric in the phase that is under way
        self._count = 0

    def with_members(self) -> Literal["all"]:
        return "all"

    def on_train_begin(self, event: Event) -> Request:
        if not event.members:
            raise ConfigurationError(
                "Selection is between the members of a population, and one model is trained here. "
                "Pass Trainer(phases=..., population=...), or leave it out."
            )
        return None

    def on_phase_begin(self, event: Event) -> Request:
        if event.step == 0:  # after a resume the count goes on
            self._count = 0
        return None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        values = {
            number: float(own[self.monitor])
            for number in range(event.members)
            if self.monitor in (own := of_member(metrics, number))
        }
        if self.phase not in (None, event.phase) or not values:
            return None
        self._count += 1
        # At the end of a phase nothing is trained any more.
        if self._count % self.every or event.step == event.total_steps:
            return None
        # A function of the place, so that a resume draws the same.
        rng = np.random.default_rng((self.seed, zlib.crc32(event.phase.encode()), event.step))
        found: list[Exchange] = []
        for group in event.groups:
            found += self._within([number for number in group if number in values], values, rng)
        return tuple(found)

    def _within(
        self, group: Sequence[int], values: Mapping[int, float], rng: np.random.Generator
    ) -> list[Exchange]:
        """The exchanges within a group."""
        if len(group) < 2:
            return []

        def rank(number: int) -> tuple[bool, float]:
            value = values[number]
            return math.isnan(value), cost(self.mode, value)

        ordered = sorted(group, key=rank)  # NaN comes last
        count = max(1, int(self.share * len(group)))
        best = [number for number in ordered[:count] if not math.isnan(values[number])]
        if not best:
            return []
        return [
            Exchange(
                source=best[int(rng.integers(len(best)))],
                member=member,
                factors={name: float(rng.choice(self.factors)) for name in self.perturb},
            )
            for member in ordered[-count:]
        ]

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        found = unknown_phase("Selection", self.phase, phases)
        if found:
            return found
        hyper = frozenset[str]().union(*(one.hyper for one in phases.values()))
        unknown = [name for name in self.perturb if name not in hyper]
        return [
            *unknown_metric("Selection", self.monitor, phases, self.phase),
            *(
                f"Selection perturbs {name!r}, which does not vary. "
                + (suggest(name, hyper) if hyper else _nothing(name))
                for name in unknown
            ),
        ]

    def fingerprint(self) -> dict[str, Any]:
        return {
            "monitor": self.monitor,
            "perturb": ", ".join(self.perturb),
            "mode": self.mode,
            "every": self.every,
            "share": self.share,
            "factors": dict(zip(map(str, range(len(self.factors))), self.factors, strict=True)),
            "seed": self.seed,
            "phase": self.phase,
        }

    def state(self) -> dict[str, Any]:
        return {"count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        self._count = state["count"]


def _listed(values: Any) -> tuple[Any, ...]:
    """What a list, an array or a generator holds; nothing of a text and of what holds nothing."""
    return () if is_a(values, str) or not is_a(values, Iterable) else tuple(values)


def _nothing(name: str) -> str:
    return (
        "Nothing does: pass Trainer(phases=..., "
        f"population=Population(init, vary={{{name!r}: [...]}})), or leave the selection out."
    )
