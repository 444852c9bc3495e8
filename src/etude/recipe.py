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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from etude.callbacks.unfailing import Unfailing
from etude.compilations import shared_compilations
from etude.devices import chosen, options_for, recorded
from etude.engine.processes import processes
from etude.errors import ConfigurationError, RunError, suggest
from etude.experiment import Experiment
from etude.export import Exportable
from etude.run import Run, from_recipe, way_on, write_report
from etude.run.folder import CONFIG, is_run
from etude.run.trials import (
    TABLE,
    finished_of,
    is_trained,
    metrics_of,
    place_of,
    results_on_test,
)
from etude.run.whole_file import write_whole
from etude.side_by_side import Planned, train_side_by_side
from etude.table import Table, mean_and_deviation
from etude.training.signals import Interrupted
from etude.trial import (
    Configuration as Configuration,
    DataConfiguration as DataConfiguration,
    Outcome as Outcome,
    Trial as Trial,
)
from etude.verbs import Verb

#: What the configuration of a run says of the folder of its experiment.
HERE, ABOVE = ".", "../.."

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
        devices: int | None = None,
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
        together.all_agree({"recipe": self.name, **config.model_dump(mode="json")})

        def recorded_before() -> dict[str, Any]:
            if is_run(folder) and not (resume or overwrite):
                raise RunError(
                    f"{folder} holds a run already: go on with it ({way_on(folder)}), give the new "
                    "one another name (--run), or replace it (--overwrite)."
                )
            return Run.open(folder, lock=False).config if resume else {}

        before = together.first_says(recorded_before)
        say = (say or Unfailing(sys.stdout).line) if together.is_first else _unsaid
        trials = self._trials(config)
        back = None if at is None else (self._number_of(trials, folder, at[0]), at[1])
        population = population or bool(before.get("population"))
        devices = chosen(devices, recorded(before))
        options = options_for(devices, population=population)  # before anything is built

        def records(**more: Any) -> list[dict[str, Any]]:
            return [self._record(config, trials, n, **more) for n in range(len(trials))]

        with shared_compilations():
            if population:
                train_side_by_side(
                    [
                        Planned(trial, _place(folder, trials, number), record)
                        for number, (trial, record) in enumerate(
                            zip(trials, records(population=True, devices=devices), strict=True)
                        )
                    ],
                    folder,
                    overwrite=overwrite and not resume,
                    options={**options, "progress": progress},
                    say=say,
                )
                resume, overwrite = True, False  # their runs are finished; they are measured
                devices, options = None, {}  # as those of trials that were trained alone
            outcomes = Experiment(
                trials,
                records(devices=devices),
                folder,
                frozenset(self.columns.values()),
                lambda trial, model: self._measured(trial, model, "test"),
                resume=resume,
                changes=changes,
                overwrite=overwrite,
                back=back,
                options={**options, "progress": progress},
                say=say,
            ).outcomes()
            table = self.table([(outcome.trial, outcome.metrics) for outcome in outcomes])
            report = together.first_says(lambda: self._leave(config, outcomes, table, folder))
        say(f"Report: {report}")
        return table

    def _leave(self, config: C, outcomes: list[Outcome], table: Table, folder: Path) -> str:
        """Writes what an experiment leaves beside its runs; the path of the report."""
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
        root, trials = root_of(folder), self._trials(config)
        asked = range(len(trials)) if root == folder else [self._number_of(trials, root, folder)]
        recorded = Run.open(root, lock=False).config["configuration"]
        finished = [
            (trials[number], place)
            for number in asked
            if is_trained(place := _place(root, trials, number), recorded)
        ]
        stands = finished_of(len(finished), len(asked), root)
        if not finished:
            raise RunError(f"There is nothing to measure in {folder}: {stands}")
        if len(finished) < len(asked):
            (say or Unfailing(sys.stdout).line)(stands)
        measured = [
            (trial, metrics_of(self._measured(trial, trial.load(place), split))[0])
            for trial, place in finished
        ]
        return self.table(measured, split)

    def load(self, config: C, folder: Path) -> Any:
        """The model of a run: the main trial's, or for a folder in `trials/` that trial's.

        Raises `RunError` if the configuration has no such trial, and what `Trainer.load` raises.
        """
        return self.trial_of(config, folder).load(folder)

    def trial_of(self, config: C, folder: Path) -> Trial:
        """The trial whose run is in a folder. Raises what `load` raises."""
        trials = self._trials(config)
        return trials[self._number_of(trials, root_of(folder), folder)]

    def trial_named(self, config: C, name: str) -> Trial:
        """The trial of a name. Raises `ConfigurationError` if the configuration has none."""
        trials = self._trials(config)
        for trial in trials:
            if trial.name == name:
                return trial
        raise ConfigurationError(
            f"The recipe {self.name} has no trial {name!r} of this configuration. "
            f"{suggest(name, (trial.name for trial in trials))}"
        )

    def results(self, config: C, root: Path) -> list[tuple[Trial, dict[str, float]]]:
        """What was measured of the finished trials on the test split; nothing is measured now."""
        recorded, trials = Run.open(root, lock=False).config["configuration"], self._trials(config)
        found = []
        for number, trial in enumerate(trials):
            metrics = results_on_test(_place(root, trials, number), recorded)
            if metrics is not None and set(self.columns.values()) <= set(metrics):
                found.append((trial, metrics))
        return found

    def about(self) -> tuple[tuple[str, str], ...]:
        """What a reader of its results should know: (title, sentence), where it is known."""
        rows = (("ceiling", self.ceiling), ("licence of the data", self.data_licence))
        return tuple((title, text) for title, text in rows if text)

    def _trials(self, config: C) -> Sequence[Trial]:
        """The trials, no two of one name: they would share a folder, and count as two seeds."""
        trials = self.trials(config)
        counts = Counter(trial.name for trial in trials)
        if repeated := [name for name, count in counts.items() if count > 1]:
            raise ConfigurationError(
                f"{self.name}: got several trials of the name {', '.join(repeated)}; expected one "
                "of each. Is a value given twice in a list of the configuration? Give it once."
            )
        return trials

    def _number_of(self, trials: Sequence[Trial], root: Path, folder: Path) -> int:
        """Which trial has its run in `folder`."""
        for number in range(len(trials)):
            if _same(_place(root, trials, number), folder):
                return number
        names = ", ".join(trial.name for trial in trials)
        raise RunError(f"{folder} is no trial of the recipe {self.name}; its trials: {names}.")

    def _measured(self, trial: Trial, model: Any, split: str) -> Mapping[str, Any]:
        try:
            found = trial.evaluate(model, split)
        except Interrupted:
            # A judge was being trained: what is said of it is not what to do about this run.
            raise KeyboardInterrupt from None
        known = metrics_of(found)[0]
        for title, name in self.columns.items():
            if name not in known:
                raise ConfigurationError(
                    f"The recipe {self.name} has a column {title!r} of the metric {name!r}, which "
                    f"the evaluation of {trial.method} does not measure. {suggest(name, known)}"
                )
        return found

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

    def _record(
        self,
        config: C,
        trials: Sequence[Trial],
        number: int,
        *,
        population: bool = False,
        devices: int | None = None,
    ) -> dict[str, Any]:
        """The configuration of a trial's run; that of the first one names all of them."""
        return {
            "recipe": self.name,
            "trial": trials[number].name,
            "experiment": ABOVE if number else HERE,
            **({} if number else {"trials": [trial.name for trial in trials]}),
            **({"population": True} if population and not number else {}),
            "configuration": config.model_dump(mode="json"),
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
    places = {HERE: folder, ABOVE: folder.parent.parent}
    experiment = config.get("experiment")
    if experiment not in places:
        raise RunError(
            f"{folder / CONFIG} does not say where the experiment of the run is: got experiment: "
            f"{experiment!r}, expected {HERE!r}, or {ABOVE!r} for a trial. Put back what was there."
        )
    return places[experiment]


def _unsaid(line: str) -> None:
    """What the first of several processes says already."""


def _place(folder: Path, trials: Sequence[Trial], number: int) -> Path:
    return place_of(folder, number, trials[number].name)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
