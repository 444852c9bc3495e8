"""The trainings of an experiment, one after another, each trained unless it is and then measured.

`etude.recipe.Recipe.run` makes one of a recipe, a configuration and a folder. Of several processes,
the first alone looks into the folder, measures and writes; all train.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax

from etude.devices import on_one
from etude.engine.processes import processes
from etude.run.folder import is_run
from etude.run.trials import place_of, results_on_test, write_results
from etude.trial import Outcome, Trial

#: The metrics of a trial on the test split.
Metrics = dict[str, float]


@dataclass(frozen=True)
class Experiment:
    """The trials of an experiment in one folder.

    Attributes:
        trials: its trainings, in order.
        records: what the configuration of the run of each says.
        folder: of the experiment.
        columns: names of metrics without which a trial counts as not measured.
        measured: `measured(trial, model)` gives what is measured on the test split.
        resume, changes, overwrite: as `Recipe.run` has them.
        back: the number of a trial, and the checkpoint that it goes back to.
        options: what every trainer gets.
        say: is told each step, as a line.
    """

    trials: Sequence[Trial]
    records: Sequence[Mapping[str, Any]]
    folder: Path
    columns: frozenset[str]
    measured: Callable[[Trial, Any], Mapping[str, Any]]
    resume: bool
    changes: Literal["refuse", "allow"]
    overwrite: bool
    back: tuple[int, str] | None
    options: Mapping[str, Any]
    say: Callable[[str], None]

    def outcomes(self) -> list[Outcome]:
        """Every trial, trained and measured."""
        return [self._outcome(number) for number in range(len(self.trials))]

    def _outcome(self, number: int) -> Outcome:
        trial, place = self.trials[number], self._place(number)
        metrics, fresh = processes().first_says(partial(self._stands, number))
        if metrics is None:
            self.say(f"[{number + 1}/{len(self.trials)}] {trial.method}, seed {trial.seed}")
            model = self._trained(number, fresh=fresh)
            metrics = processes().first_says(partial(self._judged, number, model))
            self.say("  ".join(f"test {name} {value:.4f}" for name, value in metrics.items()))
            # Programs that stay in memory would use up its maps: some 40 trials kill a process.
            jax.clear_caches()
        return Outcome(trial, metrics, partial(trial.load, place))

    def _stands(self, number: int) -> tuple[Metrics | None, bool]:
        """What was measured of a trial that is finished, and whether it begins anew if it isn't."""
        place, going = self._place(number), self.resume or (number > 0 and not self.overwrite)
        done = None
        if going and self._checkpoint(number) is None:
            done = results_on_test(place, self.records[number]["configuration"])
        if done is not None and not self.columns <= set(done):
            done = None  # measured by a version that had other columns: measured again
        return done, not is_run(place) or not going

    def _trained(self, number: int, *, fresh: bool) -> Any:
        """The model of a trial, trained to its end, on one device."""
        own = {"run": self._place(number), "config": self.records[number]}
        build = partial(self.trials[number].build, **own, overwrite=self.overwrite, **self.options)
        trainer = processes().all_do(build)
        if fresh:
            return on_one(trainer.fit().model)
        result = trainer.resume(checkpoint=self._checkpoint(number), changes=self.changes)
        return on_one(result.model)

    def _judged(self, number: int, model: Any) -> Metrics:
        """What is measured of a trained model, and written beside its run."""
        return write_results(self._place(number), self.measured(self.trials[number], model), "test")

    def _checkpoint(self, number: int) -> str | None:
        return self.back[1] if self.back is not None and self.back[0] == number else None

    def _place(self, number: int) -> Path:
        return place_of(self.folder, number, self.trials[number].name)
