"""`attractor/digits` and `attractor/fashion-mnist`: local rules beside gradients, on pictures.

The epoch that is best in validation is kept; the test split is looked at once, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array
from pydantic import Field

import etude as et
from etude.data import DIGITS, FASHION_MNIST
from etude.export import Exportable, one_by_one
from etude.predictions import FILES, PictureOptions, class_table, in_parts, read_intensities
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.attractor.data import Standard, standardised
from etude.systems.attractor.learning import contrastive_updates, local_updates
from etude.systems.attractor.metrics import accuracy
from etude.systems.attractor.modules import sign
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.plasticity import no_learning, softmax_cross_entropy
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
from etude.verbs import Verb

CONTRASTIVE, GRADED = "contrastive", "contrastive, graded units"
CONTRASTIVE_READ_OUT, PERCEPTRON = "read-out of the uncoupled", "perceptron"
BEST = et.Best("valid/accuracy", mode="max")


class Pictures(DataConfiguration, frozen=True):
    """Every choice of `attractor/digits` and, with other defaults, `attractor/fashion-mnist`."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[
        Literal[
            "local rule",
            "contrastive",
            "contrastive, graded units",
            "back-propagation",
            "read-out alone",
            "read-out of the uncoupled",
            "perceptron",
        ],
        ...,
    ] = Field(
        (LOCAL, CONTRASTIVE, GRADED, BACK_PROPAGATION, READ_OUT, CONTRASTIVE_READ_OUT, PERCEPTRON),
        description="methods to compare, the main one first",
    )
    epochs: int = Field(20, ge=1, description="passes over the training images")
    batch: int = Field(16, ge=1, description="images per step")
    hidden: int = Field(256, ge=1, description="hidden units of the coupled network")
    uncoupled_hidden: int = Field(800, ge=1, description="hidden units of the uncoupled network")
    sweeps: int = Field(4, ge=1, description="sweeps of each phase of the coupled network")
    rate: float = Field(
        2e-3,
        gt=0,
        description="first learning rate of Adam, falling to zero; local rule, read-outs alone",
    )
    contrastive_rate: float = Field(
        2e-3, gt=0, description="first learning rate of the contrastive rule"
    )
    graded_rate: float = Field(
        2e-3, gt=0, description="first learning rate of the contrastive rule with graded units"
    )
    decay: float = Field(0.0, ge=0, description="weight decay of the contrastive rule")
    perceptron_rate: float = Field(
        1e-3, gt=0, description="first learning rate of back-propagation and of the perceptron"
    )
    forth: float = Field(3.0, description="strength of the input of the coupled network")
    teaching: float = Field(5.0, description="root mean square of the label's field; local rule")
    error_teaching: float = Field(
        0.3,
        description="root mean square of what a label of ±1 would send as an error; contrastive",
    )
    graded_teaching: float = Field(0.1, description="error_teaching of graded units")
    self_coupling: float = Field(5.0, description="self-coupling of the coupled network")
    threshold: float = Field(
        1.0, ge=0, description="stability asked for in the hidden layer; local rule"
    )


class FashionMNIST(Pictures, frozen=True):
    """`Pictures` with defaults for 28 x 28 clothes."""

    data: str = Field("fashion-mnist", description="data set, or its files; see attractor/digits")
    epochs: int = Field(8, ge=1, description="passes over the training images")
    batch: int = Field(64, ge=1, description="images per step")
    hidden: int = Field(500, ge=1, description="hidden units of the coupled network")


