"""`born/digits` and `born/fashion-mnist`: pictures, classified and drawn by one machine."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pydantic import Field

import etude as et
from etude.data import DIGITS, FASHION_MNIST
from etude.export import Exportable
from etude.predictions import FILES, PictureOptions, class_table, read_intensities
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.born_machine.canonical import entanglement_entropy
from etude.systems.born_machine.config import ClassificationConfig, Config
from etude.systems.born_machine.config_model import DatasetConfig
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.embeddings import Embedding
from etude.systems.born_machine.evaluator import PerformanceEvaluator
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.plots import plot_entanglement, plot_samples
from etude.systems.born_machine.recipes import citations
from etude.systems.born_machine.recipes.verbs import (
    DrawOptions,
    drawn,
    exportable,
    probabilities,
    write_samples,
)
from etude.systems.born_machine.sampling import sample
from etude.systems.born_machine.sweep import TwoSiteSweep
from etude.systems.born_machine.training import ClassificationTrainer, GenerativeTrainer
from etude.table import Table
from etude.verbs import Verb

Method = Literal["classifier", "generative", "mixed", "sweep"]

MEASURED = ClassificationConfig.model_validate(
    {"stop_crit": "acc", "metrics": {"acc": 1, "clsloss": 1, "nll": 1}}
)
#: How many samples of each class a classifier is asked about.
DRAWN = 100


class PictureConfig(DataConfiguration, frozen=True):
    """Every choice of `born/digits` and, with other defaults, `born/fashion-mnist`."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("classifier", "sweep", "mixed", "generative"),
        description="what is minimised: -log p(c|x), -log p(x,c) by sweeps, between, -log p(x|c)",
    )
    in_dim: int = Field(2, ge=2, description="functions of the Legendre embedding")
    bond_dim: int = Field(16, ge=1, description="bond dimension")
    batch: int = Field(64, ge=1, description="pictures per step")
    epochs: int = Field(80, ge=1, description="passes over the training pictures at most")
    patience: int = Field(25, ge=0, description="epochs without improvement before it stops")
    rate: float = Field(1e-3, gt=0, description="learning rate (Adam), falls along a cosine")
    clip: float = Field(3.0, gt=0, description="longest gradient")
    sweeps: int = Field(10, ge=1, description="two-site sweeps, each over all pictures")
    alpha: float = Field(0.1, ge=0, le=1, description="mixed: 0 discriminative, 1 generative")


class FashionConfig(PictureConfig, frozen=True):
    """`born/fashion-mnist`."""

    methods: tuple[Method, ...] = Field(("classifier",), description="what is minimised")
    data: str = Field("fashion-mnist", description="data set, or its files; see born/digits")
    bond_dim: int = Field(20, ge=1, description="bond dimension")
    epochs: int = Field(20, ge=1, description="passes over the training pictures at most")
    rate: float = Field(3e-5, gt=0, description="learning rate (Adam), falls along a cosine")


