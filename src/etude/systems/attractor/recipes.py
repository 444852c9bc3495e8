"""`attractor/prototypes`, `attractor/digits`, `attractor/fashion-mnist`: local rules compared.

Every recipe trains networks by a local rule, the same network by back-propagation, and its
read-out alone; the pictures have a perceptron of as many parameters beside them. What is kept is
the epoch that is best in validation; the test split is looked at once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from pydantic import Field

from etude.data.arrays import ArrayData
from etude.data.named import load
from etude.engine.learner import Learner
from etude.engine.phase import Best, Epochs, Phase, Validation
from etude.engine.rule import Context, Gradient
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.attractor import plots
from etude.systems.attractor.data import PrototypeData
from etude.systems.attractor.learning import contrastive_updates, local_updates
from etude.systems.attractor.metrics import accuracy
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.plasticity import no_learning, softmax_cross_entropy
from etude.systems.attractor.settling import trace
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.training import (
    AttractorTrainer,
    back_propagation,
    judge,
    scores,
    settle_freely,
)
from etude.trainer import Trainer

LOCAL, CONTRASTIVE = "local rule", "contrastive, taught by errors"
BACK_PROPAGATION, READ_OUT = "back-propagation", "read-out alone"
CONTRASTIVE_READ_OUT, PERCEPTRON = "read-out of the uncoupled", "perceptron"

Splits = dict[str, tuple[Array, Array]]


class Prototypes(Configuration):
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
    uncoupled_rate: float = Field(2e-3, gt=0, description="its learning rate")


class Pictures(Configuration):
    """Every choice of `attractor/digits` and, with other defaults, `attractor/fashion-mnist`."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[
        Literal[
            "local rule",
            "contrastive, taught by errors",
            "back-propagation",
            "read-out alone",
            "read-out of the uncoupled",
            "perceptron",
        ],
        ...,
    ] = Field(
        (LOCAL, CONTRASTIVE, BACK_PROPAGATION, READ_OUT, CONTRASTIVE_READ_OUT, PERCEPTRON),
        description="methods to compare, the main one first",
    )
    epochs: int = Field(20, ge=1, description="passes over the training images")
    batch: int = Field(16, ge=1, description="images per step")
    hidden: int = Field(256, ge=1, description="hidden units of the coupled network")
    uncoupled_hidden: int = Field(800, ge=1, description="hidden units of the uncoupled network")
    sweeps: int = Field(4, ge=1, description="sweeps of each phase of the coupled network")
    rate: float = Field(2e-3, gt=0, description="first learning rate of Adam, falling to zero")
    contrastive_rate: float = Field(2e-3, gt=0, description="the same, contrastive")
    decay: float = Field(0.0, ge=0, description="weight decay of the contrastive rule")
    perceptron_rate: float = Field(1e-3, gt=0, description="the same, of the perceptron")
    forth: float = Field(3.0, description="strength of the input")
    teaching: float = Field(5.0, description="strength of the label's field")
    error_teaching: float = Field(1.0, description="strength of the error's field, contrastive")
    self_coupling: float = Field(5.0, description="self-coupling")
    threshold: float = Field(1.0, ge=0, description="stability asked for in the hidden layer")


class FashionMNIST(Pictures):
    """`Pictures` with defaults for 28 x 28 clothes."""

    epochs: int = Field(8, ge=1, description="passes over the training images")
    batch: int = Field(64, ge=1, description="images per step")
    hidden: int = Field(500, ge=1, description="hidden units of the coupled network")


def prototype_trials(config: Prototypes) -> list[Trial]:
    """All methods with each seed; a seed has the same data in all of them."""
    strong = {"j_d": config.strong_self_coupling, "back": config.strong_teaching}
    methods: dict[str, dict[str, Any]] = {
        "strong self-coupling and teaching": strong,
        "the tutorial": {},
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
    key = jax.random.fold_in(jax.random.key(509_05041), seed)
    data = PrototypeData(key)
    valid, test = (data.sample(jax.random.fold_in(key, k), n) for k, n in ((1, 2000), (2, 4000)))
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
) -> Trainer:
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
    shared = {"length": Epochs(config.epochs), "optimizer": optimizer, "held": splits["valid"]}
    if rule == BACK_PROPAGATION:
        return _by_gradient(network, sizes, data.source(), **shared, seed=seed, **options)
    return AttractorTrainer(
        network,
        sizes,
        data.source(),
        shared["length"],
        optimizer=optimizer,
        update=update,
        validation=splits["valid"],
        seed=seed,
        **options,
    )


