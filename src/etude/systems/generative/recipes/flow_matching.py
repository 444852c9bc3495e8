"""`generative/flow-matching`: continuous flows of densities in the plane, and their likelihood."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np
from pydantic import Field

from etude.export import Exportable
from etude.recipe import Outcome, Recipe, Trial
from etude.systems.generative.densities import DENSITIES
from etude.systems.generative.matching import ContinuousFlow, FlowMatching
from etude.systems.generative.recipes import noising
from etude.systems.generative.recipes.deployed import sampler
from etude.systems.generative.recipes.noising import Name, PlaneConfig
from etude.systems.generative.recipes.plane import write_points
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["independent", "optimal"]
Solver = Literal["euler", "midpoint", "heun"]

#: Points whose likelihood is computed at a time.
AT_ONCE = 1000

CITATIONS = (
    """@inproceedings{lipman2023,
  title = {Flow matching for generative modeling},
  author = {Lipman, Yaron and others},
  booktitle = {International Conference on Learning Representations},
  year = {2023}
}""",
    """@inproceedings{liu2023,
  title = {Flow straight and fast: Learning to generate and transfer data with rectified flow},
  author = {Liu, Xingchao and Gong, Chengyue and Liu, Qiang},
  booktitle = {International Conference on Learning Representations},
  year = {2023}
}""",
    """@article{tong2024,
  title = {Improving and generalizing flow-based generative models},
  author = {Tong, Alexander and others},
  journal = {Transactions on Machine Learning Research},
  year = {2024}
}""",
)


class FlowConfig(PlaneConfig, frozen=True):
    """Every choice of `generative/flow-matching`."""

    methods: tuple[Method, ...] = Field(
        ("independent",), min_length=1, description="coupling of noise and examples"
    )
    solver: Solver = Field("midpoint", description="solver of the samples")
    solved: int = Field(100, ge=1, description="its steps")


def trials(config: FlowConfig) -> list[Trial]:
    """Every coupling on every density with every seed."""
    return noising.trials(config, config.methods, untrained, loss, evaluate)


def untrained(config: FlowConfig, method: Method, seed: int, /) -> ContinuousFlow:
    """The model of a method before its training."""
    return ContinuousFlow.create(jax.random.key(seed), (2,), hidden=config.hidden)


def loss(config: FlowConfig, method: Method) -> FlowMatching:
    """What a method minimises."""
    return FlowMatching(method)


def evaluate(
    config: FlowConfig, name: Name, seed: int, model: ContinuousFlow, split: str
) -> dict[str, Any]:
    """-log p in nats beside the entropy, and the distance of samples from the data."""
    x = noising.points(name, seed, split, noising.COUNT).reshape(-1, AT_ONCE, 2)
    logs = np.concatenate([_log_prob(model, part) for part in x])
    return {
        "nll": -float(logs.mean()),
        "entropy": DENSITIES[name].entropy,
        **noising.distances(name, seed, split, partial(drawn, config, model)),
    }


@eqx.filter_jit
def _log_prob(model: ContinuousFlow, x: jax.Array) -> jax.Array:
    return model.log_prob(x)


def drawn(config: FlowConfig, model: ContinuousFlow, key: jax.Array, count: int) -> jax.Array:
    """Samples as the configuration says."""
    return model.sample(key, count, steps=config.solved, solver=config.solver)


def draw(config: FlowConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Data and samples."""
    noising.draw(partial(drawn, config), config, outcomes, folder)


class FlowOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> FlowOptions(solver="heun").solver
    'heun'
    """

    solver: Solver | None = Field(None, description="solver; none: the trial's")
    solved: int | None = Field(None, ge=1, description="its steps; none: the trial's")


def sample(
    model: ContinuousFlow, config: FlowConfig, inputs: Sequence[str], options: FlowOptions
) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    told = {
        name: value
        for name in ("solver", "solved")
        if (value := getattr(options, name)) is not None
    }
    key = jax.random.key(options.seed)
    x = drawn(config.model_copy(update=told), model, key, options.count)
    return write_points(np.asarray(x), options.out)


def export(model: ContinuousFlow, config: FlowConfig, trial: Trial) -> Exportable:
    """Samples as the configuration says."""
    return sampler(lambda key, _: drawn(config, model, key, 1), "points of the plane")


recipe = Recipe(
    "generative/flow-matching",
    "Continuous flows of densities in the plane, and their likelihood.",
    FlowConfig,
    trials,
    {
        "test -log p": "nll",
        "entropy": "entropy",
        "sliced Wasserstein": "distance",
        "of data": "floor",
    },
    draw=draw,
    sample=Verb("samples of the model", "", FlowOptions, sample),
    export=export,
    ceiling="The entropy of the density: nats per example, and no model has a smaller -log p.",
    citations=CITATIONS,
    data_licence="None: the data are simulated.",
)
