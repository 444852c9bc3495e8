"""`generative/pictures`: diffusion and flow matching of pictures by class, with one U-Net."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.data import DIGITS
from etude.export import Exportable
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.generative.diffusion import Denoising, Diffusion
from etude.systems.generative.matching import ContinuousFlow, FlowMatching
from etude.systems.generative.plots import picture_grid
from etude.systems.generative.recipes import diffusion, flow_matching
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.judged import AT_ONCE, COLUMNS, COUNT, judged
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.pictures import classes_of, write_samples
from etude.systems.generative.recipes.recognition import pictures
from etude.systems.generative.unet import UNet
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["diffusion", "flow-matching", "flow-matching-optimal"]
Model = Diffusion | ContinuousFlow

GUIDANCE = """@article{ho2022,
  title = {Classifier-free diffusion guidance},
  author = {Ho, Jonathan and Salimans, Tim},
  journal = {arXiv preprint arXiv:2207.12598},
  year = {2022}
}"""

#: Fields that diffusion alone reads.
OWN = ("min_snr", "eta")


class PicturesConfig(DataConfiguration, frozen=True):
    """Every choice of `generative/pictures`; grey values are from 0 to 1."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("diffusion", "flow-matching"), min_length=1, description="what the U-Net learns"
    )
    widths: tuple[int, ...] = Field((32, 64), description="channels at each size of the U-Net")
    patch: int = Field(1, ge=1, description="side of the squares of pixels that are one place")
    attention: bool = Field(
        False, description="whether places of the smallest size look at each other"
    )
    drop: float = Field(0.1, gt=0, lt=1, description="share of labels left out, for guidance")
    min_snr: float | None = Field(
        None, gt=0, description="gamma of min-SNR weights, none: all alike (diffusion)"
    )
    batch: int = Field(64, ge=2, description="pictures per step")
    epochs: int = Field(100, ge=1, description="passes over the training pictures")
    rate: float = Field(2e-3, gt=0, description="learning rate (Adam), falls along a cosine")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the average that is kept")
    solved: int = Field(50, ge=1, description="steps of the sampler")
    eta: float = Field(1.0, ge=0, le=1, description="its noise: 1 ancestral, 0 DDIM (diffusion)")
    guidance: float = Field(1.0, ge=0, description="weight of the labels in samples")

    @model_validator(mode="after")
    def _check(self) -> "PicturesConfig":
        problems = [
            f"{name} is for diffusion, and methods has {', '.join(self.methods)}"
            for name in OWN
            if getattr(self, name) != type(self).model_fields[name].default
            and "diffusion" not in self.methods
        ]
        refuse("PicturesConfig", problems)
        return self


def trials(config: PicturesConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: PicturesConfig, method: Method, seed: int, /) -> Model:
    """The model of a method before its training."""
    found, key = pictures(config.data, config.root), jax.random.key(seed)
    shape, classes = found.train.x.shape[1:], len(found.classes)
    kind = Diffusion if method == "diffusion" else ContinuousFlow
    net = UNet.create(
        key,
        shape,
        widths=config.widths,
        patch=config.patch,
        attention=config.attention,
        classes=classes,
    )
    return kind.create(key, shape, net=net, classes=classes, drop=config.drop, bounds=(0.0, 1.0))


def objective(config: PicturesConfig, method: Method) -> Denoising | FlowMatching:
    """What a method minimises."""
    match method:
        case "diffusion":
            return Denoising(config.min_snr)
        case "flow-matching":
            return FlowMatching()
        case "flow-matching-optimal":
            return FlowMatching("optimal")


def build(config: PicturesConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the average of the weights is kept."""
    found, loss = pictures(config.data, config.root), objective(config, method)
    train = et.ArrayData(found.train, config.batch)
    assert found.valid is not None
    adam = optax.adam(
        optax.cosine_decay_schedule(config.rate, train.steps_per_epoch * config.epochs)
    )
    valid = et.ArrayData(found.valid, min(len(found.valid.y), 500))
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(loss), adam, clip_norm=1.0, ema=config.ema),
        train,
        et.Epochs(config.epochs),
        et.Validation(valid, loss, every=et.Epochs(max(config.epochs // 20, 1)), ema=True),
        keep="ema",
    )
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def drawn(
    config: PicturesConfig, model: Model, key: jax.Array, count: int, labels: Any
) -> np.ndarray:
    """What `sampled` gives, on the host."""
    return np.asarray(sampled(config, model, key, count, labels))


def sampled(
    config: PicturesConfig, model: Model, key: jax.Array, count: int, labels: Any
) -> jax.Array:
    """Samples as the configuration says; without guidance, of no class."""
    options: dict[str, Any] = {"steps": config.solved, "guidance": config.guidance}
    if isinstance(model, Diffusion):
        options["eta"] = config.eta
    return model.sample(key, count, labels, **options)


def evaluate(config: PicturesConfig, seed: int, model: Model, split: str) -> dict[str, Any]:
    """Measures of samples beside the same of real pictures; see `judged`."""
    labels = np.arange(AT_ONCE) % model.classes
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 2000), COUNT // AT_ONCE)
    fake = np.concatenate([drawn(config, model, key, AT_ONCE, labels) for key in keys])
    return judged(config, split, fake, np.tile(labels, len(keys)))


def draw(config: PicturesConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples of the first of each method, a column for each class."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            model: Model = outcome.model()
            classes, method = model.classes, outcome.trial.method
            labels = jnp.arange(8 * classes) % classes
            pictures = drawn(config, model, jax.random.key(config.seed), 8 * classes, labels)
            figure = picture_grid(pictures, method, classes)
            figure.savefig(folder / f"samples-{method}.png", dpi=110)


class PictureOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> PictureOptions(label=3, guidance=2.0).guidance
    2.0
    """

    label: int | None = Field(None, ge=0, description="class of all samples; none: all in turn")
    guidance: float | None = Field(
        None, ge=0, description="weight of the labels, 0: samples of no class; none: the trial's"
    )
    solved: int | None = Field(None, ge=1, description="steps of the sampler; none: the trial's")


def sample(
    model: Model, config: PicturesConfig, inputs: Sequence[str], options: PictureOptions
) -> Table:
    """Writes `samples.npy` and `samples.png`; the classes as a table."""
    labels = classes_of(model.classes, options.count, options.label)
    told = {
        name: value
        for name in ("guidance", "solved")
        if (value := getattr(options, name)) is not None
    }
    config = config.model_copy(update=told)
    if config.guidance == 0:
        if options.label is not None:
            raise et.ConfigurationError("--label has no effect at --guidance 0. Leave one out.")
        labels = None
    x = drawn(config, model, jax.random.key(options.seed), options.count, labels)
    return write_samples(x, labels, options.out)


def export(model: Model, config: PicturesConfig, trial: Trial) -> Exportable:
    """Samples as the configuration says, by class unless there is no guidance."""
    return sampler(
        lambda key, labels: sampled(config, model, key, 1, labels),
        "pictures with intensities from 0 to 1",
        classes=model.classes if config.guidance else 0,
    )


recipe = Recipe(
    "generative/pictures",
    "Diffusion and flow matching of pictures by class, with one U-Net and guidance.",
    PicturesConfig,
    trials,
    COLUMNS,
    draw=draw,
    sample=Verb("samples of the model", "", PictureOptions, sample),
    export=export,
    ceiling="The share of real pictures that the classifier recognises; guidance can exceed it.",
    citations=(*diffusion.CITATIONS, *flow_matching.CITATIONS, GUIDANCE, DIGITS.citation),
    data_licence=DIGITS.licence,
)
