"""What a search gets better: the training of a recipe, a function, an estimator of scikit-learn."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from pydantic import ValidationError

from etude.callbacks.watching import reports
from etude.catalogue import find_recipe
from etude.errors import ConfigurationError, suggest
from etude.recipe import Configuration, Recipe
from etude.run.folder import is_run
from etude.run.trials import metrics_of
from etude.search.estimators import CrossValidation
from etude.search.fields import flat, nested
from etude.search.proposing import Setting
from etude.search.pruning import Prune, Watched
from etude.trial import Trial

#: `report(number of the validation, value) -> whether to stop`.
Report = Callable[[int, float], bool]


class Pruned(Exception):  # noqa: N818, an outcome rather than an error
    """The training of a trial was stopped, because others were better by then."""


@dataclass(frozen=True)
class Training:
    """The main training of a recipe: a run for each setting and seed.

    Attributes:
        source: the recipe, or its name, by which another process finds it again.
        base: its configuration, of which a setting replaces fields.
        metric: of a validation, `valid/accuracy`; or, where no validation reports it, of the
            recipe's evaluation on the split "valid".
        seeds: trainings of each setting, with seeds from that of `base`.
        pruned: whether the user asked for pruning, so that a validation must report the metric.
    """

    source: str | Recipe[Any]
    base: Configuration
    metric: str
    seeds: int = 1
    pruned: bool = False
    #: its trials report on their way, so that they can be pruned
    reports: ClassVar[bool] = True

    @cached_property
    def recipe(self) -> Recipe[Any]:
        """The recipe."""
        return find_recipe(self.source) if isinstance(self.source, str) else self.source

    def __reduce__(self):
        return Training, (self.source, self.base, self.metric, self.seeds, self.pruned)

    @property
    def name(self) -> str:
        """The name of the recipe."""
        return self.recipe.name

    def check(self) -> None:
        """Builds the trainer, without compiling, to see whether the metric is reported."""
        watched = Watched()
        trial = self._trial(self.base)
        trial.build(progress=False).watched_by(watched)
        if reports(watched.names, self.metric):
            return
        known = {name for name in watched.names if not name.endswith("*")}
        if self._measured in self.recipe.columns.values():
            if self.pruned:
                raise ConfigurationError(
                    f"prune: {self.metric!r} is measured once, at the end of a training of "
                    f"{self.name}, so none is pruned by it. Choose prune='never' or leave it out; "
                    f"validations report: {', '.join(sorted(known)) or 'nothing'}."
                )
            return
        if "valid" in self.recipe.splits:
            known |= {f"valid/{name}" for name in self.recipe.columns.values()}
        raise ConfigurationError(
            f"The recipe {self.name} validates no {self.metric!r} of its main training "
            f"({trial.method}). {suggest(self.metric, known) if known else 'It has no validation.'}"
        )

    def configuration(self, setting: Setting, seed: int = 0) -> Configuration:
        """The configuration of the `seed`-th training of a setting.

        Raises `ConfigurationError` if its fields exclude each other.
        """
        content = flat(self.base.model_dump(mode="json")) | setting
        content["seed"] = self.base.seed + seed
        try:
            return type(self.base).model_validate(nested(content))
        except ValidationError as error:
            told = "; ".join(
                ": ".join([*map(str, item["loc"]), item["msg"]])
                for item in error.errors(include_url=False)
            )
            told += "" if told.endswith("?") else "."
            raise ConfigurationError(f"It is no configuration of {self.name}: {told}") from None

    def context(self, setting: Setting) -> Mapping[str, Any]:
        """All fields of the configuration, by dotted names."""
        return flat(self.base.model_dump(mode="json")) | setting

    def evaluate(self, setting: Setting, place: Path | None, report: Report) -> Iterator[float]:
        """Trains once for each seed; the first training alone is pruned."""
        assert place is not None  # a search over a recipe has a folder
        for seed in range(self.seeds):
            config = self.configuration(setting, seed)
            where = place if self.seeds == 1 else place / f"seed-{config.seed}"
            yield self._trained(config, where, report if seed == 0 else None)
            # Programs that stay in memory would use up its maps: some 40 trials kill a process.
            jax.clear_caches()

    def _trained(self, config: Configuration, place: Path, report: Report | None) -> float:
        trial = self._trial(config)
        record = {
            "recipe": self.name,
            "trial": trial.name,
            "experiment": ".",
            "configuration": config.model_dump(mode="json"),
        }
        trainer = trial.build(run=place, config=record, progress=False)
        prune = Prune(self.metric, report or (lambda number, value: False))
        trainer = trainer.watched_by(prune)
        result = trainer.resume() if is_run(place) else trainer.fit()
        if prune.pruned:
            raise Pruned(f"pruned at validation {prune.count}")
        if self.metric in result.metrics:
            return float(result.metrics[self.metric])
        found, _ = metrics_of(trial.evaluate(result.model, "valid"))
        if self._measured not in found:
            raise ConfigurationError(
                f"On the split valid, {self.name} measures no {self._measured!r}. "
                f"{suggest(self._measured, found)}"
            )
        return found[self._measured]

    @property
    def _measured(self) -> str:
        """The name of the metric in the recipe's own evaluation."""
        split, _, name = self.metric.partition("/")
        return name if split == "valid" and "valid" in self.recipe.splits else ""

    def _trial(self, config: Configuration) -> Trial:
        return self.recipe.trials(config)[0]


@dataclass(frozen=True)
class Function:
    """A function of the names of a setting: a number, or several of which the mean counts.

    With several `seeds` it is called once for each, as `function(..., seed=0)` and so on.
    """

    function: Callable[..., Any]
    metric: str = "value"
    seeds: int = 1
    reports: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Its name in Python; of an estimator, what it is."""
        function = self.function
        if isinstance(function, CrossValidation):
            return function.name
        kind: Any = function if hasattr(function, "__qualname__") else type(function)
        return f"{kind.__module__}:{kind.__qualname__}"

    def check(self) -> None:
        """Nothing can be known of a function before it is called."""

    def context(self, setting: Setting) -> Mapping[str, Any]:
        """The setting."""
        return setting

    def evaluate(self, setting: Setting, place: Path | None, report: Report) -> Iterator[float]:
        """What the function returns."""
        for seed in range(self.seeds):
            more = {"seed": seed} if self.seeds > 1 else {}
            yield from self._numbers(self.function(**setting, **more))

    def _numbers(self, returned: Any) -> list[float]:
        try:
            found = np.asarray(returned)
        except ValueError:  # lists of different lengths
            found = np.asarray(None)
        if found.dtype.kind not in "fiub" or found.ndim > 1 or not found.size:
            raise ConfigurationError(
                f"{self.name} returned {repr(returned)[:80]}; expected a number, or several in a "
                "list."
            )
        return [float(value) for value in np.atleast_1d(found)]


#: What a search evaluates.
Target = Training | Function