def trials(config: PictureConfig) -> list[Trial]:
    """Every method with every seed."""
    return [
        Trial(method, seed, partial(build, config, method, seed), partial(evaluate, config))
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def build(config: PictureConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial."""
    handler = data(config.data, config.root)
    machine = BornMachine.create(
        jax.random.key(seed),
        handler.sites,
        handler.classes,
        Embedding("legendre", config.in_dim),
        config.bond_dim,
    )
    if method == "sweep":
        train = handler.splits["train"]
        pair = jnp.asarray(train.x), jnp.asarray(train.y)
        whole = et.ArrayData(pair, len(train.y), shuffle=False)
        phase = et.Phase("sweep", et.Learner(TwoSiteSweep()), whole, et.Steps(config.sweeps))
        return et.Trainer(machine, phase, seed=seed, **options)
    cfg = settings(config, method)
    if method == "classifier":
        return ClassificationTrainer(machine, cfg, "pre", handler, seed=seed, **options).trainer()
    return GenerativeTrainer(machine, cfg, handler, seed=seed, **options).trainer()


def settings(config: PictureConfig, method: Method) -> Config:
    """The configuration of the trainers, in the words of the field."""
    mixed = {"name": "mixed-nll", "kwargs": {"alpha": config.alpha}}
    part = {
        "max_epoch": config.epochs,
        "batch_size": config.batch,
        "optimizer": {
            "name": "adam",
            "kwargs": {"lr": config.rate, "gradient_clip_norm": config.clip},
            "schedule": "cosine",
        },
        "patience": config.patience,
        "stop_crit": "acc" if method == "classifier" else "loss",
        "metrics": {"loss": 1, "acc": 1},
        "watch_freq": 0,
    }
    generative = {**part, "criterion": mixed if method == "mixed" else {"name": "generative-nll"}}
    return Config.model_validate({"trainer": {"classification": part, "generative": generative}})


@cache
def data(name: str, root: str | None) -> DataHandler:
    """The pictures, in the domain of the Legendre embedding."""
    return DataHandler(DatasetConfig(name=name, root=root), (-1.0, 1.0))


def evaluate(config: PictureConfig, model: BornMachine, split: str) -> dict[str, Any]:
    """Accuracy, densities, and how many of the machine's samples a classifier recognises."""
    handler = data(config.data, config.root)
    found = PerformanceEvaluator(Config(), handler, MEASURED).evaluate(model, split)
    samples, labels = draws(model, config.seed)
    recognised = recogniser(config.data, config.root).predict(samples) == labels
    return {**{k: float(v) for k, v in found.items()}, "recognised": float(np.mean(recognised))}


def draws(machine: BornMachine, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of every class, in the domain, and their classes."""
    labels = jnp.repeat(jnp.arange(machine.classes), DRAWN)
    # The key of the seed itself is that of the first weights.
    key = jax.random.fold_in(jax.random.key(seed), DRAWN)
    return np.asarray(sample(machine, key, labels)), np.asarray(labels)


@cache
def recogniser(name: str, root: str | None) -> Any:
    """A support-vector machine of scikit-learn, trained on at most 6000 training pictures."""
    from sklearn.svm import SVC

    train = data(name, root).splits["train"]
    return SVC().fit(train.x[:6000], train.y[:6000])


def draw(config: PictureConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples beside data, and the entanglement along the chain, of the first of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = data(config.data, config.root)
    for outcome in outcomes:
        if outcome.trial.seed != config.seed:
            continue
        machine: BornMachine = outcome.model()
        samples, labels = draws(machine, config.seed)
        groups: list[Array | np.ndarray] = [samples[labels == c] for c in range(machine.classes)]
        name = outcome.trial.method
        plot_samples(groups, handler).savefig(folder / f"samples-{name}.png", dpi=110)
        profile = plot_entanglement(entanglement_entropy(machine), machine.bond_dim)
        profile.savefig(folder / f"entanglement-{name}.png", dpi=110)


def class_names(config: PictureConfig, machine: BornMachine) -> tuple[str, ...]:
    """The names of the machine's classes."""
    return config.load().classes[: machine.classes]


def predict(
    machine: BornMachine, config: PictureConfig, inputs: Sequence[str], options: PictureOptions
) -> Table:
    """p(c | x) of pictures, which are scaled as those of the training."""
    handler = data(config.data, config.root)
    names, x = read_intensities(inputs, handler.shape, options)
    found = probabilities(machine, handler.scaling(x.reshape(len(x), -1)))
    return class_table(names, found, class_names(config, machine))


def export(machine: BornMachine, config: PictureConfig, trial: Trial) -> Exportable:
    """p(c | x) and log p(x) of pictures."""
    handler = data(config.data, config.root)
    return exportable(machine, handler.scaling, handler.shape, class_names(config, machine))


def draw_pictures(
    machine: BornMachine, config: PictureConfig, inputs: Sequence[str], options: DrawOptions
) -> Table:
    """Samples as pictures, of intensities from 0 to 1."""
    handler = data(config.data, config.root)
    x, labels = drawn(machine, options)
    raw, classes = handler.scaling.inverse(np.asarray(x)), class_names(config, machine)
    return write_samples(raw, labels, handler.shape, classes, options.out)


predict_verb = Verb(
    "probabilities p(c|x) of the classes of pictures", FILES, PictureOptions, predict
)
sample_verb = Verb("exact samples of p(x|c)", "", DrawOptions, draw_pictures)

COLUMNS = {
    "test accuracy": "acc",
    "-log p(c|x)": "clsloss",
    "-log p(x|c)": "nll",
    "samples recognised": "recognised",
}

digits = Recipe(
    "born/digits",
    "A Born machine of 64 sites classifies and draws scikit-learn's digits.",
    PictureConfig,
    trials,
    COLUMNS,
    draw=draw,
    predict=predict_verb,
    sample=sample_verb,
    export=export,
    ceiling=(
        "Accuracy and samples recognised: 1; one of the 360 test pictures is .0028 of the "
        "accuracy, and the recogniser, a support-vector machine, errs itself."
    ),
    citations=(citations.MACHINE, citations.SWEEP, DIGITS.citation),
    data_licence=DIGITS.licence,
)

fashion = Recipe(
    "born/fashion-mnist",
    "A Born machine of 784 sites classifies Fashion-MNIST.",
    FashionConfig,
    trials,
    {"test accuracy": "acc", "-log p(c|x)": "clsloss"},
    predict=predict_verb,
    sample=sample_verb,
    export=export,
    ceiling="Accuracy: 1; -log p(c|x): 0. No better bound is known.",
    citations=(citations.MACHINE, FASHION_MNIST.citation),
    data_licence=FASHION_MNIST.licence,
)
