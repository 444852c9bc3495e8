"""`generative/diffusion`: diffusion models of densities in the plane."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from pydantic import Field

from etude.export import Exportable
from etude.recipe import Outcome, Recipe, Trial
from etude.systems.generative.diffusion import Denoising, Diffusion
from etude.systems.generative.recipes import noising
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.noising import Name, PlaneConfig
from etude.systems.generative.recipes.plane import write_points
from etude.systems.generative.schedules import Schedule
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["eps", "x0", "v"]

CITATIONS = (
    """@inproceedings{ho2020,
  title = {Denoising diffusion probabilistic models},
  author = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020}
}""",
    """@inproceedings{nichol2021,
  title = {Improved denoising diffusion probabilistic models},
  author = {Nichol, Alex and Dhariwal, Prafulla},
  booktitle = {International Conference on Machine Learning},
  year = {2021}
}""",
    """@inproceedings{song2021,
  title = {Denoising diffusion implicit models},
  author = {Song, Jiaming and Meng, Chenlin and Ermon, Stefano},
  booktitle = {International Conference on Learning Representations},
  year = {2021}
}""",
    """@inproceedings{salimans2022,
  title = {Progressive distillation for fast sampling of diffusion models},
  author = {Salimans, Tim and Ho, Jonathan},
  booktitle = {International Conference on Learning Representations},
  year = {2022}
}""",
    """@inproceedings{hang2023,
  title = {Efficient diffusion training via min-{SNR} weighting strategy},
  author = {Hang, Tiankai and others},
  booktitle = {International Conference on Computer Vision},
  year = {2023}
}""",
)


class DiffusionConfig(PlaneConfig, frozen=True):
    """Every choice of `generative/diffusion`."""

    methods: tuple[Method, ...] = Field(
        ("v",), min_length=1, description="what the network predicts"
    )
    steps: int = Field(10_000, ge=1, description="steps of the training")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="levels of noise")
    levels: int = Field(1000, ge=2, description="how many")
    min_snr: float | None = Field(
        None, gt=0, description="gamma of min-SNR weights; none: all levels count alike"
    )
    visited: int = Field(250, ge=1, description="levels that the sampler visits")
    eta: float = Field(1.0, ge=0, le=1, description="noise of the sampler: 1 ancestral, 0 DDIM")


def trials(config: DiffusionConfig) -> list[Trial]:
    """Every prediction on every density with every seed."""
    return noising.trials(config, config.methods, untrained, loss, evaluate)


def untrained(config: DiffusionConfig, method: Method, seed: int, /) -> Diffusion:
    """The model of a method before its training."""
    return Diffusion.create(
        jax.random.key(seed),
        (2,),
        hidden=config.hidden,
        schedule=Schedule(config.schedule, config.levels),
        predict=method,
    )


def loss(config: DiffusionConfig, method: Method) -> Denoising:
    """What a method minimises."""
    return Denoising(config.min_snr)


def evaluate(
    config: DiffusionConfig, name: Name, seed: int, model: Diffusion, split: str
) -> dict[str, Any]:
    """The distance of samples from the data."""
    return noising.distances(name, seed, split, partial(drawn, config, model))


def drawn(config: DiffusionConfig, model: Diffusion, key: jax.Array, count: int) -> jax.Array:
    """Samples as the configuration says."""
    return model.sample(key, count, steps=config.visited, eta=config.eta)


def draw(config: DiffusionConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Data and samples."""
    noising.draw(partial(drawn, config), config, outcomes, folder)


class DiffusionOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> DiffusionOptions(eta=0.0).eta
    0.0
    """

    visited: int | None = Field(None, ge=1, description="levels to visit; none: the trial's")
    eta: float | None = Field(
        None, ge=0, le=1, description="1 ancestral, 0 DDIM; none: the trial's"
    )


def sample(
    model: Diffusion, config: DiffusionConfig, inputs: Sequence[str], options: DiffusionOptions
) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    told = {
        name: value for name in ("visited", "eta") if (value := getattr(options, name)) is not None
    }
    key = jax.random.key(options.seed)
    x = drawn(config.model_copy(update=told), model, key, options.count)
    return write_points(np.asarray(x), options.out)


def export(model: Diffusion, config: DiffusionConfig, trial: Trial) -> Exportable:
    """Samples as the configuration says."""
    return sampler(lambda key, _: drawn(config, model, key, 1), "points of the plane")


recipe = Recipe(
    "generative/diffusion",
    "Diffusion models of densities in the plane.",
    DiffusionConfig,
    trials,
    {"test sliced Wasserstein": "distance", "of data": "floor"},
    draw=draw,
    sample=Verb("samples of the model", "", DiffusionOptions, sample),
    export=export,
    ceiling="The distance between two samples of the data.",
    citations=CITATIONS,
    data_licence="None: the data are simulated.",
)
