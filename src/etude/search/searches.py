"""The searches: over a grid, at random, Bayesian.

>>> def bowl(x, y):
...     return (x - 1) ** 2 + (y + 2) ** 2
>>> search = GridSearch(target=bowl, space={"x": [0, 1, 2], "y": Range(-3, 3)}, mode="min")
>>> results = search.run(say=lambda line: None)
>>> results.best.setting, results.best.value, len(results.trials)
({'x': 1, 'y': -2}, 0.0, 21)
"""

import abc
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etude.callbacks.unfailing import Unfailing
from etude.catalogue import find_recipe
from etude.engine.direction import Mode, mode_of
from etude.engine.numbers import is_count
from etude.errors import ConfigurationError
from etude.kinds import is_a, is_mapping
from etude.recipe import Configuration, Recipe
from etude.search.arguments import wrong_arguments
from etude.search.backend import open_storage, optuna_or_refuse, quiet
from etude.search.constraints import Constraint, Expression, unreadable
from etude.search.estimators import CrossValidation
from etude.search.fields import fitted
from etude.search.options import wrong_options
from etude.search.plan import PRUNERS, Plan
from etude.search.processes import Workers
from etude.search.proposing import COUNTED, Bayesian, Grid, Method, Random, untried
from etude.search.record import entered, forget
from etude.search.results import Results
from etude.search.space import COLUMNS, Range as Range, Space, read_space
from etude.search.targets import Function, Target, Training
from etude.search.worker import Say, Teller, work


