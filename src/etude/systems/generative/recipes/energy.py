"""`generative/energy`: energies in the plane, judged by their numerically normalised likelihood."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
import optax
from jaxtyping import Array, Float
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.export import Exportable
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.generative.densities import DENSITIES
from etude.systems.generative.energy import Contrastive, DenoisingScore, EnergyModel
from etude.systems.generative.langevin import Langevin
from etude.systems.generative.plots import scatter
from etude.systems.generative.recipes.deployed import likelihood
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.plane import few_points, write_points
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["contrastive", "persistent", "denoising"]
METHODS: tuple[Method, ...] = get_args(Method)
Name = Literal["moons", "eight-gaussians", "checkerboard", "ring", "gaussian"]

#: Fields that only some methods read.
OWN: dict[str, tuple[Method, ...]] = {
    "turns": ("contrastive", "persistent"),
    "size": ("contrastive", "persistent"),
    "chains": ("persistent",),
    "noise": ("denoising",),
}
#: Points that a model is measured by.
COUNT = 10_000

CITATIONS = (
    """@article{hinton2002,
  title = {Training products of experts by minimizing contrastive divergence},
  author = {Hinton, Geoffrey E.},
  journal = {Neural Computation},
  volume = {14},
  year = {2002}
}""",
    """@inproceedings{tieleman2008,
  title = {Training restricted {Boltzmann} machines using approximations to the likelihood gradient},
  author = {Tieleman, Tijmen},
  booktitle = {International Conference on Machine Learning},
  year = {2008}
}""",  # noqa: E501
    """@article{vincent2011,
  title = {A connection between score matching and denoising autoencoders},
  author = {Vincent, Pascal},
  journal = {Neural Computation},
  volume = {23},
  year = {2011}
}""",
)


class EnergyConfig(Configuration, frozen=True):
    """Every choice of `generative/energy`."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(METHODS, min_length=1, description="what is minimised")
    density: Name = Field("moons", description="what points are drawn from")
    points: int = Field(50_000, ge=1, description="points to learn from")
    hidden: tuple[int, ...] = Field((128, 128), description="widths of the network's layers")
    width: float = Field(2.0, gt=0, description="standard deviation of the normal density")
    turns: int = Field(10, ge=1, description="steps of a chain at each update (not denoising)")
    size: float = Field(0.01, gt=0, description="size of a chain's step (not denoising)")
    chains: int = Field(1024, ge=1, description="chains that persist (persistent)")
    noise: float = Field(0.05, gt=0, description="standard deviation of the noise (denoising)")
    batch: int = Field(256, ge=1, description="points per step")
    steps: int = Field(5_000, ge=1, description="steps of training")
    rate: float = Field(4e-3, gt=0, description="learning rate (Adam), falls along a cosine")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the average of the weights")

    @model_validator(mode="after")
    def _check(self) -> "EnergyConfig":
        problems = [
            f"{name} is for {', '.join(methods)}, and methods has {', '.join(self.methods)}"
            for name, methods in OWN.items()
            if getattr(self, name) != type(self).model_fields[name].default
            and not set(methods) & set(self.methods)
        ]
        refuse("EnergyConfig", problems + few_points(self))
        return self


def trials(config: EnergyConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def untrained(config: EnergyConfig, method: Method, seed: int, /) -> EnergyModel:
    """The model of a method before its training."""
    return EnergyModel.create(
        jax.random.key(seed),
        (2,),
        hidden=config.hidden,
        chains=config.chains if method == "persistent" else 0,
        width=config.width,
    )


def objective(config: EnergyConfig, method: Method) -> Contrastive | DenoisingScore:
    """What a method minimises."""
    if method == "denoising":
        return DenoisingScore(config.noise)
    return Contrastive(Langevin(config.turns, config.size))


def split_of(config: EnergyConfig, seed: int, split: str, count: int) -> Float[Array, "count 2"]:
    """Points of a split, by a key far from that of the weights."""
    key = jax.random.fold_in(jax.random.key(seed), 1000 + Recipe.splits.index(split))
    return DENSITIES[config.density].sample(key, count)


def build(config: EnergyConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the average of the weights is kept."""
    learner = et.Learner(
        et.Gradient(objective(config, method)),
        optax.adam(optax.cosine_decay_schedule(config.rate, config.steps)),
        ema=config.ema,
    )
    data = et.ArrayData(split_of(config, seed, "train", config.points), config.batch)
    phase = et.Phase("fit", learner, data, et.Steps(config.steps), keep="ema")
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def evaluate(config: EnergyConfig, seed: int, model: EnergyModel, split: str) -> dict[str, Any]:
    """-log p(x) in nats, the entropy, and the divergence from the density, a mean of log ratios."""
    density = DENSITIES[config.density]
    x = np.asarray(split_of(config, seed, split, COUNT))
    found = np.asarray(_log_prob(model, x), np.float64)
    ratio = density.log_density(x) - found
    return {
        "nll": -float(found.mean()),
        "entropy": density.entropy,
        "divergence": float(ratio.mean()),
        "error": float(ratio.std() / np.sqrt(COUNT)),
    }


@jax.jit
def _log_prob(model: EnergyModel, x: Array) -> Array:
    return model.log_prob(x)


def draw(config: EnergyConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Points of the density, and samples of the first of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = {"data": np.asarray(split_of(config, config.seed, "test", 2000))}
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            found = outcome.model().sample(jax.random.key(config.seed), 2000)
            panels[outcome.trial.method] = np.asarray(found)
    scatter(panels).savefig(folder / f"{config.density}.png", dpi=110)


class ChainOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> ChainOptions(turns=50).turns
    50
    """

    turns: int = Field(1000, ge=1, description="steps of a chain")
    size: float = Field(0.01, gt=0, description="size of a step")


def sample(
    model: EnergyModel, config: EnergyConfig, inputs: Sequence[str], options: ChainOptions
) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    langevin = Langevin(options.turns, options.size)
    x = model.sample(jax.random.key(options.seed), options.count, langevin=langevin)
    return write_points(np.asarray(x), options.out)


def export(model: EnergyModel, config: EnergyConfig, trial: Trial) -> Exportable:
    """log p(x) of points, normalised on a grid."""
    return likelihood(model.log_prob, "points", (2,))


recipe = Recipe(
    "generative/energy",
    "Energy-based models of densities in the plane.",
    EnergyConfig,
    trials,
    {
        "test -log p": "nll",
        "entropy": "entropy",
        "above it": "divergence",
    },
    draw=draw,
    sample=Verb("samples of the model", "", ChainOptions, sample),
    export=export,
    ceiling="Nats per point, normalised on a grid; no model is below the entropy.",
    citations=CITATIONS,
    data_licence="None: the data are simulated.",
)
