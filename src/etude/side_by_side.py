"""The trials of an experiment that differ in nothing but the seed, trained as one population.

Each trial then has the run that it would have had alone, so that all that is done with the runs of
an experiment works the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etude.callbacks import Progress
from etude.errors import ConfigurationError, NonFiniteError
from etude.population.given import Given
from etude.population.likeness import differences
from etude.population.spread import unspread
from etude.run import Run
from etude.run.folder import POPULATIONS, is_run
from etude.run.trials import is_trained
from etude.trainer import Trainer
from etude.training.settings import Settings
from etude.trial import Trial


@dataclass(frozen=True)
class Planned:
    """A trial, where its run is, and what `config.yaml` says there."""

    trial: Trial
    place: Path
    record: Mapping[str, Any]

    @property
    def trained(self) -> bool:
        """Whether its run is finished."""
        return is_trained(self.place, self.record["configuration"])


def train_side_by_side(
    planned: Sequence[Planned],
    folder: Path,
    *,
    overwrite: bool,
    options: Mapping[str, Any],
    say: Callable[[str], None],
) -> None:
    """Trains the trials of each method as one population, and leaves each with its run.

    What is trained already is left as it is, unless `overwrite` replaces it; a population that was
    interrupted goes on. `folder` is that of the experiment, whose run is that of the first trial.
    `options` are those of the trainers, `progress` and `mesh`.

    Raises `ConfigurationError`, before anything is trained, for trials that differ in more than
    their seed or are fewer than the devices, and `NonFiniteError` for those whose loss or update
    was not finite, when the others are trained.
    """
    methods = list(dict.fromkeys(one.trial.method for one in planned))
    crowds = {name: [one for one in planned if one.trial.method == name] for name in methods}
    if not overwrite:
        crowds = {name: own for name, own in crowds.items() if not all(one.trained for one in own)}
    for name, those in crowds.items():
        if problems := list(unspread(options.get("mesh"), None, len(those))):
            raise ConfigurationError(f"{name}: {problems[0]}")
    settings = {name: _settings(name, those) for name, those in crowds.items()}
    first = planned[0]
    if overwrite or not is_run(first.place):  # from now on, a resume finds the experiment
        Run.create(first.place, first.record, first.trial.seed, overwrite=overwrite).close()
    for name, those in crowds.items():
        _train(name, those, settings[name], folder, overwrite=overwrite, options=options, say=say)


def _settings(method: str, those: Sequence[Planned]) -> list[Settings]:
    """The settings of each trial, with the phases and the data of the first."""
    first = those[0].trial.build(run=None, config=None, overwrite=False, progress=False).settings
    if first.layout is not None:
        raise ConfigurationError(
            f"The trials of {method!r} are spread over devices by the recipe itself, and side by "
            "side each is whole on one device. Leave --population out, and they are trained one "
            "after another."
        )
    found = [first]
    for one in those[1:]:
        own = one.trial.build(run=None, config=None, overwrite=False, progress=False).settings
        if problems := list(differences(first, own)):
            raise ConfigurationError(
                f"The trials of {method!r} with the seeds {those[0].trial.seed} and "
                f"{one.trial.seed} cannot be trained side by side, because more than the seed "
                f"differs: {', '.join(problems[:5])}. Leave --population out, and they are trained "
                "one after another."
            )
        found.append(replace(first, model=own.model, seed=own.seed))
    return found


def _train(
    method: str,
    those: Sequence[Planned],
    settings: Sequence[Settings],
    folder: Path,
    *,
    overwrite: bool,
    options: Mapping[str, Any],
    say: Callable[[str], None],
) -> None:
    seeds = [one.trial.seed for one in those]
    say(f"{method}: {len(those)} trials side by side, seeds {', '.join(map(str, seeds))}")
    place = folder / POPULATIONS / re.sub(r"\W+", "-", method)
    first = settings[0]
    population = Given(seeds, [one.model for one in settings])
    trainer = Trainer(
        phases=first.phases,
        population=population,
        callbacks=[one for one in first.hooks.callbacks if not isinstance(one, Progress)],
        run=place,
        seed=first.seed,
        nonfinite=first.nonfinite,
        config={**those[0].record, "trial": method, "experiment": "../.."},
        overwrite=overwrite,
        executor=first.executor,
        on_full_disk=first.on_full_disk,
        **options,
    )
    trainer.resume() if is_run(place) and not overwrite else trainer.fit()
    finished = trainer.finished_population()
    fallen: list[str] = []
    for number, (one, own) in enumerate(zip(those, settings, strict=True)):
        if finished.at_fault(number):
            fallen.append(f"seed {one.trial.seed}: {finished.members[number].detail}")
        elif not one.trained:
            with _run(one) as run:
                finished.hand_out(number, own.anew(), run)
    if fallen:
        raise NonFiniteError(
            f"{method}: not all trials could be trained; the others are. {' '.join(fallen)}"
        )


def _run(one: Planned) -> Run:
    """The run of a trial, which an interrupted attempt may have begun."""
    if is_run(one.place):
        return Run.open(one.place)
    return Run.create(one.place, one.record, one.trial.seed)