@dataclass(frozen=True, kw_only=True)
class AbstractSearch(abc.ABC):
    """What all searches can be told.

    Attributes:
        target: a recipe, its name (also `module:recipe`), a function of the names of the space,
            or a `CrossValidation`. A function returns a number, or several, of which the mean
            counts; what it raises makes the trial a failure.
        space: a `Range`, a list of choices or a constant by name; see `Space.of`. Of a recipe the
            names are those of its fields.
        metric: of a recipe, a metric of its validations, `valid/loss` if None, of the model that
            the training leaves. The test split chooses nothing, and is refused. Of a function, what
            its value is called.
        mode: whether small values ("min") or large ones ("max") are better. Of a loss it is "min",
            of a `CrossValidation` "max"; otherwise it must be said.
        folder: where it is kept: its record, the trials, the best configuration. The same search
            on the same folder goes on. None, of a function: in memory.
        seeds: how often each setting is tried, with seeds one after another.
        constraints: expressions, as "width * depth <= 256", or functions of a setting (a mapping
            of dotted names), that have to be true. What they forbid is never tried.
        prune: how a recipe's training is stopped that is worse than others: "median" (worse than
            the median of them at the same validation), "halving" (successive halving), "never".
            None is "median" for a recipe whose validations report the metric.
        storage: URL of a database that several hosts share; see the guide. None: a journal in the
            folder.
        config: of a recipe, the configuration of which a setting replaces fields; None is its
            defaults.

    Raises `ConfigurationError` for a mode that is none.
    """

    target: Any
    space: Mapping[str, Any]
    metric: str | None = None
    mode: Mode | None = None
    folder: str | Path | None = None
    seeds: int = 1
    constraints: Constraint | Sequence[Constraint] = ()
    prune: str | None = None
    storage: str | None = None
    config: Configuration | None = None

    def __post_init__(self):
        if self.mode is not None:
            mode_of(type(self).__name__, "value", self.mode)

    @property
    @abc.abstractmethod
    def method(self) -> Method:
        """How settings are chosen."""

    def run(
        self, trials: int | None = None, *, workers: int = 1, say: Say | None = None
    ) -> Results:
        """Searches until there are `trials` trials, those of earlier calls on the folder included.

        None, of a grid alone: all. `workers` processes work at a time; the target must then be one
        that another process can import. `say` is told of each trial, as a line; None prints.

        Raises `ConfigurationError` with all that is wrong with the search before any work, and if
        its first trials all fail, or no trial has a value in the end; `RunError` for a folder that
        holds something else; and `KeyboardInterrupt` after Ctrl-C, when the trials under way are
        saved.
        """
        say = say or Unfailing(sys.stdout).line
        plan = self.plan(trials, workers)
        with quiet():
            ledger = plan.ledger()
            teller = Teller(plan, ledger, trials, say)
            try:
                if workers == 1:
                    plan.target.check()
                    work(plan, ledger, trials, teller.tell)
                else:
                    Workers(plan, trials, workers, say).run(teller.tell)
            except Exception:
                if plan.folder is not None and not teller.results().trials:
                    forget(plan.folder)  # so that it can be corrected
                raise
            except KeyboardInterrupt:
                stands = f"Interrupted; of the trials, {teller.results().stands}."
                way = "" if plan.folder is None else f" The same search on {plan.folder} goes on."
                raise KeyboardInterrupt(stands + way) from None
            teller.tell()
            return _valued(teller.results())

    def plan(self, trials: int | None, workers: int = 1) -> Plan:
        """The search, checked, and its folder made. Raises what `run` raises before any work."""
        optuna_or_refuse()
        problems = self._wrong_options(trials, workers)
        space, found = read_space(self.space)
        problems += found
        target, space = self._target(space, problems)
        problems += self.method.problems(space)
        constraints, mode = self._constraints(), None
        if target is not None:
            problems += unreadable(constraints, target.context({**space.constants, **space.varied}))
            mode = self._mode(target.metric, problems)
            if target.metric in (*space.varied, *COLUMNS):
                problems.append(f"The metric {target.metric!r} has the name of another column.")
        if self.storage is not None and not problems:
            with quiet():
                open_storage(self.storage, None)
        if problems or target is None or mode is None:
            raise ConfigurationError("\n".join(dict.fromkeys(problems)))
        prune = self.prune or ("median" if target.reports else "never")
        # Absolute at once: a trial may change the working directory.
        folder = None if self.folder is None else Path(self.folder).absolute()
        plan = Plan(
            target, space, self.method, mode, tuple(constraints), prune, folder, self.storage
        )
        if space.size is not None and space.size <= COUNTED and untried(space, plan.allows) is None:
            raise ConfigurationError(f"The constraints allow none of the {space.size} settings.")
        if workers > 1:
            _refuse_unpicklable(plan)
        return plan if folder is None else plan.studied(entered(folder, plan.record))

    def _mode(self, metric: str, problems: list[str]) -> Mode | None:
        """The mode; None if it is not said."""
        given = "max" if isinstance(self.target, CrossValidation) else None
        try:
            return mode_of(type(self).__name__, metric, self.mode or given)
        except ConfigurationError as error:
            problems.append(str(error))
            return None

    def _wrong_options(self, trials: int | None, workers: int) -> list[str]:
        found: list[str] = []
        endless = trials is None and isinstance(self.method, Grid)
        if not endless and not is_count(trials):
            found.append(f"trials is a whole number from 1; got {trials!r}.")
        if not is_count(workers):
            found.append(f"workers is a whole number from 1; got {workers!r}.")
        elif workers > 1 and self.folder is None:
            found.append("Several workers need a folder that they share; got folder=None.")
        return found + wrong_options(
            metric=self.metric,
            folder=self.folder,
            seeds=self.seeds,
            constraints=self.constraints,
            prune=self.prune,
            storage=self.storage,
        )

    def _target(self, space: Space, problems: list[str]) -> tuple[Target | None, Space]:
        """What is evaluated, and the space as it takes it."""
        if isinstance(self.target, str | Recipe):
            source: Any = self.target  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            return self._training(source, space, problems)
        if not callable(self.target):
            problems.append(
                "The target of a search is a recipe, its name, a function or a CrossValidation; "
                f"got {self.target!r}."
            )
            return None, space
        if self.prune in tuple(PRUNERS) and self.prune != "never":
            problems.append(
                f"A function reports nothing on its way, so it is not pruned; got {self.prune!r}."
            )
        if self.config is not None:
            problems.append("config is for a recipe; the target is a function.")
        if isinstance(self.target, CrossValidation):
            problems += self.target.problems(space, self.seeds)
        elif is_count(self.seeds) and is_mapping(self.space):
            names = (*space.varied, *space.constants)
            problems += wrong_arguments(self.target, names, self.space, self.seeds)
        metric = "score" if isinstance(self.target, CrossValidation) else "value"
        return Function(self.target, self.metric or metric, self.seeds), space

    def _training(
        self, source: str | Recipe[Any], space: Space, problems: list[str]
    ) -> tuple[Target | None, Space]:
        try:
            recipe = find_recipe(source) if isinstance(source, str) else source
            config = recipe.configuration() if self.config is None else self.config
        except (ConfigurationError, ValidationError) as error:
            problems.append(str(error))
            return None, space
        if not isinstance(config, recipe.configuration):
            problems.append(
                f"config is a {recipe.configuration.__name__} of the recipe {recipe.name}; got a "
                f"{type(config).__name__}."
            )
            return None, space
        space, found = fitted(space, recipe.configuration)
        problems += found
        if "seed" in space.varied:
            problems.append("seed: a seed is no setting to choose; try each setting with several.")
        if "seed" in space.constants:
            problems.append("seed: the first seed is that of the configuration: give it there.")
        metric = self.metric or "valid/loss"
        if metric.partition("/")[0] in ("test", "train"):
            problems.append(
                f"The metric is one of a validation, as valid/loss; got {metric!r}. Who chooses a "
                "setting on the test split has no test left, and a training metric rewards "
                "overfitting."
            )
        if self.folder is None:
            problems.append("A search over a recipe needs a folder for its runs; got folder=None.")
        asked = self.prune not in (None, "never")
        return Training(source, config, metric, self.seeds, asked), space

    def _constraints(self) -> list[Constraint]:
        given = self.constraints
        if isinstance(given, str | Expression) or callable(given):
            return [given]
        return list(given) if is_a(given, Iterable) else []


