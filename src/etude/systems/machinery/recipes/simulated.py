"""`machinery/simulated`: eleven states of journal bearings, by networks and by features."""

from functools import lru_cache, partial
from typing import Any

import jax
from pydantic import Field

import etude as et
from etude.export import Exportable
from etude.recipe import Recipe, Trial
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.simulated_data import parts
from etude.systems.machinery.recipes.simulated_measures import (
    CEILING,
    COLUMNS,
    LICENCE,
    draw,
    forest,
    judge,
)
from etude.systems.machinery.recipes.simulated_networks import (
    Model,
    Sight,
    Size,
    Training,
    exportable,
    network,
)
from etude.systems.machinery.simulation import JOURNAL_CLASSES
from etude.systems.machinery.training import CNNTrainer

CLASSES = len(JOURNAL_CLASSES)


class Simulated(Training, frozen=True):
    """Every choice of `machinery/simulated`."""

    model: tuple[Model, ...] = Field(
        ("cnn", "features"), description="networks; features: a dense one on the 36 features"
    )
    per_class: int = Field(240, ge=8, description="records of each class")
    steps: int = Field(3000, ge=1, description="steps of training, as whole epochs")
    size: Size = Field("small", description="of the networks; full: for records at 20,480 Hz")


def trials(config: Simulated) -> list[Trial]:
    """Every network with every seed; a seed has the same records for all of them."""
    return [
        Trial(
            model,
            seed,
            partial(build, config, model, seed),
            partial(evaluate, config, model, seed),
            partial(network, model, CLASSES, config.size, key=jax.random.key(seed)),
        )
        for model in config.model
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def build(config: Simulated, model: Model, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial. The rate falls to zero, and the last weights are kept."""
    train = parts(config, seed).train
    count = len(train)
    return CNNTrainer(
        network(model, CLASSES, config.size, key=jax.random.key(seed)),
        sight(config, model, seed)(train),
        **config.settings(count),
        **{"seed": seed, **options},
    ).trainer(config.epochs(count))


def evaluate(
    config: Simulated, model: Model, seed: int, trained: Any, split: str
) -> dict[str, Any]:
    """The report, and that of a random forest beside it."""
    found = judge(sight(config, model, seed), config, seed, trained, split)
    return {**found, **forest(config, seed, split)}


def export(model: Any, config: Simulated, trial: Trial) -> Exportable:
    """What the network says of windows."""
    kind: Any = trial.method
    return exportable(model, [sight(config, kind, trial.seed)], config)


@lru_cache(maxsize=2)
def sight(config: Simulated, model: Model, seed: int) -> Sight:
    """What the model sees, normalised by the training records of the seed."""
    return Sight(model, parts(config, seed).train)


recipe = Recipe(
    "machinery/simulated",
    "Eleven states of journal bearings from simulated vibration, by networks and by features.",
    Simulated,
    trials,
    {**COLUMNS, "forest, windows": "forest_windows", "forest, records": "forest_records"},
    draw=draw,
    export=export,
    ceiling=CEILING,
    citations=(citations.WIDE_KERNEL, citations.CALIBRATION),
    data_licence=LICENCE,
)
