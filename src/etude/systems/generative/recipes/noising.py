"""What the recipes of diffusion and of flow matching in the plane share."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.generative.densities import DENSITIES
from etude.systems.generative.metrics import sliced_distance
from etude.systems.generative.plots import scatter
from etude.systems.generative.recipes.plane import few_points

Name = Literal["moons", "eight-gaussians", "checkerboard", "ring", "gaussian"]
Sampled = Callable[[Any, jax.Array, int], jax.Array]

#: Samples that a model is measured by, and points of a figure.
COUNT, SHOWN = 10_000, 2000


class PlaneConfig(Configuration, frozen=True):
    """What both are told of points in the plane."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    data: tuple[Name, ...] = Field(
        ("moons", "eight-gaussians", "checkerboard"), min_length=1, description="densities"
    )
    points: int = Field(50_000, ge=2, description="examples to learn from")
    hidden: tuple[int, ...] = Field((128, 128, 128), description="widths of the perceptron")
    batch: int = Field(256, ge=2, description="examples per step")
    steps: int = Field(20_000, ge=1, description="steps of the training")
    rate: float = Field(2e-3, gt=0, description="learning rate (Adam), falls along a cosine")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the average that is kept")

    @model_validator(mode="after")
    def _enough(self) -> "PlaneConfig":
        refuse(type(self).__name__, few_points(self))
        return self


def trials(
    config: PlaneConfig,
    methods: Sequence[str],
    untrained: Callable[..., Any],
    loss: Callable[..., Any],
    evaluate: Callable[..., Mapping[str, Any]],
) -> list[Trial]:
    """Every method on every density with every seed.

    Args:
        config: the configuration.
        methods: names of the methods.
        untrained: `untrained(config, method, seed)` gives a model.
        loss: `loss(config, method)` gives what it minimises.
        evaluate: `evaluate(config, name, seed, model, split)` gives measures.
    """
    found = []
    for name in config.data:
        for method in methods:
            for seed in range(config.seed, config.seed + config.repeats):
                first = partial(untrained, config, method, seed)
                make = partial(build, config, name, seed, first, loss(config, method))
                judge = partial(evaluate, config, name, seed)
                found.append(Trial(f"{name}, {method}", seed, make, judge, first))
    return found


def build(
    config: PlaneConfig,
    name: Name,
    seed: int,
    untrained: Callable[[], Any],
    loss: Any,
    /,
    **options: Any,
) -> et.Trainer:
    """The trainer of one trial; the average of the weights is kept."""
    adam = optax.adam(optax.cosine_decay_schedule(config.rate, config.steps))
    learner = et.Learner(et.Gradient(loss), adam, ema=config.ema)
    data = et.ArrayData(np.asarray(points(name, seed, "train", config.points)), config.batch)
    phase = et.Phase("fit", learner, data, et.Steps(config.steps), keep="ema")
    return et.Trainer(untrained(), phase, seed=seed, **options)


def points(name: Name, seed: int, split: str, count: int, number: int = 0) -> jax.Array:
    """Points of a density for a split; other `number`s are other samples."""
    key = jax.random.fold_in(jax.random.key(seed), 1000 + Recipe.splits.index(split))
    return DENSITIES[name].sample(jax.random.fold_in(key, number), count)


def distances(
    name: Name, seed: int, split: str, sample: Callable[[jax.Array, int], jax.Array]
) -> dict[str, float]:
    """The distance of samples from the data; `floor` is that between two samples of the data."""
    real, other = (np.asarray(points(name, seed, split, COUNT, number)) for number in (0, 1))
    fake = np.asarray(sample(jax.random.fold_in(jax.random.key(seed), 2000), COUNT))
    return {
        "distance": sliced_distance(fake, real),
        "floor": sliced_distance(other, real),
    }


def draw(sample: Sampled, config: PlaneConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """A figure for each density: data, and samples of the first seed of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in config.data:
        panels = {"data": np.asarray(points(name, config.seed, "test", SHOWN))}
        for outcome in outcomes:
            found, _, method = outcome.trial.method.partition(", ")
            if found == name and outcome.trial.seed == config.seed:
                key = jax.random.key(config.seed)
                panels[method] = np.asarray(sample(outcome.model(), key, SHOWN))
        scatter(panels).savefig(folder / f"samples-{name}.png", dpi=110)
