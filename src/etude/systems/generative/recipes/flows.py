"""`generative/flows`: normalising flows of densities in the plane, against exact entropies."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.export import Exportable
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.generative.densities import DENSITIES, Density
from etude.systems.generative.exact import NegativeLogLikelihood
from etude.systems.generative.flows import Affine, Flow, Spline
from etude.systems.generative.plots import scatter
from etude.systems.generative.recipes.deployed import likelihood
from etude.systems.generative.recipes.methods import every
from etude.systems.generative.recipes.plane import write_points
from etude.table import Table
from etude.verbs import SampleOptions, Verb

Method = Literal["realnvp", "maf", "spline"]
Name = Literal["moons", "eight-gaussians", "checkerboard", "ring", "gaussian"]

#: Samples of the validation and of the other splits; from the first, location and scale.
VALID, TEST = 5_000, 50_000
#: Gradients of a larger norm are made shorter.
MOST_GRADIENT = 5.0

CITATIONS = (
    """@inproceedings{dinh2017,
  title = {Density estimation using {Real} {NVP}},
  author = {Dinh, Laurent and Sohl-Dickstein, Jascha and Bengio, Samy},
  booktitle = {International Conference on Learning Representations},
  year = {2017}
}""",
    """@inproceedings{papamakarios2017,
  title = {Masked autoregressive flow for density estimation},
  author = {Papamakarios, George and Pavlakou, Theo and Murray, Iain},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}""",
    """@inproceedings{durkan2019,
  title = {Neural spline flows},
  author = {Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019}
}""",
)


class FlowsConfig(Configuration, frozen=True):
    """Every choice of `generative/flows`; each step has fresh samples of the density."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("realnvp", "maf", "spline"), min_length=1, description="kinds of flow"
    )
    density: Name = Field("moons", description="what samples are drawn from")
    layers: int = Field(8, ge=1, description="layers of the flow")
    hidden: tuple[int, ...] = Field((64, 64), description="widths of the network in each layer")
    bins: int = Field(8, ge=2, lt=1000, description="bins of a spline (spline)")
    batch: int = Field(256, ge=1, description="samples per step")
    steps: int = Field(6_000, ge=1, description="steps of training")
    rate: float = Field(3e-3, gt=0, description="learning rate (Adam), falls along a cosine")

    @model_validator(mode="after")
    def _check(self) -> "FlowsConfig":
        unread = self.bins != type(self).model_fields["bins"].default
        if unread and "spline" not in self.methods:
            refuse("FlowsConfig", [f"bins is for spline, and methods has {list(self.methods)}"])
        return self


def trials(config: FlowsConfig) -> list[Trial]:
    """Every method with every seed."""
    return every(config, build, evaluate, untrained)


def split_of(config: FlowsConfig, seed: int, split: str) -> Float[Array, "n 2"]:
    """Samples that no step of the training has seen."""
    number = ("train", "valid", "test").index(split)
    key = jax.random.fold_in(jax.random.key(seed), 1_000 + number)
    count = VALID if split == "valid" else TEST
    return DENSITIES[config.density].sample(key, count)


def untrained(config: FlowsConfig, method: Method, seed: int, /) -> Flow:
    """The model of a method before its training: a normal density."""
    x = split_of(config, seed, "valid")
    return Flow.create(
        jax.random.key(seed),
        (2,),
        elementwise=Spline(config.bins) if method == "spline" else Affine(),
        autoregressive=method == "maf",
        layers=config.layers,
        hidden=config.hidden,
        location=x.mean(0),
        scale=x.std(0),
    )


def fresh(
    density: Density, count: int, model: Flow, batch: None, context: et.Context
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """-log p(x) of samples that are drawn in the step itself."""
    return NegativeLogLikelihood()(model, density.sample(context.key, count), context)


def build(config: FlowsConfig, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; the weights of the best validation are kept."""
    loss = partial(fresh, DENSITIES[config.density], config.batch)
    adam = optax.adam(optax.cosine_decay_schedule(config.rate, config.steps))
    learner = et.Learner(
        et.Gradient(loss), optax.chain(optax.clip_by_global_norm(MOST_GRADIENT), adam)
    )
    valid = et.ArrayData(split_of(config, seed, "valid"), VALID)
    phase = et.Phase(
        "fit",
        learner,
        None,
        et.Steps(config.steps),
        et.Validation(valid, NegativeLogLikelihood(), every=et.Steps(max(1, config.steps // 20))),
        keep=et.Best("valid/loss"),
    )
    return et.Trainer(untrained(config, method, seed), phase, seed=seed, **options)


def evaluate(config: FlowsConfig, seed: int, model: Flow, split: str) -> dict[str, Any]:
    """-log p(x) in nats, its standard error, the entropy, and the divergence from the density.

    The divergence is a mean of log ratios, whose standard error is smaller than that of -log p(x).
    """
    density, x = DENSITIES[config.density], split_of(config, seed, split)
    parts = [_log_prob(model, part) for part in jnp.split(x, 10)]
    log_prob = np.concatenate(jax.device_get(parts)).astype(np.float64)
    ratio = density.log_density(np.asarray(x)) - log_prob
    root = np.sqrt(len(x))
    return {
        "nll": -float(log_prob.mean()),
        "error": float(log_prob.std() / root),
        "entropy": density.entropy,
        "divergence": float(ratio.mean()),
        "divergence error": float(ratio.std() / root),
    }


@jax.jit
def _log_prob(model: Flow, x: Array) -> Array:
    return model.log_prob(x)


def draw(config: FlowsConfig, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Samples of the density, and of the first model of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = {"data": np.asarray(split_of(config, config.seed, "valid"))}
    for outcome in outcomes:
        if outcome.trial.seed == config.seed:
            model: Flow = outcome.model()
            points = np.asarray(model.sample(jax.random.key(config.seed), VALID))
            panels[outcome.trial.method] = points
    scatter(panels).savefig(folder / f"{config.density}.png", dpi=110)


class PointOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> PointOptions(temperature=0.5).temperature
    0.5
    """

    temperature: float = Field(1.0, ge=0, description="scale of the noise's standard deviation")


def sample(model: Flow, config: FlowsConfig, inputs: Sequence[str], options: PointOptions) -> Table:
    """Writes `samples.npy` and `samples.png`; the coordinates as a table."""
    key = jax.random.key(options.seed)
    x = model.sample(key, options.count, temperature=options.temperature)
    return write_points(np.asarray(x), options.out)


def export(model: Flow, config: FlowsConfig, trial: Trial) -> Exportable:
    """log p(x) of points."""
    return likelihood(model.log_prob, "points", model.shape)


recipe = Recipe(
    "generative/flows",
    "Normalising flows of densities in the plane.",
    FlowsConfig,
    trials,
    {
        "test -log p": "nll",
        "standard error": "error",
        "entropy": "entropy",
        "divergence": "divergence",
        "its standard error": "divergence error",
    },
    draw=draw,
    sample=Verb("samples of the model", "", PointOptions, sample),
    export=export,
    ceiling="Nats per sample; no expected -log p is below the entropy.",
    citations=CITATIONS,
    data_licence="None: the samples are simulated.",
)
