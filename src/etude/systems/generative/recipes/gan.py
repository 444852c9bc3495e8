"""`generative/gan`: adversarial networks on Gaussians in a circle, and which of them collapse."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax
from jaxtyping import Float
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.export import Exportable
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.generative.adversarial import Adversarial
from etude.systems.generative.densities import Gaussians
from etude.systems.generative.gan import GAN
from etude.systems.generative.metrics import sliced_distance
from etude.systems.generative.plots import scatter
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.plane import few_points, write_points
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal[
    "non-saturating",
    "non-saturating-r1",
    "least-squares",
    "least-squares-r1",
    "hinge",
    "hinge-r1",
    "hinge-spectral",
    "wasserstein-penalty",
]
METHODS: tuple[Method, ...] = get_args(Method)

#: Samples that a model is measured by.
COUNT = 10_000
#: A mode is covered that has this share of the samples within three of its standard deviations.
COVERED = 0.01

CITATIONS = (
    """@inproceedings{goodfellow2014,
  title = {Generative adversarial nets},
  author = {Goodfellow, Ian and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2014}
}""",
    """@inproceedings{mao2017,
  title = {Least squares generative adversarial networks},
  author = {Mao, Xudong and others},
  booktitle = {International Conference on Computer Vision},
  year = {2017}
}""",
    """@misc{lim2017,
  title = {Geometric {GAN}},
  author = {Lim, Jae Hyun and Ye, Jong Chul},
  eprint = {1705.02894},
  archiveprefix = {arXiv},
  year = {2017}
}""",
    """@inproceedings{arjovsky2017,
  title = {Wasserstein generative adversarial networks},
  author = {Arjovsky, Martin and Chintala, Soumith and Bottou, L{\\'e}on},
  booktitle = {International Conference on Machine Learning},
  year = {2017}
}""",
    """@inproceedings{gulrajani2017,
  title = {Improved training of {Wasserstein} {GANs}},
  author = {Gulrajani, Ishaan and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}""",
    """@inproceedings{miyato2018,
  title = {Spectral normalization for generative adversarial networks},
  author = {Miyato, Takeru and others},
  booktitle = {International Conference on Learning Representations},
  year = {2018}
}""",
    """@inproceedings{mescheder2018,
  title = {Which training methods for {GANs} do actually converge?},
  author = {Mescheder, Lars and Geiger, Andreas and Nowozin, Sebastian},
  booktitle = {International Conference on Machine Learning},
  year = {2018}
}""",
)


class GANConfig(Configuration, frozen=True):
    """Every choice of `generative/gan`."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        METHODS, min_length=1, description="objective, and what keeps the critic smooth"
    )
    modes: int = Field(8, ge=2, le=99, description="Gaussians in a circle")
    radius: float = Field(2.0, gt=0, description="of the circle")
    scale: float = Field(0.2, gt=0, description="standard deviation of each Gaussian")
    points: int = Field(20_000, ge=2, description="examples to learn from")
    latent: int = Field(2, ge=1, description="components of the noise")
    hidden: tuple[int, ...] = Field((128, 128), description="widths of the layers of both networks")
    r1: float = Field(0.1, gt=0, description="gamma of the penalty on data (-r1)")
    penalty: float = Field(0.1, gt=0, description="weight of the gradient penalty (-penalty)")
    repeat: int = Field(1, ge=1, description="turns of the critic for one of the generator")
    batch: int = Field(256, ge=1, description="examples per step")
    steps: int = Field(8_000, ge=1, description="turns of the generator")
    rate: float = Field(1e-3, gt=0, description="learning rate (Adam), falls along a cosine")
    momentum: float = Field(0.0, ge=0, lt=1, description="decay of Adam's first moment")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the average of the generator")

    @property
    def density(self) -> Gaussians:
        """What the examples are drawn from."""
        return Gaussians(self.modes, self.radius, self.scale)

    @model_validator(mode="after")
    def _check(self) -> "GANConfig":
        refuse("GANConfig", unread(self) + few_points(self))
        return self


def unread(config: Any) -> list[str]:
    """Weights of penalties that are given, and that no method of a configuration has."""
    return [
        f"{name} is for methods that end with -{name}, and methods has {', '.join(config.methods)}"
        for name in ("r1", "penalty")
        if getattr(config, name) != type(config).model_fields[name].default
        and not any(method.endswith(name) for method in config.methods)
    ]


def trials(config: GANConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: GANConfig, method: Method, seed: int, /) -> GAN:
    """The model of a method before its training."""
    return GAN.create(
        jax.random.key(seed),
        (2,),
        latent=config.latent,
        hidden=config.hidden,
        spectral=method.endswith("spectral"),
    )


def game(config: Any, method: Method) -> Adversarial:
    """What critic and generator of a method minimise; `config` has the weights of penalties."""
    match method:
        case "non-saturating" | "least-squares" | "hinge":
            return Adversarial(method)
        case "non-saturating-r1":
            return Adversarial("non-saturating", r1=config.r1)
        case "least-squares-r1":
            return Adversarial("least-squares", r1=config.r1)
        case "hinge-r1":
            return Adversarial("hinge", r1=config.r1)
        case "hinge-spectral":
            return Adversarial("hinge")
        case "wasserstein-penalty":
            return Adversarial("wasserstein", gradient_penalty=config.penalty)


def build(config: GANConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the average of the generator is kept."""
    x = config.density.sample(split_key(seed, "train"), config.points)

    def adam(turns: int) -> optax.GradientTransformation:
        rate = optax.cosine_decay_schedule(config.rate, config.steps * turns)
        return optax.adam(rate, b1=config.momentum, b2=0.99)

    learners = game(config, method).learners(
        adam(config.repeat), adam(1), repeat=config.repeat, ema=config.ema
    )
    data, length = et.ArrayData(x, config.batch), et.Steps(config.steps)
    phase = et.Phase("fit", learners, data, length, keep="ema")
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def split_key(seed: int, split: str) -> jax.Array:
    """The key of the examples of a split, far from those of the weights."""
    return jax.random.fold_in(jax.random.key(seed), 1000 + Recipe.splits.index(split))


def evaluate(config: GANConfig, seed: int, model: GAN, split: str) -> dict[str, Any]:
    """Modes that are covered, samples that are near one, and the distance from the data.

    `floor` is the distance between two samples of the data.
    """
    first, second, third = jax.random.split(split_key(seed, split), 3)
    density = config.density
    real, other = (np.asarray(density.sample(key, COUNT)) for key in (first, second))
    fake = np.asarray(model.sample(third, COUNT))
    share = nearness(density, fake)
    return {
        "modes": int((share >= COVERED).sum()),
        "near": float(share.sum()),
        "distance": sliced_distance(fake, real),
        "floor": sliced_distance(other, real),
    }


def nearness(density: Gaussians, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " modes"]:
    """The share of the points within three standard deviations of each mode, the nearest one.

    >>> nearness(Gaussians(2, 1.0, 0.1), np.array([[1.2, 0.0], [0.0, 0.0]])).tolist()
    [0.5, 0.0]
    """
    distances = np.linalg.norm(points[:, None] - density.centres, axis=-1)
    nearest = distances.argmin(1)[distances.min(1) <= 3 * density.scale]
    return np.bincount(nearest, minlength=density.count) / len(points)


def draw(config: GANConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Data, and samples of the first of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    key = split_key(config.seed, "test")
    panels = {"data": np.asarray(config.density.sample(key, 2000))}
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            panels[outcome.trial.method] = np.asarray(outcome.model().sample(key, 2000))
    scatter(panels).savefig(folder / "samples.png", dpi=110)


class PointOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> PointOptions(temperature=0.5).temperature
    0.5
    """

    temperature: float = Field(1.0, ge=0, description="scale of the noise's standard deviation")


def sample(model: GAN, config: GANConfig, inputs: Sequence[str], options: PointOptions) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    key = jax.random.key(options.seed)
    x = model.sample(key, options.count, temperature=options.temperature)
    return write_points(np.asarray(x), options.out)


def export(model: GAN, config: GANConfig, trial: Trial) -> Exportable:
    """Samples."""
    return sampler(lambda key, _: model.sample(key, 1), "points of the plane")


recipe = Recipe(
    "generative/gan",
    "Adversarial networks on Gaussians in a circle.",
    GANConfig,
    trials,
    {
        "modes": "modes",
        "near a mode": "near",
        "test sliced Wasserstein": "distance",
        "of data": "floor",
    },
    draw=draw,
    sample=Verb("samples of the model", "", PointOptions, sample),
    export=export,
    ceiling="All modes, .989 of the samples near one, and the distance between samples of data.",
    citations=CITATIONS,
    data_licence="None: the data are simulated.",
)
