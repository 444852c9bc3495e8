"""`generative/autoregressive`: pictures one pixel after the other, by their exact log p(x)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.data import DIGITS
from etude.export import Exportable
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.generative.exact import NegativeLogLikelihood, bits_per_dim
from etude.systems.generative.made import MADE
from etude.systems.generative.plots import picture_grid
from etude.systems.generative.recipes.deployed import likelihood
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.pictures import (
    classes_of,
    data,
    independent,
    write_samples,
)
from etude.systems.generative.transformer import CausalTransformer
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["made", "transformer", "conditional-made", "conditional-transformer"]
METHODS: tuple[Method, ...] = ("made", "transformer", "conditional-made", "conditional-transformer")
Model = MADE | CausalTransformer

#: Fields that only one of the models reads.
OWN = {
    "order": "made",
    "hidden": "made",
    "width": "transformer",
    "layers": "transformer",
    "heads": "transformer",
}

CITATIONS = (
    """@inproceedings{germain2015,
  title = {{MADE}: masked autoencoder for distribution estimation},
  author = {Germain, Mathieu and Gregor, Karol and Murray, Iain and Larochelle, Hugo},
  booktitle = {International Conference on Machine Learning},
  year = {2015}
}""",
    """@inproceedings{vaswani2017,
  title = {Attention is all you need},
  author = {Vaswani, Ashish and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}""",
)


class AutoregressiveConfig(DataConfiguration, frozen=True):
    """Every choice of `generative/autoregressive`; pictures are binarised at half intensity."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        METHODS, min_length=1, description="models; conditional ones know the class"
    )
    order: Literal["raster", "random"] = Field(
        "raster", description="of the pixels: line by line, or one drawn for each seed (made)"
    )
    hidden: tuple[int, ...] = Field((500,), description="widths of the layers (made)")
    width: int = Field(32, ge=1, description="numbers at each pixel (transformer)")
    layers: int = Field(2, ge=1, description="blocks (transformer)")
    heads: int = Field(2, ge=1, description="of the attention (transformer)")
    batch: int = Field(64, ge=1, description="pictures per step")
    epochs: int = Field(80, ge=1, description="passes over the training pictures")
    rate: float = Field(5e-3, gt=0, description="learning rate (AdamW), falls along a cosine")
    decay: float = Field(0.1, ge=0, description="weight decay")

    @model_validator(mode="after")
    def _check(self) -> "AutoregressiveConfig":
        problems = [
            f"{name} is for {kind}, and methods has {', '.join(self.methods)}"
            for name, kind in OWN.items()
            if getattr(self, name) != type(self).model_fields[name].default
            and not any(method.endswith(kind) for method in self.methods)
        ]
        refuse("AutoregressiveConfig", problems)
        return self


def trials(config: AutoregressiveConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: AutoregressiveConfig, method: Method, seed: int, /) -> Model:
    """The model of a method before its training."""
    found, key = data(config.data, config.root), jax.random.key(seed)
    shape = found.train.x.shape[1:]
    classes = len(found.classes) if method.startswith("conditional") else 0
    if method.endswith("made"):
        order = None
        if config.order == "random":
            order = np.random.default_rng(seed).permutation(int(np.prod(shape))).tolist()
        return MADE.create(key, shape, hidden=config.hidden, order=order, classes=classes)
    return CausalTransformer.create(
        key,
        shape,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        classes=classes,
    )


def build(config: AutoregressiveConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the weights of the best validation are kept."""
    found, loss = data(config.data, config.root), NegativeLogLikelihood()
    train = et.ArrayData(found.train, config.batch)
    assert found.valid is not None
    valid = et.ArrayData(found.valid, min(250, len(found.valid.y)))
    rate = optax.cosine_decay_schedule(config.rate, train.steps_per_epoch * config.epochs)
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(loss), optax.adamw(rate, weight_decay=config.decay)),
        train,
        et.Epochs(config.epochs),
        et.Validation(valid, loss, every=et.Epochs(2)),
        keep=et.Best("valid/loss"),
    )
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def evaluate(config: AutoregressiveConfig, seed: int, model: Model, split: str) -> dict[str, Any]:
    """Exact -log p(x) in nats per picture, its standard error over pictures, bits per pixel."""
    found = data(config.data, config.root)
    chosen = getattr(found, split)
    parts = [
        _log_prob(model, (chosen.x[start : start + 250], chosen.y[start : start + 250]))
        for start in range(0, len(chosen.y), 250)
    ]
    log_prob = np.concatenate(jax.device_get(parts)).astype(np.float64)
    nats = -float(log_prob.mean())
    return {
        "nll": nats,
        "error": float(log_prob.std() / np.sqrt(len(log_prob))),
        "bits": bits_per_dim(nats, chosen.x[0].size),
        "independent": independent(found, split),
    }


@jax.jit
def _log_prob(model: Model, batch: Any) -> jax.Array:
    return model.log_prob(batch)


def draw(config: AutoregressiveConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples of the first of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            model: Model = outcome.model()
            columns, name = model.classes or 8, outcome.trial.method
            pictures, _ = drawn(model, 8 * columns, config.seed, None, 1.0)
            figure = picture_grid(pictures, name, columns)
            figure.savefig(folder / f"samples-{name}.png", dpi=110)


class DrawOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> DrawOptions(label=3).label
    3
    """

    label: int | None = Field(
        None, ge=0, description="class of all samples, for a conditional model; none: all in turn"
    )
    temperature: float = Field(1.0, gt=0, description="what logits are divided by")


def drawn(
    model: Model, count: int, seed: int, label: int | None, temperature: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples, and the class of each.

    Raises `ConfigurationError` for a class that the model does not have.
    """
    labels = classes_of(model.classes, count, label)
    x = model.sample(jax.random.key(seed), count, labels, temperature=temperature)
    return np.asarray(x), labels


def sample(
    model: Model, config: AutoregressiveConfig, inputs: Sequence[str], options: DrawOptions
) -> Table:
    """Writes `samples.npy`, and `samples.png` of pictures; their classes as a table."""
    x, labels = drawn(model, options.count, options.seed, options.label, options.temperature)
    return write_samples(x, labels, options.out)


def export(model: Model, config: AutoregressiveConfig, trial: Trial) -> Exportable:
    """log p(x) of pictures."""
    return likelihood(model.log_prob, "pictures", model.shape, classes=model.classes)


recipe = Recipe(
    "generative/autoregressive",
    "Autoregressive models of binarised pictures.",
    AutoregressiveConfig,
    trials,
    {
        "test -log p": "nll",
        "standard error": "error",
        "bits per pixel": "bits",
        "independent pixels": "independent",
    },
    draw=draw,
    sample=Verb("samples of the model", "", DrawOptions, sample),
    export=export,
    ceiling="Exact nats per picture, lower is better; the entropy of the pictures is not known.",
    citations=(*CITATIONS, DIGITS.citation),
    data_licence=DIGITS.licence,
)