def picture_trials(config: Pictures) -> list[Trial]:
    """All methods with each seed."""
    return [
        Trial(
            method,
            seed,
            partial(_picture_trainer, config, method, seed),
            partial(_picture_accuracy, config),
        )
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


class Prepared(NamedTuple):
    """A data set in the terms of the networks, and how other pictures come to be in them."""

    splits: Splits
    standard: Standard
    shape: tuple[int, ...]
    classes: tuple[str, ...]


@cache
def prepared(name: str, root: str | None = None) -> Prepared:
    """A data set; a sixth of the training images are for validation."""
    found = et.load(name, root, valid=1 / 6)
    assert found.valid is not None
    parts = {"train": found.train, "valid": found.valid, "test": found.test}
    shape, standard = found.train.x.shape[1:], Standard.fit(found.train.x)
    return Prepared(standardised(parts), standard, shape, found.classes)


def pictures(name: str, root: str | None = None) -> Splits:
    """The splits of a data set, in the terms of the networks."""
    return prepared(name, root).splits


def sizes_for(splits: Splits, units: int) -> tuple[int, int, int]:
    """Inputs, hidden units and classes."""
    x, y = splits["train"]
    return x.shape[1], units, y.shape[1]


def _picture_trainer(config: Pictures, method: str, seed: int, /, **options: Any) -> et.Trainer:
    splits = pictures(config.data, config.root)
    data = et.ArrayData(splits["train"], config.batch, drop_last=True)
    length = et.Epochs(config.epochs)
    uncoupled = method in (CONTRASTIVE, GRADED, CONTRASTIVE_READ_OUT)
    units = config.uncoupled_hidden if uncoupled else config.hidden
    sizes = sizes_for(splits, units)
    schedule = partial(_falling, steps=config.epochs * data.steps_per_epoch)
    options |= {"seed": seed}
    if method == PERCEPTRON:
        width = perceptron_width(sizes)
        model = eqx.nn.MLP(sizes[0], sizes[2], width, 1, key=jax.random.key(seed))
        validation = et.Validation(
            et.ArrayData(splits["valid"], min(1000, len(splits["valid"][0]))), _perceptron_accuracy
        )
        learner = et.Learner(et.Gradient(_perceptron_loss), schedule(config.perceptron_rate))
        phase = et.Phase("fit", learner, data, length, validation, keep=BEST)
        return et.Trainer(model, phase, **options)
    back = {CONTRASTIVE: config.error_teaching, GRADED: config.graded_teaching}
    network = one_hidden_layer(
        jax.random.key(seed),
        sizes,
        forth=1.0 if uncoupled else config.forth,
        back=back.get(method, config.teaching),
        j_d=0.0 if uncoupled else config.self_coupling,
        thresholds=(config.threshold, config.threshold, 1.0),
        coupled=not uncoupled,
        symmetric=uncoupled,
        response=jnp.tanh if method == GRADED else sign,
    )
    free = 1 if uncoupled else config.sweeps
    if method == BACK_PROPAGATION:
        optimizer, held = schedule(config.perceptron_rate), splits["valid"]
        phase = gradient_phase(
            sizes, data, length=length, optimizer=optimizer, held=held, free_steps=free
        )
        return et.Trainer(network, phase, **options)
    if method in (CONTRASTIVE, GRADED):
        rate = config.contrastive_rate if method == CONTRASTIVE else config.graded_rate
        optimizer = schedule(rate, decay=config.decay)
        update = partial(contrastive_updates, teaching="error", clamped_steps=1)
    else:
        optimizer = schedule(config.rate)
        update = partial(local_updates, readout_from="blank", clamped_steps=free, early_stop=True)
        if method != LOCAL:
            update = partial(update, hidden=no_learning)
    return AttractorTrainer(
        network,
        sizes,
        data,
        length,
        optimizer=optimizer,
        update=partial(update, readout=softmax_cross_entropy, free_steps=free),
        validation=splits["valid"],
        free_steps=free,
        **options,
    ).trainer()


@eqx.filter_jit
def probabilities(model: Any, x: Array) -> Array:
    """The softmax of the scores of a network, or of a perceptron."""
    return jax.nn.softmax(predicted(model, x))


def _picture_accuracy(config: Pictures, model: Any, split: str) -> dict[str, Any]:
    return measured(model, *pictures(config.data, config.root)[split])


def predict_pictures(
    model: Any, config: Pictures, inputs: Sequence[str], options: PictureOptions
) -> Table:
    """Probabilities of the classes: the softmax of the scores, which all methods learn by."""
    data = prepared(config.data, config.root)
    names, x = read_intensities(inputs, data.shape, options)
    found = in_parts(partial(probabilities, model), data.standard(x))
    return class_table(names, found, data.classes)


def export_pictures(model: Any, config: Pictures, trial: Trial) -> Exportable:
    """Probabilities of pictures, standardised as those of the training."""
    data = prepared(config.data, config.root)
    mean, scale = jnp.asarray(data.standard.mean, jnp.float32), data.standard.scale

    def function(x: Array) -> Array:
        return probabilities(model, (x.reshape(-1, mean.size) - mean) / scale)

    return Exportable(
        one_by_one(function),
        {"pictures": jax.ShapeDtypeStruct(data.shape, jnp.float32)},
        "pictures, light on dark, with intensities from 0 to 1",
        "probabilities of the classes: the softmax of the scores, which nothing calibrates",
        "The function standardises pictures as those of the training were.",
        data.classes,
    )


def draw_pictures(config: Pictures, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The four figures of the first trial; patterns: the majority of each class."""
    network = outcomes[0].model()
    if not isinstance(network, SequentialOrchestrator):
        return
    x, y = pictures(config.data, config.root)["valid"]
    x, y = x[:500], y[:500]
    hidden = settle_freely(network, sizes_of(network), x)[1]
    draw_network(network, x, jnp.sign((y > 0).astype(hidden.dtype).T @ hidden), folder)


def _falling(rate: float, steps: int, decay: float = 0.0) -> optax.GradientTransformation:
    return optax.adamw(optax.linear_schedule(rate, 0.0, steps), weight_decay=decay)


def perceptron_width(sizes: tuple[int, int, int]) -> int:
    """Hidden units of the perceptron with as many parameters as a coupled network of `sizes`.

    >>> perceptron_width((784, 500, 10))
    813
    """
    inputs, units, classes = sizes
    coupled = units * (inputs + units - 1 + classes)
    return round((coupled - classes) / (inputs + 1 + classes))


def _perceptron_loss(
    model: Any, batch: tuple[Array, Array], context: et.Context
) -> tuple[Array, dict[str, Array]]:
    x, y = batch
    predicted = jax.vmap(model)(x)
    loss = optax.losses.softmax_cross_entropy(predicted, (y + 1) / 2).mean()
    return loss, {"accuracy": accuracy(y, predicted)}


def _perceptron_accuracy(
    model: Any, batch: tuple[Array, Array], context: et.Context
) -> dict[str, Array]:
    return {"accuracy": accuracy(batch[1], jax.vmap(model)(batch[0]))}


predict_verb = Verb(
    "probabilities of the classes of pictures", FILES, PictureOptions, predict_pictures
)

digits_recipe = Recipe(
    "attractor/digits",
    "Local rules, back-propagation and the read-out alone on scikit-learn's digits.",
    Pictures,
    picture_trials,
    {"test accuracy": "accuracy"},
    draw=draw_pictures,
    predict=predict_verb,
    export=export_pictures,
    ceiling="Accuracy: 1; one of the 360 test pictures is .0028 of it.",
    citations=(*citations.RULES, DIGITS.citation),
    data_licence=DIGITS.licence,
)

fashion_recipe = Recipe(
    "attractor/fashion-mnist",
    "Local rules, back-propagation and the read-out alone on Fashion-MNIST.",
    FashionMNIST,
    picture_trials,
    {"test accuracy": "accuracy"},
    draw=draw_pictures,
    predict=predict_verb,
    export=export_pictures,
    ceiling="Accuracy: 1. No better bound is known.",
    citations=(*citations.RULES, FASHION_MNIST.citation),
    data_licence=FASHION_MNIST.licence,
)
