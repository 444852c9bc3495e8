"""`generative/gan-pictures`: convolutional adversarial networks of pictures by class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Float
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.data import DIGITS
from etude.export import Exportable
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.generative.convolutional import PictureDecoder, PictureEncoder
from etude.systems.generative.gan import GAN
from etude.systems.generative.plots import picture_grid
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.gan import CITATIONS, Method, game, unread
from etude.systems.generative.recipes.judged import AT_ONCE, COLUMNS, COUNT, judged
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.pictures import classes_of, write_samples
from etude.systems.generative.recipes.recognition import pictures
from etude.table import Table
from etude.verbs import SampleOptions, Verb


class GANPicturesConfig(DataConfiguration, frozen=True):
    """Every choice of `generative/gan-pictures`; grey values are from 0 to 1."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("non-saturating-r1",),
        min_length=1,
        description="objective, and what keeps the critic smooth",
    )
    latent: int = Field(32, ge=1, description="components of the noise")
    widths: tuple[int, ...] = Field(
        (16, 32), min_length=1, description="channels at each size of both networks, largest first"
    )
    hidden: tuple[int, ...] = Field((128,), description="widths of the perceptrons in them")
    r1: float = Field(0.1, gt=0, description="gamma of the penalty on data (-r1)")
    penalty: float = Field(10.0, gt=0, description="weight of the gradient penalty (-penalty)")
    repeat: int = Field(1, ge=1, description="turns of the critic for one of the generator")
    batch: int = Field(64, ge=1, description="pictures per step")
    epochs: int = Field(150, ge=1, description="passes over the training pictures")
    rate: float = Field(1e-3, gt=0, description="learning rate (Adam), falls along a cosine")
    momentum: float = Field(0.0, ge=0, lt=1, description="decay of Adam's first moment")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the average of the generator")

    @model_validator(mode="after")
    def _check(self) -> "GANPicturesConfig":
        refuse("GANPicturesConfig", unread(self))
        return self


def trials(config: GANPicturesConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: GANPicturesConfig, method: Method, seed: int, /) -> GAN:
    """The model of a method before its training."""
    found = pictures(config.data, config.root)
    shape, classes = found.train.x.shape[1:], len(found.classes)
    first, second, third = jax.random.split(jax.random.key(seed), 3)
    sizes: Any = {"widths": config.widths, "hidden": config.hidden, "classes": classes}
    return GAN.create(
        first,
        shape,
        latent=config.latent,
        generator=PictureDecoder.create(second, shape, config.latent, **sizes),
        critic=PictureEncoder.create(third, shape, 1, **sizes),
        classes=classes,
        spectral=method.endswith("spectral"),
        bounds=(0.0, 1.0),
    )


def build(config: GANPicturesConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the average of the generator is kept."""
    data = et.ArrayData(pictures(config.data, config.root).train, config.batch)
    steps = data.steps_per_epoch * config.epochs

    def adam(turns: int) -> optax.GradientTransformation:
        rate = optax.cosine_decay_schedule(config.rate, steps * turns)
        return optax.adam(rate, b1=config.momentum, b2=0.99)

    learners = game(config, method).learners(
        adam(config.repeat), adam(1), repeat=config.repeat, ema=config.ema
    )
    phase = et.Phase("fit", learners, data, et.Epochs(config.epochs), keep="ema")
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def evaluate(config: GANPicturesConfig, seed: int, model: GAN, split: str) -> dict[str, Any]:
    """Measures of samples beside the same of real pictures; see `judged`."""
    labels = np.arange(AT_ONCE) % model.classes
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2000), COUNT // AT_ONCE)
    fake = np.concatenate([np.asarray(model.sample(key, AT_ONCE, labels)) for key in keys])
    return judged(config, split, fake, np.tile(labels, len(keys)))


def draw(config: GANPicturesConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples of the first of each method, a column for each class."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            model: GAN = outcome.model()
            count, method = 8 * model.classes, outcome.trial.method
            x = _drawn(model, count, config.seed, None, 1.0)
            figure = picture_grid(x, method, model.classes)
            figure.savefig(folder / f"samples-{method}.png", dpi=110)


class ClassOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> ClassOptions(label=3).label
    3
    """

    label: int | None = Field(None, ge=0, description="class of all samples; none: all in turn")
    temperature: float = Field(1.0, ge=0, description="scale of the noise's standard deviation")


def _drawn(
    model: GAN, count: int, seed: int, label: int | None, temperature: float
) -> Float[np.ndarray, "n *shape"]:
    labels = classes_of(model.classes, count, label)
    return np.asarray(model.sample(jax.random.key(seed), count, labels, temperature=temperature))


def sample(
    model: GAN, config: GANPicturesConfig, inputs: Sequence[str], options: ClassOptions
) -> Table:
    """Writes `samples.npy`, and `samples.png` of pictures; their classes as a table."""
    count, label = options.count, options.label
    x = _drawn(model, count, options.seed, label, options.temperature)
    return write_samples(x, classes_of(model.classes, count, label), options.out)


def export(model: GAN, config: GANPicturesConfig, trial: Trial) -> Exportable:
    """Samples by class."""
    return sampler(
        lambda key, labels: model.sample(key, 1, labels),
        "pictures with intensities from 0 to 1",
        classes=model.classes,
    )


recipe = Recipe(
    "generative/gan-pictures",
    "Convolutional adversarial networks of pictures by class.",
    GANPicturesConfig,
    trials,
    COLUMNS,
    draw=draw,
    sample=Verb("samples of the model", "", ClassOptions, sample),
    export=export,
    ceiling="The same measures of real pictures.",
    citations=(*CITATIONS, DIGITS.citation),
    data_licence=DIGITS.licence,
)
