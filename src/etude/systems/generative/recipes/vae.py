"""`generative/vae`: autoencoders of binarised pictures, by their bounds of log p(x)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.data import DIGITS
from etude.export import Exportable
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.generative.bounds import Bound, log_likelihood
from etude.systems.generative.convolutional import PictureDecoder, PictureEncoder
from etude.systems.generative.plots import picture_grid
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.pictures import (
    classes_of,
    data,
    independent,
    write_samples,
)
from etude.systems.generative.vae import VAE
from etude.systems.generative.wasserstein import WassersteinMMD
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["elbo", "conditional", "beta", "iwae", "miwae", "piwae", "ciwae", "wae-mmd"]
METHODS: tuple[Method, ...] = get_args(Method)

#: Fields that only some methods read.
OWN: dict[str, tuple[Method, ...]] = {
    "draws": ("iwae", "miwae", "piwae", "ciwae"),
    "groups": ("miwae", "piwae"),
    "mix": ("ciwae",),
    "kl_weight": ("beta",),
    "warm_up": ("elbo", "conditional", "beta"),
    "mmd_weight": ("wae-mmd",),
}
#: Draws of the bound of log p(x), and of the mean that is the ELBO.
DRAWS, ELBO_DRAWS = 500, 20

CITATIONS = (
    """@inproceedings{kingma2014,
  title = {Auto-encoding variational {Bayes}},
  author = {Kingma, Diederik P. and Welling, Max},
  booktitle = {International Conference on Learning Representations},
  year = {2014}
}""",
    """@inproceedings{burda2016,
  title = {Importance weighted autoencoders},
  author = {Burda, Yuri and Grosse, Roger and Salakhutdinov, Ruslan},
  booktitle = {International Conference on Learning Representations},
  year = {2016}
}""",
    """@inproceedings{rainforth2018,
  title = {Tighter variational bounds are not necessarily better},
  author = {Rainforth, Tom and others},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}""",
    """@inproceedings{tolstikhin2018,
  title = {Wasserstein auto-encoders},
  author = {Tolstikhin, Ilya and others},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}""",
)


class VAEConfig(DataConfiguration, frozen=True):
    """Every choice of `generative/vae`; pictures are binarised at half of the full intensity."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("elbo", "conditional", "iwae", "miwae", "piwae", "ciwae", "wae-mmd"),
        min_length=1,
        description="what is minimised; beta weighs the divergence by kl_weight",
    )
    latent: int = Field(8, ge=1, description="latent components")
    hidden: tuple[int, ...] = Field((256, 128), description="widths of the encoder's layers")
    widths: tuple[int, ...] = Field(
        (), description="channels of convolutions before these layers, largest size first; (): none"
    )
    draws: int = Field(5, ge=2, description="K, draws in a logarithm (not elbo, beta, wae-mmd)")
    groups: int = Field(4, ge=2, description="M, logarithms in a mean (miwae, piwae)")
    mix: float = Field(0.5, gt=0, lt=1, description="share of the ELBO (ciwae)")
    kl_weight: float = Field(4.0, ge=0, description="weight of the divergence (beta)")
    warm_up: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of training in which its weight rises (elbo, conditional, beta)",
    )
    mmd_weight: float = Field(100.0, gt=0, description="weight of the discrepancy (wae-mmd)")
    batch: int = Field(64, ge=2, description="pictures per step")
    epochs: int = Field(600, ge=1, description="passes over the training pictures")
    rate: float = Field(1e-3, gt=0, description="learning rate (AdamW), falls along a cosine")
    decay: float = Field(0.0, ge=0, description="weight decay")

    @model_validator(mode="after")
    def _check(self) -> "VAEConfig":
        problems = [
            f"{name} is for {', '.join(methods)}, and methods has {', '.join(self.methods)}"
            for name, methods in OWN.items()
            if getattr(self, name) != type(self).model_fields[name].default
            and not set(methods) & set(self.methods)
        ]
        refuse("VAEConfig", problems)
        return self


def trials(config: VAEConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: VAEConfig, method: Method, seed: int, /) -> VAE:
    """The model of a method before its training."""
    found, key = data(config.data, config.root), jax.random.key(seed)
    shape = found.train.x.shape[1:]
    classes = len(found.classes) if method == "conditional" else 0
    if not config.widths:
        return VAE.create(key, shape, latent=config.latent, hidden=config.hidden, classes=classes)
    first, second = jax.random.split(key)
    sizes: Any = {"widths": config.widths, "hidden": config.hidden, "classes": classes}
    return VAE.create(
        key,
        shape,
        latent=config.latent,
        encoder=PictureEncoder.create(first, shape, 2 * config.latent, **sizes),
        decoder=PictureDecoder.create(second, shape, config.latent, **sizes),
        classes=classes,
    )


