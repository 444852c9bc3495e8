"""`attractor/prototypes`: noisy prototypes, by the tutorial's settings and by better ones.

The settings were chosen on other draws of the data than the seeds of this recipe have.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from pydantic import Field

import etude as et
from etude.data import read_samples
from etude.export import Exportable, one_by_one
from etude.predictions import FILES, class_table, in_parts
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.attractor.data import PrototypeData
from etude.systems.attractor.learning import local_updates
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.plasticity import no_learning
from etude.systems.attractor.recipes import citations
from etude.systems.attractor.recipes.shared import (
    BACK_PROPAGATION,
    LOCAL,
    READ_OUT,
    Splits,
    draw_network,
    gradient_phase,
    measured,
    predicted,
    sizes_of,
)
from etude.systems.attractor.training import AttractorTrainer, settle_freely
from etude.table import Table
from etude.verbs import PredictOptions, Verb


class Prototypes(Configuration, frozen=True):
    """Every choice of `attractor/prototypes`; the first ones are the tutorial's."""

    repeats: int = Field(5, ge=1, le=100, description="trials of each method, with seeds from seed")
    epochs: int = Field(3, ge=1, description="passes over the 1000 samples")
    hidden: int = Field(256, ge=1, description="hidden units")
    rate: float = Field(5e-3, gt=0, description="learning rate of Adam")
    self_coupling: float = Field(0.5, description="self-coupling of the tutorial")
    teaching: float = Field(0.3, description="strength of the label's field in the tutorial")
    strong_self_coupling: float = Field(3.0, description="self-coupling of the improved network")
    strong_teaching: float = Field(5.0, description="label's field of the improved network")
    uncoupled_hidden: int = Field(1024, ge=1, description="units of the network without couplings")
    uncoupled_rate: float = Field(2e-3, gt=0, description="learning rate without couplings")


def prototype_trials(config: Prototypes) -> list[Trial]:
    """All methods with each seed; a seed has the same data in all of them."""
    strong = {"j_d": config.strong_self_coupling, "back": config.strong_teaching}
    methods: dict[str, dict[str, Any]] = {
        "the tutorial": {},
        "strong self-coupling and teaching": strong,
        "strong self-coupling": {"j_d": config.strong_self_coupling},
        "strong teaching": {"back": config.strong_teaching},
        "no couplings": {
            "j_d": 0.0,
            "coupled": False,
            "units": config.uncoupled_hidden,
            "rate": config.uncoupled_rate,
        },
        BACK_PROPAGATION: {"rule": BACK_PROPAGATION},
        READ_OUT: {"rule": READ_OUT},
    }
    return [
        Trial(
            method,
            seed,
            partial(_prototype_trainer, config, seed, **options),
            partial(_prototype_accuracy, seed),
        )
        for method, options in methods.items()
        for seed in range(config.seed, config.seed + config.repeats)
    ]


@cache
def prototypes(seed: int) -> tuple[PrototypeData, Splits]:
    """The data of a seed. None of them served to choose a setting."""
    # Not fold_in(key, 1), which is split(key)[1], so that samples would come twice.
    keys = jax.random.split(jax.random.fold_in(jax.random.key(509_05041), seed), 3)
    data = PrototypeData(keys[0])
    valid, test = data.sample(keys[1], 2000), data.sample(keys[2], 4000)
    return data, {"train": (data.x, data.y), "valid": valid, "test": test}


def _prototype_trainer(
    config: Prototypes,
    seed: int,
    /,
    *,
    rule: str = LOCAL,
    units: int | None = None,
    rate: float | None = None,
    j_d: float | None = None,
    back: float | None = None,
    coupled: bool = True,
    **options: Any,
) -> et.Trainer:
    data, splits = prototypes(seed)
    sizes = (100, units or config.hidden, 10)
    network = one_hidden_layer(
        jax.random.key(seed),
        sizes,
        back=config.teaching if back is None else back,
        j_d=config.self_coupling if j_d is None else j_d,
        coupled=coupled,
    )
    optimizer = optax.adam(rate or config.rate)
    update = partial(local_updates, early_stop=True)
    if rule == READ_OUT:
        update = partial(update, hidden=no_learning)
    options |= {"seed": seed}
    source, length, held = data.source(), et.Epochs(config.epochs), splits["valid"]
    if rule == BACK_PROPAGATION:
        phase = gradient_phase(sizes, source, length=length, optimizer=optimizer, held=held)
        return et.Trainer(network, phase, **options)
    return AttractorTrainer(
        network, sizes, source, length, optimizer=optimizer, update=update, validation=held,
        **options,
    ).trainer()  # fmt: skip


def _prototype_accuracy(seed: int, model: Any, split: str) -> dict[str, Any]:
    x, y = prototypes(seed)[1][split]
    return measured(model, x, y)


def predict_prototypes(
    network: SequentialOrchestrator,
    config: Prototypes,
    inputs: Sequence[str],
    options: PredictOptions,
) -> Table:
    """Scores of the classes. They are no probabilities: the read-out learns as a perceptron."""
    entries, _, classes = sizes_of(network)
    names, x = read_samples(inputs, (entries,))
    found = in_parts(partial(predicted, network), x)
    return class_table(names, found, [f"score {label}" for label in range(classes)])


def export_prototypes(
    network: SequentialOrchestrator, config: Prototypes, trial: Trial
) -> Exportable:
    """Scores of samples: the recall of the class."""
    entries, _, classes = sizes_of(network)
    return Exportable(
        one_by_one(partial(predicted, network)),
        {"samples": jax.ShapeDtypeStruct((entries,), jnp.float32)},
        "noisy prototypes, of entries -1 and 1",
        "scores of the classes, the largest for the one that is recalled; no probabilities",
        "None is needed.",
        tuple(f"score {label}" for label in range(classes)),
    )


def draw_prototypes(config: Prototypes, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The four figures of the first trial, on test samples; patterns: the settled prototypes."""
    first = outcomes[0]
    data, splits = prototypes(first.trial.seed)
    network = first.model()
    patterns = settle_freely(network, sizes_of(network), data.prototypes)[1]
    draw_network(network, splits["test"][0][:500], patterns, folder)


recipe = Recipe(
    "attractor/prototypes",
    "An attractor network learns noisy prototypes by a local rule, without gradients.",
    Prototypes,
    prototype_trials,
    {"test accuracy": "accuracy"},
    draw=draw_prototypes,
    predict=Verb(
        "scores of the classes of samples of 100 numbers, ±1 in the training",
        FILES,
        PredictOptions,
        predict_prototypes,
    ),
    export=export_prototypes,
    ceiling=(
        "Accuracy: that of the nearest prototype, which is the Bayes rule; .9876 on the draws of "
        "the default seeds."
    ),
    citations=(citations.LOCAL_RULE,),
    data_licence="None: the data are simulated.",
)