def _prototype_accuracy(seed: int, model: Any, split: str) -> dict[str, Any]:
    x, y = prototypes(seed)[1][split]
    return _accuracy(partial(scores, model, _sizes(model)), x, y)


def draw_prototypes(config: Prototypes, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The four figures of the first trial, on test samples; patterns: the settled prototypes."""
    first = outcomes[0]
    data, splits = prototypes(first.trial.seed)
    network = first.model()
    patterns = settle_freely(network, _sizes(network), data.prototypes)[1]
    _draw(network, splits["test"][0][:500], patterns, folder)


def picture_trials(name: str, config: Pictures) -> list[Trial]:
    """All methods with each seed."""
    return [
        Trial(
            method,
            seed,
            partial(_picture_trainer, name, config, method, seed),
            partial(_picture_accuracy, name, method),
        )
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


@cache
def pictures(name: str) -> Splits:
    """Flat images of mean zero and mean square one (over the training images); labels of ±1."""
    found = load(name, valid=1 / 6)
    assert found.valid is not None
    flat = [s.x.reshape(len(s.x), -1) for s in (found.train, found.valid, found.test)]
    mean = flat[0].mean(0)
    scale = np.sqrt(((flat[0] - mean) ** 2).mean())
    labels = [
        2 * np.eye(10, dtype=np.float32)[s.y] - 1 for s in (found.train, found.valid, found.test)
    ]
    arrays = [
        (jnp.asarray((x - mean) / scale), jnp.asarray(y)) for x, y in zip(flat, labels, strict=True)
    ]
    return dict(zip(("train", "valid", "test"), arrays, strict=True))


def _picture_trainer(
    name: str, config: Pictures, method: str, seed: int, /, **options: Any
) -> Trainer:
    splits = pictures(name)
    data = ArrayData(splits["train"], config.batch, drop_last=True)
    length = Epochs(config.epochs)
    uncoupled = method in (CONTRASTIVE, CONTRASTIVE_READ_OUT)
    units = config.uncoupled_hidden if uncoupled else config.hidden
    sizes = (splits["train"][0].shape[1], units, 10)
    schedule = partial(_falling, steps=config.epochs * data.steps_per_epoch)
    options |= {"seed": seed}
    if method == PERCEPTRON:
        width = perceptron_width(sizes)
        model = eqx.nn.MLP(sizes[0], 10, width, 1, key=jax.random.key(seed))
        validation = Validation(ArrayData(splits["valid"], 1000), _perceptron_accuracy)
        learner = Learner(Gradient(_perceptron_loss), schedule(config.perceptron_rate))
        phase = Phase("fit", learner, data, length, validation, keep=_BEST)
        return Trainer(model, phase, **options)
    network = one_hidden_layer(
        jax.random.key(seed),
        sizes,
        forth=1.0 if uncoupled else config.forth,
        back=config.error_teaching if uncoupled else config.teaching,
        j_d=0.0 if uncoupled else config.self_coupling,
        thresholds=(config.threshold, config.threshold, 1.0),
        coupled=not uncoupled,
        symmetric=uncoupled,
    )
    free = 1 if uncoupled else config.sweeps
    if method == BACK_PROPAGATION:
        optimizer = schedule(config.perceptron_rate)
        held = splits["valid"]
        return _by_gradient(
            network, sizes, data, length=length, optimizer=optimizer, held=held, free_steps=free,
            **options,
        )  # fmt: skip
    if method == CONTRASTIVE:
        optimizer = schedule(config.contrastive_rate, decay=config.decay)
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
    )


def _picture_accuracy(name: str, method: str, model: Any, split: str) -> dict[str, Any]:
    x, y = pictures(name)[split]
    if method == PERCEPTRON:
        return _accuracy(jax.vmap(model), x, y)
    return _accuracy(partial(scores, model, _sizes(model)), x, y)


def draw_pictures(name: str, config: Pictures, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The four figures of the first trial; patterns: the majority of each class."""
    network = outcomes[0].model()
    if not isinstance(network, SequentialOrchestrator):
        return
    x, y = pictures(name)["valid"]
    x, y = x[:500], y[:500]
    hidden = settle_freely(network, _sizes(network), x)[1]
    _draw(network, x, jnp.sign((y > 0).astype(hidden.dtype).T @ hidden), folder)


def _by_gradient(
    network: SequentialOrchestrator,
    sizes: tuple[int, ...],
    data: ArrayData,
    *,
    length: Epochs,
    optimizer: optax.GradientTransformation,
    held: tuple[Array, Array],
    free_steps: int = 10,
    **options: Any,
) -> Trainer:
    learner = Learner(Gradient(back_propagation(sizes, free_steps)), optimizer)
    return Trainer(
        network, Phase("gradient", learner, data, length, **judge(sizes, held, free_steps)),
        **options,
    )  # fmt: skip


_BEST = Best("valid/accuracy", mode="max")


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
    model: Any, batch: tuple[Array, Array], context: Context
) -> tuple[Array, dict[str, Array]]:
    x, y = batch
    predicted = jax.vmap(model)(x)
    loss = optax.losses.softmax_cross_entropy(predicted, (y + 1) / 2).mean()
    return loss, {"accuracy": accuracy(y, predicted)}