@dataclass(frozen=True, kw_only=True)
class GridSearch(AbstractSearch):
    """Tries every setting of a space of lists and of ranges that can be counted, in order.

    >>> search = GridSearch(target=lambda x: x * x, space={"x": [3, -1, 2]}, mode="min")
    >>> search.run(say=lambda line: None).best.setting
    {'x': -1}
    """

    @property
    def method(self) -> Method:
        """Every setting, in order."""
        return Grid()


@dataclass(frozen=True, kw_only=True)
class RandomSearch(AbstractSearch):
    """Draws settings independently; `seed` is that of the draws.

    >>> space = {"x": Range(0.0, 1.0)}
    >>> search = RandomSearch(target=lambda x: x, space=space, mode="min", seed=1)
    >>> len(search.run(8, say=lambda line: None).trials)
    8
    """

    seed: int = 0

    @property
    def method(self) -> Method:
        """Independent draws."""
        return Random(self.seed)


@dataclass(frozen=True, kw_only=True)
class BayesianSearch(AbstractSearch):
    """Draws settings where the good ones lie: a tree-structured Parzen estimator (Optuna's TPE).

    `seed` is that of the draws, `start` the number of trials that are drawn independently first.

    >>> space = {"x": Range(-3.0, 3.0)}
    >>> search = BayesianSearch(target=lambda x: (x - 1) ** 2, space=space, mode="min")
    >>> search.run(25, say=lambda line: None).best.value < 0.05
    True
    """

    seed: int = 0
    start: int = 10

    @property
    def method(self) -> Method:
        """A tree-structured Parzen estimator."""
        return Bayesian(self.seed, self.start)


def _valued(results: Results) -> Results:
    """The results, unless no trial has a value, and none is under way that may have one."""
    ended = [found for found in results.trials if found.state != "running"]
    if ended and len(ended) == len(results.trials) and not results.has_best:
        last = ended[-1]
        raise ConfigurationError(
            f"No trial of the search has a value: {results.stands}. The last one, of "
            f"{dict(last.setting)}: {last.why or last.state}"
        )
    return results


def _refuse_unpicklable(plan: Plan) -> None:
    try:
        pickle.dumps(plan)
    except Exception as error:
        raise ConfigurationError(
            f"Several workers need what another process can import, functions of a module: {error}."
        ) from None
