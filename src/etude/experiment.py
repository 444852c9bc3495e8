"""An experiment: the trials of a recipe with one configuration, each a run, trained in turn.

The first trial is the run in the folder of the experiment itself; the others are runs in `trials/`
below it. Training it again continues it: finished trials are skipped, and one that was interrupted
goes on.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax

from etude.devices import chosen, on_one, options_for, recorded
from etude.engine.processes import processes
from etude.errors import ConfigurationError, RunError, suggest
from etude.run import Run, from_recipe
from etude.run.folder import CONFIG, is_run
from etude.run.trials import (
    metrics_of,
    place_of,
    results_on_test,
    write_results,
)
from etude.side_by_side import Planned, train_side_by_side
from etude.training.signals import Interrupted
from etude.trial import Outcome, Trial

#: What the configuration of a run says of the folder of its experiment.
HERE, ABOVE = ".", "../.."
#: What it says of trials that are trained side by side: true, or this once each has its run.
POPULATION, HANDED_OUT = "population", "handed out"


@dataclass(frozen=True)
class How:
    """How an experiment is trained.

    Attributes:
        resume: go on with trials that another configuration finished.
        changes: that of `Trainer.resume`.
        at: the folder of a trial, and the checkpoint that it goes back to.
        overwrite: replace the runs that are there.
        devices: those that are spread over; None: one.
        options: of every trainer, as `progress` and `mesh`.
        say: is told each step, as a line.
    """

    resume: bool
    changes: Literal["refuse", "allow"]
    at: tuple[Path, str] | None
    overwrite: bool
    devices: int | None
    options: Mapping[str, Any]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Experiment:
    """The trials of a recipe, and where their runs are.

    Attributes:
        recipe: the name of the recipe.
        configuration: that of the recipe, as JSON.
        trials: the trainings, in order, the main one first.
        columns: titles of the table, and the metrics that every evaluation has to measure.
        folder: where the runs are.

    Raises `ConfigurationError` for two trials of one name: they would share a folder, and count as
    two seeds.
    """

    recipe: str
    configuration: Mapping[str, Any]
    trials: Sequence[Trial]
    columns: Mapping[str, str]
    folder: Path

    def __post_init__(self):
        counts = Counter(trial.name for trial in self.trials)
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise ConfigurationError(
                f"{self.recipe}: got several trials of the name {', '.join(repeated)}; expected "
                "one of each. Is a value given twice in a list of the configuration? Give it once."
            )

    def train(self, how: How, *, population: bool) -> list[Outcome]:
        """Trains and measures what is not done yet; with `population`, trials side by side.

        Raises `RunError` if there is no trial in the folder that `how.at` names, and what
        `Trainer.fit` or `Trainer.resume` raises.
        """
        if how.at is not None:
            self.number_of(how.at[0])
        before = processes().first_says(lambda: self._recorded() if how.resume else {})
        side_by_side = population or before.get(POPULATION) is True
        if side_by_side and how.at is not None:
            raise RunError(
                f"The trials of the run in {self.folder} are being trained side by side, and have "
                f"no checkpoints of their own to go back to; got {how.at[1]!r}. Leave --checkpoint "
                "out: the population goes on from its newest one."
            )
        devices = processes().all_do(lambda: chosen(how.devices, recorded(before)))
        # Before anything is built: it may ask for devices that are not there.
        spread = options_for(devices, population=side_by_side)
        if side_by_side:
            self._train_side_by_side(how, devices, spread)
            # Their runs are finished: they are measured, as if they had been trained alone.
            how = replace(how, resume=True, overwrite=False, devices=None)
        else:
            how = replace(how, devices=devices, options={**how.options, **spread})
        # Trials that have runs of their own go on one after another.
        made = HANDED_OUT if side_by_side else before.get(POPULATION)
        return [self._outcome(number, how, made) for number in range(len(self.trials))]

    def _recorded(self) -> dict[str, Any]:
        """What the configuration of the run that is there says."""
        return Run.open(self.folder, lock=False).config

    def place(self, number: int) -> Path:
        """The folder of a trial."""
        return place_of(self.folder, number, self.trials[number].name)

    def number_of(self, folder: Path) -> int:
        """Which trial has its run in a folder. Raises `RunError` if none has."""
        for number in range(len(self.trials)):
            if _same(self.place(number), folder):
                return number
        names = ", ".join(trial.name for trial in self.trials)
        raise RunError(f"{folder} is no trial of the recipe {self.recipe}; its trials: {names}.")

    def measured(self, trial: Trial, model: Any, split: str) -> Mapping[str, Any]:
        """What a trial measures of a model on a split.

        Raises `ConfigurationError` if that lacks the metric of a column.
        """
        try:
            found = trial.evaluate(model, split)
        except Interrupted:
            # A judge was being trained: what is said of it is not what to do about this run.
            raise KeyboardInterrupt from None
        known = metrics_of(found)[0]
        for title, name in self.columns.items():
            if name not in known:
                raise ConfigurationError(
                    f"The recipe {self.recipe} has a column {title!r} of the metric {name!r}, "
                    f"which the evaluation of {trial.method} does not measure. "
                    f"{suggest(name, known)}"
                )
        return found

    def measured_before(self, number: int, configuration: Any) -> dict[str, float] | None:
        """The test metrics of a trial that was finished with a configuration; None of any other.

        Those that an early version measured, which had other columns, are measured again.
        """
        found = results_on_test(self.place(number), configuration)
        whole = found is not None and set(self.columns.values()) <= set(found)
        return found if whole else None

    def _train_side_by_side(self, how: How, devices: int | None, spread: Mapping[str, Any]) -> None:
        planned = [
            Planned(trial, self.place(number), self._record(number, devices, True))
            for number, trial in enumerate(self.trials)
        ]
        train_side_by_side(
            planned,
            self.folder,
            overwrite=how.overwrite and not how.resume,
            options={**how.options, **spread},
            say=how.say,
        )

    def _outcome(self, number: int, how: How, population: Any) -> Outcome:
        """A trial that is done: it was, or it is trained and measured now."""
        trial, place = self.trials[number], self.place(number)
        back = how.at[1] if how.at is not None and _same(how.at[0], place) else None
        # Of several processes, the first looks at the folder, measures and writes; all train.
        found, fresh = processes().first_says(partial(self._stands, number, how, back))
        if found is None:
            how.say(f"[{number + 1}/{len(self.trials)}] {trial.method}, seed {trial.seed}")
            model = self._trained(number, how, population, fresh=fresh, back=back)
            found = processes().first_says(partial(self._judged, number, on_one(model)))
            how.say("  ".join(f"test {name} {value:.4f}" for name, value in found.items()))
            # Programs that stay in memory would use up its maps: some 40 trials kill a process.
            jax.clear_caches()
        return Outcome(trial, found, partial(trial.load, place))

    def _stands(
        self, number: int, how: How, back: str | None
    ) -> tuple[dict[str, float] | None, bool]:
        """What was measured of a trial that is done, and whether one that isn't begins anew."""
        going = how.resume or (number > 0 and not how.overwrite)
        done = going and back is None
        found = self.measured_before(number, self.configuration) if done else None
        return found, not (going and is_run(self.place(number)))

    def _judged(self, number: int, model: Any) -> dict[str, float]:
        """What is measured of a trained model, and written beside its run."""
        measured = self.measured(self.trials[number], model, "test")
        return write_results(self.place(number), measured, "test")

    def _trained(
        self, number: int, how: How, population: Any, *, fresh: bool, back: str | None
    ) -> Any:
        """The model of a trial, which goes on, or begins anew."""
        record = self._record(number, how.devices, population)
        own = {"run": self.place(number), "config": record}
        build = partial(self.trials[number].build, **own, overwrite=how.overwrite, **how.options)
        trainer = processes().all_do(build)
        result = trainer.fit() if fresh else trainer.resume(checkpoint=back, changes=how.changes)
        return result.model

    def _record(self, number: int, devices: int | None, population: Any) -> dict[str, Any]:
        """The configuration of a trial's run; that of the first one speaks of all of them."""
        return {
            "recipe": self.recipe,
            "trial": self.trials[number].name,
            "experiment": ABOVE if number else HERE,
            **({} if number else {"trials": [trial.name for trial in self.trials]}),
            **({POPULATION: population} if population and not number else {}),
            "configuration": self.configuration,
            **({} if devices is None else {"devices": devices}),
        }


def root_of(folder: Path) -> Path:
    """The folder of the experiment that a run belongs to.

    Raises `RunError` if there is no run, or if its configuration does not say to which experiment
    it belongs, `ConfigurationError` if it was not made by a recipe.
    """
    config = Run.open(folder, lock=False).config
    if not from_recipe(config):
        raise ConfigurationError(
            f"The run in {folder} was not made by a recipe, so nothing here can build its model. "
            "Use the script that made it: trainer.resume() goes on, trainer.load() gives the model."
        )
    # As it was typed, if its parents can be read off: "." and ".." have none.
    named = folder if len(folder.parts) > 1 and ".." not in folder.parts else folder.resolve()
    places = {HERE: folder, ABOVE: named.parent.parent}
    experiment = config.get("experiment")
    if experiment not in places:
        raise RunError(
            f"{folder / CONFIG} does not say where the experiment of the run is: got experiment: "
            f"{experiment!r}, expected {HERE!r}, or {ABOVE!r} for a trial. Put back what was there."
        )
    return places[experiment]


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
