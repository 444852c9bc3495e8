"""A recipe: a named, configured experiment, which the command line can run.

It says which trainings there are (`Trial`: a method and a seed), how a trained model is judged,
and which columns the table of results has. Running a recipe again continues it: finished trials are
skipped, and an interrupted one goes on, so that an experiment is resumed by the same call on the
same folder. The first trial is the run in the folder itself; the others are runs in `trials/` below
it.

>>> import tempfile
>>> import jax.numpy as jnp, optax
>>> import etude as et
>>> from pydantic import Field
>>> class Line(Configuration):
...     lr: float = Field(0.5, gt=0, description="learning rate")
>>> def loss(w, batch, context):
...     return jnp.mean((w - batch) ** 2)
>>> data = et.ArrayData(jnp.ones(8), batch_size=8)
>>> def trials(config):
...     def build(**options):
...         learner = et.Learner(et.Gradient(loss), optax.sgd(config.lr))
...         phase = et.Phase("fit", learner, data, et.Steps(5))
...         return et.Trainer(jnp.zeros(()), phase, seed=config.seed, **options)
...     def evaluate(model, split):
...         return {"error": float(abs(model - 1))}
...     return [Trial("plain", config.seed, build, evaluate)]
>>> recipe = Recipe("line", "Fits a constant.", Line, trials, {"test error": "error"})
>>> folder = Path(tempfile.mkdtemp()) / "line"
>>> recipe.run(Line(), folder, progress=False, say=lambda line: None).rows
(('plain', '0.0000'),)
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from etude.callbacks.unfailing import Unfailing
from etude.compilations import shared_compilations
from etude.devices import counted
from etude.engine.ending import bound
from etude.engine.processes import processes
from etude.errors import ConfigurationError, RunError, suggest
from etude.experiment import Experiment, How, root_of
from etude.export import Exportable
from etude.run import Run, way_on, write_report
from etude.run.folder import is_run
from etude.run.trials import TABLE, finished_of, is_trained, metrics_of
from etude.run.whole_file import write_whole
from etude.table import Table, mean_and_deviation
from etude.trial import (
    Configuration as Configuration,
    DataConfiguration as DataConfiguration,
    Outcome as Outcome,
    Trial as Trial,
)
from etude.verbs import Verb

C = TypeVar("C", bound=Configuration)


@dataclass(frozen=True)
class Recipe(Generic[C]):
    """A named, configured experiment.

    Attributes:
        name: what the command line calls it.
        summary: one line about the experiment.
        configuration: the class of its typed configuration.
        trials: its trainings, in order, the main one first. Cheap: trainers are built later.
        columns: columns of the table, title -> name of a metric of `Trial.evaluate`. Where a title
            begins with "test", the table of another split has the name of that split there.
        splits: names of the data that a model can be evaluated on; the table shows "test".
        draw: `draw(config, outcomes, folder)` adds figures to a finished experiment.
        predict: what `etude predict RUN INPUT...` does with the trained model.
        sample: what `etude sample RUN` does with the trained model.
        export: `export(model, configuration, trial)` says what `etude export RUN` deploys of the
            trained model; the configuration is that of the trial where it has its own. Raises
            `ConfigurationError` for a model that cannot be deployed, with the reason.
        ceiling: the best value that the measure can reach, and why; one sentence.
        citations: BibTeX entries of the methods and data used.
        data_licence: the licence of the data.
    """

    name: str
    summary: str
    configuration: type[C]
    trials: Callable[[C], Sequence[Trial]]
    columns: Mapping[str, str]
    splits: tuple[str, ...] = ("train", "valid", "test")
    draw: Callable[[C, Sequence[Outcome], Path], None] | None = None
    predict: Verb | None = None
    sample: Verb | None = None
    export: Callable[[Any, C, Trial], Exportable] | None = None
    ceiling: str = ""
    citations: tuple[str, ...] = ()
    data_licence: str = ""

    def run(
        self,
        config: C,
        folder: Path,
        *,
        resume: bool = False,
        changes: Literal["refuse", "allow"] = "refuse",
        at: tuple[Path, str] | None = None,
        overwrite: bool = False,
        population: bool = False,
        devices: int | Literal["all"] | None = None,
        progress: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> Table:
        """Trains, evaluates, draws and reports; or goes on where it was interrupted.

        With `resume`, trainings that another configuration finished go on with this one: `changes`
        is that of `Trainer.resume`. `at` is the folder of a trial and the checkpoint that it goes
        back to. With `population`, trials of one method that differ in nothing but the seed are
        trained side by side, and a resume goes on so. `devices` are those that the samples of every
        batch are spread over, or the trials that are trained side by side; a resume that is not
        told takes as many as before. `say` is told each step, as a line; None prints, and goes on
        if nobody reads.

        Raises `ConfigurationError` if two trials have one name, `RunError` if there is a run in
        `folder` and neither `resume` nor `overwrite`, and what `Trainer.fit` or `Trainer.resume`
        raises.
        """
        together = processes()
        asked = {"recipe": self.name, "folder": str(folder), "resume": resume, "changes": changes}
        asked |= {"overwrite": overwrite, "devices": devices, "population": population}
        together.all_agree({**asked, **config.model_dump(mode="json")})

        def refuse_unless_free() -> None:
            if is_run(folder) and not (resume or overwrite):
                raise RunError(
                    f"{folder} holds a run already: go on with it ({way_on(folder)}), give the new "
                    "one another name (--run), or replace it (--overwrite)."
                )

        together.first_says(refuse_unless_free)
        say = (say or Unfailing(sys.stdout).line) if together.is_first else _unsaid
        how = How(resume, changes, at, overwrite, counted(devices), {"progress": progress}, say)
        experiment = self._experiment(config, folder)
        with bound(together), shared_compilations():
            outcomes = experiment.train(how, population=population)
            table = self.table([(outcome.trial, outcome.metrics) for outcome in outcomes])
            report = together.first_says(lambda: self._leave(config, outcomes, table, folder))
        say(f"Report: {report}")
        return table

    def _leave(self, config: C, outcomes: list[Outcome], table: Table, folder: Path) -> str:
        """Writes what an experiment leaves beside its runs; returns the path of the report."""
        if self.draw is not None:
            self.draw(config, outcomes, folder / "figures")
        results = {**asdict(table), "about": dict(self.about()), "citations": self.citations}
        write_whole(folder / TABLE, json.dumps(results, indent=1, ensure_ascii=False).encode())
        return str(write_report(folder))

    def evaluate(
        self,
        config: C,
        folder: Path,
        split: str,
        *,
        say: Callable[[str], None] | None = None,
    ) -> Table:
        """Measures the models of the finished trials on a split; writes nothing.

        A folder in `trials/` is measured alone. `say` is told, as a line, how many trials are
        finished if not all are; None prints.

        Raises `ConfigurationError` for a split that is none of the recipe's, `RunError` if no trial
        is finished, and what `load` raises.
        """
        if split not in self.splits:
            raise ConfigurationError(f"There is no split {split!r}. {suggest(split, self.splits)}")
        root = root_of(folder)
        experiment = self._experiment(config, root)
        count = len(experiment.trials)
        asked = range(count) if root == folder else [experiment.number_of(folder)]
        recorded = Run.open(root, lock=False).config["configuration"]
        finished = [n for n in asked if is_trained(experiment.place(n), recorded)]
        stands = finished_of(len(finished), len(asked), root)
        if not finished:
            raise RunError(f"There is nothing to measure in {folder}: {stands}")
        if len(finished) < len(asked):
            (say or Unfailing(sys.stdout).line)(stands)
        measured = []
        for number in finished:
            trial = experiment.trials[number]
            model = trial.load(experiment.place(number))
            measured.append((trial, metrics_of(experiment.measured(trial, model, split))[0]))
        return self.table(measured, split)

    def load(self, config: C, folder: Path) -> Any:
        """The model of a run: the main trial's, or for a folder in `trials/` that trial's.

        Raises `RunError` if the configuration has no such trial, and what `Trainer.load` raises.
        """
        return self.trial_of(config, folder).load(folder)

    def trial_of(self, config: C, folder: Path) -> Trial:
        """The trial whose run is in a folder. Raises what `load` raises."""
        experiment = self._experiment(config, root_of(folder))
        return experiment.trials[experiment.number_of(folder)]

    def trial_named(self, config: C, name: str) -> Trial:
        """The trial of a name. Raises `ConfigurationError` if the configuration has none."""
        trials = self.trials(config)
        for trial in trials:
            if trial.name == name:
                return trial
        raise ConfigurationError(
            f"The recipe {self.name} has no trial {name!r} of this configuration. "
            f"{suggest(name, (trial.name for trial in trials))}"
        )

    def results(self, config: C, root: Path) -> list[tuple[Trial, dict[str, float]]]:
        """What was measured of the finished trials on the test split; nothing is measured now."""
        experiment = self._experiment(config, root)
        recorded = Run.open(root, lock=False).config["configuration"]
        found = []
        for number, trial in enumerate(experiment.trials):
            metrics = experiment.measured_before(number, recorded)
            if metrics is not None:
                found.append((trial, metrics))
        return found

    def about(self) -> tuple[tuple[str, str], ...]:
        """What a reader of its results should know: (title, sentence), where it is known."""
        rows = (("ceiling", self.ceiling), ("licence of the data", self.data_licence))
        return tuple((title, text) for title, text in rows if text)

    def table(
        self, results: Sequence[tuple[Trial, Mapping[str, float]]], split: str = "test"
    ) -> Table:
        """Mean ± sample standard deviation over the trials of each method."""
        titles = [re.sub(r"^test\b", lambda _: split, title) for title in self.columns]
        rows = []
        for method in dict.fromkeys(trial.method for trial, _ in results):
            mine = [metrics for trial, metrics in results if trial.method == method]
            cells = [mean_and_deviation([m[name] for m in mine]) for name in self.columns.values()]
            rows.append((method, *cells))
        return Table(("method", *titles), tuple(rows))

    def _experiment(self, config: C, folder: Path) -> Experiment:
        """Raises `ConfigurationError` if two trials have one name."""
        recorded = config.model_dump(mode="json")
        return Experiment(self.name, recorded, self.trials(config), self.columns, folder)


def _unsaid(line: str) -> None:
    """What the first of several processes says already."""