def _perceptron_accuracy(
    model: Any, batch: tuple[Array, Array], context: Context
) -> dict[str, Array]:
    return {"accuracy": accuracy(batch[1], jax.vmap(model)(batch[0]))}


def _sizes(network: SequentialOrchestrator) -> tuple[int, int, int]:
    inputs, units = network.layers[1, 0].weight.shape
    return inputs, units, network.layers[2, 1].weight.shape[1]


def _accuracy(predict: Callable[[Array], Array], x: Array, y: Array) -> dict[str, Any]:
    compiled = eqx.filter_jit(predict)
    parts = [np.asarray(compiled(x[k : k + 2000])) for k in range(0, len(x), 2000)]
    predicted, label = np.concatenate(parts).argmax(1), np.asarray(y).argmax(1)
    matrix = np.zeros((y.shape[1], y.shape[1]), int)
    np.add.at(matrix, (label, predicted), 1)
    return {"accuracy": float((predicted == label).mean()), "confusion_matrix": matrix.tolist()}


def _draw(network: SequentialOrchestrator, x: Array, patterns: Array, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sizes = _sizes(network)
    blank = SequentialState(sizes).init(x)
    settled = settle_freely(network, sizes, x)
    figures = {
        "overlap": plots.plot_overlap(trace(network, blank, 6)[1], patterns),
        "flips": plots.plot_flips(network, blank, 6),
        "stability": plots.plot_stability(network, settled),
        "weights": plots.plot_weights(network.layers[1, 0].weight, "Weights of the input"),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=90)


prototypes_recipe = Recipe(
    "attractor/prototypes",
    "An attractor network learns noisy prototypes by a local rule, without gradients.",
    Prototypes,
    prototype_trials,
    {"test accuracy": "accuracy"},
    draw=draw_prototypes,
)

digits_recipe = Recipe(
    "attractor/digits",
    "Local rules, back-propagation and the read-out alone on scikit-learn's digits.",
    Pictures,
    partial(picture_trials, "digits"),
    {"test accuracy": "accuracy"},
    draw=partial(draw_pictures, "digits"),
)

fashion_recipe = Recipe(
    "attractor/fashion-mnist",
    "Local rules, back-propagation and the read-out alone on Fashion-MNIST.",
    FashionMNIST,
    partial(picture_trials, "fashion-mnist"),
    {"test accuracy": "accuracy"},
    draw=partial(draw_pictures, "fashion-mnist"),
)
