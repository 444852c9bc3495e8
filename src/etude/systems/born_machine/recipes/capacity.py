"""`born/capacity`: what 1,000 binarised pictures of 784 pixels are worth to a machine of D.

The benchmark of the field (Han et al., Physical Review X 8, 031012, on MNIST): the training
negative log-likelihood, which no machine can bring below the logarithm of the number of different
pictures. The two-site sweep beside Adam on the same machine.
"""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32
from pydantic import Field

import etude as et
from etude.data import FASHION_MNIST
from etude.export import Exportable, one_by_one
from etude.recipe import DataConfiguration, Outcome, Recipe, Trial
from etude.systems.born_machine.embeddings import Embedding
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.metrics import SampleMean
from etude.systems.born_machine.plots import plot_likelihoods
from etude.systems.born_machine.recipes import citations
from etude.systems.born_machine.recipes.verbs import DrawOptions, drawn, write_samples
from etude.systems.born_machine.sweep import TwoSiteSweep
from etude.table import Table
from etude.verbs import Verb

Method = Literal["sweep", "Adam"]


class Capacity(DataConfiguration, frozen=True):
    """Every choice of the experiment."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    data: str = Field("fashion-mnist", description="data set, or its files; see born/digits")
    pictures: int = Field(1000, ge=10, description="training pictures, the first of the set")
    threshold: float = Field(0.5, gt=0, lt=1, description="intensity above which a pixel is 1")
    bond_dims: tuple[int, ...] = Field((10, 20, 30), description="bond dimensions D")
    methods: tuple[Method, ...] = Field(("sweep", "Adam"), description="learning rules")
    sweeps: int = Field(10, ge=1, description="sweeps, each there and back over all pictures")
    adam_steps: int = Field(3000, ge=1, description="steps of Adam")
    adam_batch: int = Field(100, ge=1, description="pictures per step of Adam")
    adam_rate: float = Field(2e-3, gt=0, description="first learning rate of Adam, falling to zero")
    adam_clip: float = Field(1.0, gt=0, description="longest gradient of Adam")


def trials(config: Capacity) -> list[Trial]:
    """Every method at every D with every seed."""
    return [
        Trial(
            f"{method}, D={bond_dim}",
            seed,
            partial(build, config, method, bond_dim, seed),
            partial(evaluate, config),
        )
        for bond_dim in config.bond_dims
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def build(
    config: Capacity, method: Method, bond_dim: int, seed: int, /, **options: Any
) -> et.Trainer:
    """The trainer of one trial."""
    x = jnp.asarray(pictures(*source_of(config))["train"])
    machine = BornMachine.create(
        jax.random.key(seed), x.shape[1], 1, Embedding("onehot", 2), bond_dim, init="identity"
    )
    if method == "sweep":
        source, length = et.ArrayData(x, len(x), shuffle=False), et.Steps(config.sweeps)
        phase = et.Phase("sweep", et.Learner(TwoSiteSweep()), source, length)
        return et.Trainer(machine, phase, seed=seed, **options)
    rate = optax.cosine_decay_schedule(config.adam_rate, config.adam_steps)
    rule = et.Gradient(negative_log_likelihood)
    learner = et.Learner(rule, optax.adam(rate), clip_norm=config.adam_clip)
    source = et.ArrayData(x, min(config.adam_batch, len(x)))
    phase = et.Phase("adam", learner, source, et.Steps(config.adam_steps))
    return et.Trainer(machine, phase, seed=seed, **options)


def negative_log_likelihood(machine: BornMachine, batch: Array, context: et.Context) -> Array:
    """Mean -log p(x) of a batch, in nats."""
    return -jnp.mean(machine.log_marginal(batch))


def evaluate(config: Capacity, model: BornMachine, split: str) -> dict[str, Any]:
    """Nats per picture, of those learned from and of as many others, from `split`."""
    found = pictures(*source_of(config))
    if split not in found:
        raise et.DataError(
            f"{config.data!r} has fewer than {config.pictures} pictures beside those of training, "
            "so none are left for 'valid'. Ask for 'test', or train on fewer (--pictures)."
        )
    return {
        "nll": nats(model, found["train"]),
        "other_nll": nats(model, found[split]),
        "floor": float(np.log(len(np.unique(found["train"], axis=0)))),
    }


def nats(machine: BornMachine, x: Float32[np.ndarray, "n sites"]) -> float:
    """Mean -log p(x) in nats."""

    def measure(machine: BornMachine, batch: Array, context: et.Context) -> dict[str, Any]:
        return {"nll": SampleMean.of(-machine.log_marginal(batch))}

    return et.evaluate(machine, et.ArrayData(x, min(250, len(x)), shuffle=False), measure)["nll"]


def source_of(config: Capacity) -> tuple[str, str | None, int, float]:
    """What the pictures depend on."""
    return config.data, config.root, config.pictures, config.threshold


@cache
def pictures(
    name: str, root: str | None, count: int, threshold: float
) -> dict[str, Float32[np.ndarray, "n sites"]]:
    """Binarised pictures, as many for training as for the test.

    "valid" are the pictures of the training set after those of training, if they are as many.
    Raises DataError if there are fewer for training or test.
    """
    found = et.load(name, root)
    least = min(len(found.train.y), len(found.test.y))
    if least < count:
        raise et.DataError(
            f"{name!r} has {len(found.train.y)} pictures for training and {len(found.test.y)} for "
            f"the test, fewer than pictures={count}. Ask for {least} (--pictures {least})."
        )
    parts = {"train": found.train.x, "valid": found.train.x[count:], "test": found.test.x}
    return {
        name: (x[:count].reshape(count, -1) > threshold).astype(np.float32)
        for name, x in parts.items()
        if len(x) >= count
    }


def draw(config: Capacity, outcomes: Sequence[Outcome], folder: Path) -> None:
    """The likelihood against D."""
    folder.mkdir(parents=True, exist_ok=True)
    curves: dict[str, dict[int, list[float]]] = {}
    for outcome in outcomes:
        method, bond_dim = outcome.trial.method.split(", D=")
        curves.setdefault(method, {}).setdefault(int(bond_dim), []).append(outcome.metrics["nll"])
    means = {
        method: {bond_dim: float(np.mean(values)) for bond_dim, values in curve.items()}
        for method, curve in curves.items()
    }
    floor = outcomes[0].metrics["floor"]
    plot_likelihoods(means, floor).savefig(folder / "capacity.png", dpi=140)


def export(machine: BornMachine, config: Capacity, trial: Trial) -> Exportable:
    """log p(x) of pictures."""
    shape = config.load().train.x.shape[1:]

    def function(x: Array) -> Array:
        binary = (x.reshape(-1, machine.sites) > config.threshold).astype(x.dtype)
        return machine.log_marginal(binary)

    return Exportable(
        one_by_one(function),
        {"pictures": jax.ShapeDtypeStruct(shape, jnp.float32)},
        "pictures with intensities from 0 to 1",
        "log p(x) in nats of the binary pictures",
        f"The function makes pixels 1 above {config.threshold:g}, and 0 else.",
    )


def draw_pictures(
    machine: BornMachine, config: Capacity, inputs: Sequence[str], options: DrawOptions
) -> Table:
    """Samples as binary pictures; there is one class."""
    x, labels = drawn(machine, options)
    shape = config.load().train.x.shape[1:]
    return write_samples(np.asarray(x), labels, shape, ("picture",), options.out)


recipe = Recipe(
    "born/capacity",
    "Training likelihood of 1,000 binarised pictures against D: the two-site sweep and Adam.",
    Capacity,
    trials,
    {"training -log p(x)": "nll", "of other pictures": "other_nll"},
    splits=("valid", "test"),
    draw=draw,
    sample=Verb("exact samples of p(x), binary pictures", "", DrawOptions, draw_pictures),
    export=export,
    ceiling=(
        "Training -log p(x): the logarithm of the number of different pictures, 6.91 nats for "
        "1,000; no distribution gives them more."
    ),
    citations=(citations.SWEEP, FASHION_MNIST.citation),
    data_licence=FASHION_MNIST.licence,
)
