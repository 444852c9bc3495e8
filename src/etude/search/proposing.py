"""Which setting is tried next: a pure function of the trials so far, the seed and the number.

So a search that was interrupted goes on as if it had not been, and no random number is drawn
twice, as by a sampler of Optuna that is made anew with its seed.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.engine.direction import Mode
from etude.engine.numbers import is_count
from etude.errors import ConfigurationError
from etude.search.backend import optuna_or_refuse
from etude.search.space import Range, Space, key_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Setting = dict[str, Any]

#: Draws of one setting: so many may be forbidden or under way before the search gives up.
DRAWS = 1000
#: A space of so many settings is gone through where drawing finds none.
COUNTED = 100_000


@dataclass(frozen=True)
class Tried:
    """The settings of the trials so far, by `key_of`."""

    finished: Collection[str]
    running: Collection[str]

    @property
    def all(self) -> set[str]:
        """Those of all trials."""
        return {*self.finished, *self.running}


@dataclass(frozen=True)
class Asked:
    """What the next setting is chosen by.

    Attributes:
        space: the settings.
        mode: whether small or large values are better.
        allowed: whether a setting may be tried.
        trials: those so far, as Optuna has them.
        tried: their settings.
    """

    space: Space
    mode: Mode
    allowed: Callable[[Setting], bool]
    trials: "Sequence[FrozenTrial]"
    tried: Tried


@dataclass(frozen=True)
class Grid:
    """Every setting of a space that can be counted, in order."""

    name: str = "grid"

    def problems(self, space: Space) -> list[str]:
        """A sentence for each range that has no end of values."""
        found: list[str] = []
        for name, one in space.varied.items():
            if isinstance(one, Range) and (one.count is None or one.log):
                found.append(
                    f"{name}: a grid needs a list of values, or a range with a step; got the range "
                    f"{one.low} to {one.high}{', logarithmic' if one.log else ''}."
                )
        return found

    def propose(self, asked: Asked) -> Setting | None:
        """The first setting that no trial has."""
        return untried(asked.space, asked.allowed, asked.tried)


@dataclass(frozen=True)
class Random:
    """Settings drawn independently."""

    seed: int = 0
    name: str = "random"

    def problems(self, space: Space) -> list[str]:
        """A sentence for a seed that is none."""
        return _no_count("seed", self.seed)

    def propose(self, asked: Asked) -> Setting | None:
        """A setting that is allowed and not under way."""
        samplers = optuna_or_refuse().samplers
        return _drawn(asked, samplers.RandomSampler(_seed(self.seed, asked)), ())


@dataclass(frozen=True)
class Bayesian:
    """Settings drawn where the good ones lie: a tree-structured Parzen estimator (TPE).

    `start` trials are drawn at random first.
    """

    seed: int = 0
    start: int = 10
    name: str = "bayesian"

    def problems(self, space: Space) -> list[str]:
        """Sentences for a seed or a start that is none."""
        return _no_count("seed", self.seed) + _no_count("start", self.start)

    def propose(self, asked: Asked) -> Setting | None:
        """A setting that is allowed and not under way."""
        sampler = optuna_or_refuse().samplers.TPESampler(
            seed=_seed(self.seed, asked), n_startup_trials=self.start
        )
        return _drawn(asked, sampler, asked.trials)


#: A way to choose settings.
Method = Grid | Random | Bayesian


def untried(
    space: Space, allowed: Callable[[Setting], bool], tried: Tried | None = None
) -> Setting | None:
    """The first setting of a space that can be counted which no trial has; None if all are."""
    known = set[str]() if tried is None else tried.all
    for point in space.points():
        if key_of(point) not in known and allowed(point):
            return point
    return None


def _no_count(name: str, value: object) -> list[str]:
    return [] if is_count(value, 0) else [f"{name} is a whole number from 0; got {value!r}."]


def _seed(seed: int, asked: Asked) -> int:
    """A seed of this draw alone."""
    return int(np.random.SeedSequence([seed, len(asked.trials)]).generate_state(1)[0])


def _drawn(asked: Asked, sampler: "BaseSampler", learnt: "Sequence[FrozenTrial]") -> Setting | None:
    """The first draw that is allowed, and that is not being trained by another worker.

    `learnt` are the trials that the sampler learns from.
    """
    space, tried = asked.space, asked.tried
    if space.size is not None and len(tried.all) >= space.size:
        return None
    # A copy, because a draw makes a trial; one that is rejected counts there as under way, so that
    # the next draw of TPE keeps away from it.
    study = optuna_or_refuse().create_study(
        sampler=sampler, direction="minimize" if asked.mode == "min" else "maximize"
    )
    study.add_trials(learnt)
    for attempt in range(DRAWS):
        setting = space.decoded(study.ask(space.distributions()).params)
        if key_of(setting) not in tried.running and asked.allowed(setting):
            return setting
        if attempt >= 20 and space.size is not None and space.size <= COUNTED:
            return untried(space, asked.allowed, tried)
    raise ConfigurationError(
        f"{DRAWS} settings were drawn and the constraints allow none of them: loosen the "
        "constraints, or narrow the space to where they hold."
    )
