"""What an experiment consists of: trainings, and the typed configuration that they are made by."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
from pydantic import Field

from etude.config import Config
from etude.data.named import NAMES, DataSet, load
from etude.run import Run
from etude.trainer import Trainer
from etude.training.restoring import restore_model

#: Data sets that have no name.
OWN = "or a folder of IDX files, or an .npz file with x and y"


class Configuration(Config, frozen=True):
    """What every recipe can be told; each adds its own fields, with descriptions and defaults.

    >>> Configuration(seed=3).seed
    3
    """

    seed: int = Field(0, ge=0, lt=2**31, description="seed of all randomness and data order")


class DataConfiguration(Configuration, frozen=True):
    """What every recipe on samples from files can be told as well: `--data NAME --root FOLDER`.

    >>> DataConfiguration(data="digits").load(valid=0.2).valid.x.shape
    (288, 8, 8)
    """

    data: str = Field("digits", description=f"data set: {', '.join(NAMES)}; {OWN}")
    root: str | None = Field(None, description="folder that it is in; none: ETUDE_DATA")

    def load(self, *, valid: float = 0.0) -> DataSet:
        """The data set. Raises what `etude.data.load` raises."""
        return load(self.data, self.root, valid=valid)


@dataclass(frozen=True)
class Trial:
    """One training of an experiment.

    Attributes:
        method: the row of the table that it belongs to; trials of one method differ in the seed.
        seed: seed of its randomness.
        build: makes the trainer, when its turn comes; passes its keyword arguments (`run`,
            `config`, `overwrite`, `progress`, `mesh`) on to `Trainer`.
        evaluate: `evaluate(model, split) -> {name: value}`; scalars are metrics, anything else
            (a `confusion_matrix`) is for the report.
        skeleton: makes a model like the trained one, whatever the values of its arrays, so that a
            run is loaded without its training data. It is traced, so nothing is computed. None:
            a run is loaded by the trainer that `build` makes.
        config: the recipe's configuration narrowed to this trial, which verbs are given. None: the
            whole one.
    """

    method: str
    seed: int
    build: Callable[..., Trainer]
    evaluate: Callable[[Any, str], Mapping[str, Any]]
    skeleton: Callable[[], Any] | None = None
    config: Configuration | None = None

    @property
    def name(self) -> str:
        """The name of its folder.

        >>> Trial("scratch, 100 labels", 2, Trainer, lambda model, split: {}).name
        'scratch-100-labels-2'
        """
        return re.sub(r"\W+", "-", f"{self.method}-{self.seed}")

    def like(self) -> Any:
        """A model like the trained one, of which names, shapes and dtypes of arrays count."""
        if self.skeleton is None:
            return self.build(progress=False).settings.model
        return eqx.filter_eval_shape(self.skeleton)

    def load(self, folder: Path) -> Any:
        """The model of its run, from the newest checkpoint. Raises what `Trainer.load` raises."""
        with Run.open(folder, lock=False) as run:
            return restore_model(run, self.like())


@dataclass(frozen=True)
class Outcome:
    """A trial that is done: its test metrics, and its model, restored when asked for."""

    trial: Trial
    metrics: Mapping[str, float]
    model: Callable[[], Any]