def objective(config: VAEConfig, method: Method) -> Bound | WassersteinMMD:
    """What a method minimises."""
    match method:
        case "elbo" | "conditional":
            return Bound(warm_up=config.warm_up)
        case "beta":
            return Bound(kl_weight=config.kl_weight, warm_up=config.warm_up)
        case "iwae":
            return Bound(draws=config.draws)
        case "miwae":
            return Bound(draws=config.draws, groups=config.groups)
        case "piwae":
            return Bound(draws=config.draws, groups=config.groups, partial=True)
        case "ciwae":
            return Bound(draws=config.draws, beta=config.mix)
        case "wae-mmd":
            return WassersteinMMD(config.mmd_weight)


def build(config: VAEConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the weights of the best validation are kept."""
    found, loss = data(config.data, config.root), objective(config, method)
    train = et.ArrayData(found.train, config.batch)
    assert found.valid is not None
    steps = train.steps_per_epoch * config.epochs
    rate = optax.cosine_decay_schedule(config.rate, steps)
    # Of a validation the weight is the full one.
    measure = replace(loss, warm_up=0.0) if isinstance(loss, Bound) else loss
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(loss), optax.adamw(rate, weight_decay=config.decay)),
        train,
        et.Epochs(config.epochs),
        et.Validation(et.ArrayData(found.valid, len(found.valid.y)), measure, every=et.Epochs(5)),
        keep=et.Best("valid/loss"),
    )
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def evaluate(config: VAEConfig, seed: int, model: VAE, split: str) -> dict[str, Any]:
    """Bounds of -log p(x) in nats per picture, and that of independent pixels."""
    found = data(config.data, config.root)
    chosen = getattr(found, split)
    elbo, bound = [], []
    for number, start in enumerate(range(0, len(chosen.y), 250)):
        batch = chosen.x[start : start + 250], chosen.y[start : start + 250]
        key = jax.random.fold_in(jax.random.key(seed), number)
        weights = _weights(model, batch, key)
        elbo.append(np.asarray(weights))
        bound.append(np.asarray(_bound(model, batch, key)))
    return {
        "elbo": -float(np.concatenate(elbo).mean()),
        "bound": -float(np.concatenate(bound).mean()),
        "independent": independent(found, split),
    }


@jax.jit
def _weights(model: VAE, batch: Any, key: jax.Array) -> jax.Array:
    return model.log_weights(batch, key, ELBO_DRAWS).mean(0)


@jax.jit
def _bound(model: VAE, batch: Any, key: jax.Array) -> jax.Array:
    return log_likelihood(model, batch, key, DRAWS)


def draw(config: VAEConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples of the first of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            model: VAE = outcome.model()
            columns, name = model.classes or 8, outcome.trial.method
            pictures, _ = drawn(model, 8 * columns, config.seed, None, 1.0, noise=False)
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
    temperature: float = Field(1.0, ge=0, description="scale of the prior's standard deviation")
    noise: bool = Field(False, description="draw pixels, rather than show their probabilities")


def drawn(
    model: VAE, count: int, seed: int, label: int | None, temperature: float, *, noise: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples, and the class of each.

    Raises `ConfigurationError` for a class that the model does not have.
    """
    labels = classes_of(model.classes, count, label)
    key = jax.random.key(seed)
    x = model.sample(key, count, labels, temperature=temperature, noise=noise)
    return np.asarray(x), labels


def sample(model: VAE, config: VAEConfig, inputs: Sequence[str], options: DrawOptions) -> Table:
    """Writes `samples.npy`, and `samples.png` of pictures; their classes as a table."""
    count, seed, label = options.count, options.seed, options.label
    x, labels = drawn(model, count, seed, label, options.temperature, noise=options.noise)
    return write_samples(x, labels, options.out)


def export(model: VAE, config: VAEConfig, trial: Trial) -> Exportable:
    """Samples, as the probabilities of their pixels."""
    return sampler(
        lambda key, labels: model.sample(key, 1, labels, noise=False),
        "pictures: the probability of each pixel",
        classes=model.classes,
    )


recipe = Recipe(
    "generative/vae",
    "Variational and Wasserstein autoencoders of binarised pictures.",
    VAEConfig,
    trials,
    {
        "test -ELBO": "elbo",
        f"test -log p, {DRAWS} draws": "bound",
        "independent pixels": "independent",
    },
    draw=draw,
    sample=Verb("samples of the model", "", DrawOptions, sample),
    export=export,
    ceiling="Nats per picture, lower is better; the entropy of the pictures is not known.",
    citations=(*CITATIONS, DIGITS.citation),
    data_licence=DIGITS.licence,
)
