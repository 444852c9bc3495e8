"""`born/plane`: five ways to train one Born machine on moons, circles and spirals.

As a classifier; as a generator; as a classifier and then against a critic; and as a classifier
and then against attacks, by PGD training and by TRADES. Every machine is measured in the same way.
"""

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer
from pydantic import Field

import etude as et
from etude.data import read_samples
from etude.export import Exportable
from etude.predictions import FILES, class_table
from etude.recipe import Configuration, Outcome, Recipe, Trial
from etude.systems.born_machine.config import ClassificationConfig, Config
from etude.systems.born_machine.config_model import DatasetConfig
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.embeddings import Embedding
from etude.systems.born_machine.evaluator import PerformanceEvaluator
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.plots import plot_densities
from etude.systems.born_machine.recipes import citations
from etude.systems.born_machine.recipes.verbs import (
    DrawOptions,
    drawn,
    exportable,
    probabilities,
    write_samples,
)
from etude.systems.born_machine.sampling import sample
from etude.systems.born_machine.training import (
    AdversarialTrainer,
    ClassificationTrainer,
    Game,
    GANStyleTrainer,
    GenerativeTrainer,
)
from etude.table import Table
from etude.verbs import PredictOptions, Verb

Toy = Literal[
    "moons_4k", "circles_4k", "spirals_4k",
    "moons_hard", "circles_hard", "spirals_hard",
    "moons_small", "circles_small", "spirals_small",
    "gaussians", "squares", "checkerboard", "annuli",
]  # fmt: skip
Method = Literal["classifier", "generative", "GAN-style", "adversarial", "TRADES"]

#: What is measured of every machine: densities in nats, robustness at 5, 10, 20 % of the range.
MEASURED = ClassificationConfig(
    stop_crit="acc",
    metrics={"acc": 1, "clsloss": 1, "nll": 1, "rob": 1, "swd": 1, "mmd": 1},  # type: ignore[arg-type]
)


class Plane(Configuration, frozen=True):
    """Every choice of the experiment."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    data: tuple[Toy, ...] = Field(("moons_4k", "circles_4k", "spirals_4k"), description="data sets")
    methods: tuple[Method, ...] = Field(
        ("classifier", "generative", "GAN-style", "adversarial", "TRADES"), description="trainings"
    )
    in_dim: int = Field(10, ge=2, description="functions of the Legendre embedding")
    bond_dim: int = Field(6, ge=1, description="bond dimension")
    epochs: int = Field(150, ge=1, description="epochs of classification")
    rate: float = Field(0.01, gt=0, description="learning rate of classification (Adam)")
    clip: float = Field(1.0, gt=0, description="longest gradient; all rates fall along a cosine")
    generative_epochs: int = Field(150, ge=1, description="epochs of the exact likelihood")
    generative_rate: float = Field(0.01, gt=0, description="its learning rate")
    gan_epochs: int = Field(40, ge=1, description="epochs of the game")
    gan_rate: float = Field(2e-3, gt=0, description="learning rate of the machine in the game")
    critic_rate: float = Field(2e-3, gt=0, description="learning rate of the critic")
    critic_steps: int = Field(3, ge=1, description="steps of the critic for each of the machine")
    attack_epochs: int = Field(150, ge=1, description="epochs of training against attacks")
    attack_rate: float = Field(5e-3, gt=0, description="its learning rate")
    strength: float = Field(
        0.05, gt=0, description="radius (l2) trained against, as a fraction of the range"
    )
    trades_beta: float = Field(6.0, ge=0, description="weight of the divergence in TRADES")


def trials(config: Plane) -> list[Trial]:
    """Every method on every data set with every seed."""
    return [
        Trial(
            f"{name}, {method}",
            seed,
            partial(build, config, name, method, seed),
            partial(evaluate, name),
            config=config.model_copy(
                update={"data": (name,), "methods": (method,), "seed": seed, "repeats": 1}
            ),
        )
        for name in config.data
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def build(config: Plane, name: Toy, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial."""
    cfg, handler, options = settings(config, name, method), data(name), {"seed": seed, **options}
    machine = BornMachine.create(
        jax.random.key(seed),
        handler.sites,
        handler.classes,
        Embedding("legendre", config.in_dim),
        config.bond_dim,
    )
    match method:
        case "classifier":
            trainer = ClassificationTrainer(machine, cfg, "pre", handler, **options)
        case "generative":
            trainer = GenerativeTrainer(machine, cfg, handler, **options)
        case "GAN-style":
            trainer = GANStyleTrainer(machine, cfg, handler, pretrain=True, **options)
        case "adversarial" | "TRADES":
            trainer = AdversarialTrainer(machine, cfg, handler, pretrain=True, **options)
    return trainer.trainer()


def settings(config: Plane, name: Toy, method: Method) -> Config:
    """The configuration of the trainers, in the words of the field."""

    def adam(rate: float) -> dict[str, Any]:
        kwargs = {"lr": rate, "gradient_clip_norm": config.clip}
        return {"name": "adam", "kwargs": kwargs, "schedule": "cosine"}

    attack = {"method": "PGD", "norm": "l2", "strengths": (config.strength,), "num_steps": 10}
    against: dict[str, Any] = {"method": "pgd_at"}
    if method == "TRADES":
        against = {"method": "trades", "trades_beta": config.trades_beta}
    classification = {
        "max_epoch": config.epochs,
        "batch_size": 256,
        "optimizer": adam(config.rate),
        "stop_crit": "loss",
        "metrics": {"loss": 1, "acc": 1},
        "watch_freq": 0,
    }
    return Config.model_validate(
        {
            "dataset": {"name": name},
            "tracking": {
                "evasion": {"method": "PGD", "norm": "l2", "strengths": (0.1,), "num_steps": 10},
                "sampling": {"num_spc": 500, "batch_spc": 500},
            },
            "trainer": {
                "classification": classification,
                "generative": {
                    **classification,
                    "max_epoch": config.generative_epochs,
                    "optimizer": adam(config.generative_rate),
                    "criterion": {"name": "generative-nll"},
                },
                "ganstyle": {
                    "max_epoch": config.gan_epochs,
                    "optimizer": adam(config.gan_rate),
                    "metrics": {"acc": 1, "loss": 1, "swd": 1},
                    "stop_crit": "swd",
                    "tolerance": 0.005,
                    "watch_freq": 0,
                    "retrain": {
                        **classification,
                        "max_epoch": 5,
                        "stop_crit": "acc",
                        "optimizer": adam(config.gan_rate),
                    },
                    "critic": {
                        "hidden_multipliers": (32.0, 32.0),
                        "discrimination": {
                            "max_epoch_pre": 5,
                            "max_epoch_gan": config.critic_steps,
                            "batch_size": 128,
                            "optimizer": adam(config.critic_rate),
                        },
                    },
                },
                "adversarial": {
                    **against,
                    "max_epoch": config.attack_epochs,
                    "patience": config.attack_epochs,
                    "batch_size": 256,
                    "optimizer": adam(config.attack_rate),
                    "evasion": attack,
                    "metrics": {"rob": 2, "acc": 2},
                },
            },
        }
    )


@cache
def data(name: Toy) -> DataHandler:
    """The data, in the domain of the Legendre embedding."""
    return DataHandler(DatasetConfig(name=name), (-1.0, 1.0))


def machine_of(model: BornMachine | Game) -> BornMachine:
    """The machine in what was trained."""
    return model.machine if isinstance(model, Game) else model


def evaluate(name: Toy, model: BornMachine | Game, split: str) -> dict[str, Any]:
    """All measures of a machine; where the truth is known, its likelihood beside the entropy."""
    tracking = {
        "evasion": {"method": "PGD", "norm": "l2", "strengths": (0.05, 0.1, 0.2), "num_steps": 20},
        "sampling": {"num_spc": 1000, "batch_spc": 1000, "method": "exact"},
    }
    cfg, handler = Config.model_validate({"tracking": tracking}), data(name)
    found = PerformanceEvaluator(cfg, handler, MEASURED).evaluate(machine_of(model), split)
    x, labels = (jnp.asarray(part) for part in handler.splits[split])
    low, high = handler.domain
    for strength in (0.05, 0.1, 0.2):
        worst = withstood(machine_of(model), x, labels, strength * (high - low), handler.domain)
        found[f"worst/{strength}"] = float(worst)
    known: Mapping[str, float] = {}
    if handler.entropy is not None:
        known = {"excess": found["nll"] - handler.entropy}
    return {**{key: float(value) for key, value in found.items()}, **known}


@eqx.filter_jit
def withstood(
    machine: BornMachine,
    x: Float[Array, "n 2"],
    labels: Integer[Array, " n"],
    radius: float,
    domain: tuple[float, float],
) -> Float[Array, ""]:
    """The fraction of samples whose class no point of a polar grid within the radius changes.

    What an attack that climbs may miss on its way is found by looking everywhere, which the plane
    allows: 8 distances in 48 directions.
    """
    distances = radius * jnp.arange(1, 9) / 8
    angles = 2 * jnp.pi * jnp.arange(48) / 48
    circle = jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
    offsets = (distances[:, None, None] * circle).reshape(-1, 1, 2).astype(x.dtype)
    right = jax.lax.map(lambda o: machine.predict(jnp.clip(x + o, *domain)) == labels, offsets)
    return jnp.mean(jnp.all(right, axis=0) & (machine.predict(x) == labels))


def draw(config: Plane, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Densities and samples of the first machine of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        if outcome.trial.seed != config.seed:
            continue
        name = outcome.trial.method.split(", ")[0]
        machine, handler = machine_of(outcome.model()), data(name)  # type: ignore[arg-type]
        keys = jax.random.split(jax.random.key(config.seed), machine.classes)
        samples = [sample(machine, key, label, 500) for label, key in enumerate(keys)]
        figure = plot_densities(machine, handler, samples)
        figure.suptitle(outcome.trial.method)
        figure.savefig(folder / f"{outcome.trial.name}.png", dpi=110)


def predict(
    model: BornMachine | Game, config: Plane, inputs: Sequence[str], options: PredictOptions
) -> Table:
    """p(c | x) of points; those outside the range of the training data go to its edge."""
    handler, machine = data(config.data[0]), machine_of(model)
    names, points = read_samples(inputs, handler.shape)
    return class_table(names, probabilities(machine, handler.scaling(points)), classes_of(machine))


def export(model: BornMachine | Game, config: Plane, trial: Trial) -> Exportable:
    """p(c | x) and log p(x) of points."""
    # The name of a trial begins with its data set.
    handler, machine = data(trial.method.split(", ")[0]), machine_of(model)  # type: ignore[arg-type]
    return exportable(machine, handler.scaling, handler.shape, classes_of(machine))


def draw_points(
    model: BornMachine | Game, config: Plane, inputs: Sequence[str], options: DrawOptions
) -> Table:
    """Samples in the coordinates of the data."""
    handler, machine = data(config.data[0]), machine_of(model)
    x, labels = drawn(machine, options)
    points = handler.scaling.inverse(np.asarray(x))
    return write_samples(points, labels, handler.shape, classes_of(machine), options.out)


def classes_of(machine: BornMachine) -> tuple[str, ...]:
    """Their numbers are their names."""
    return tuple(map(str, range(machine.classes)))


predict_verb = Verb(
    "probabilities p(c|x) of the classes of points: two numbers each",
    FILES,
    PredictOptions,
    predict,
)
sample_verb = Verb("exact samples of p(x|c)", "", DrawOptions, draw_points)

COLUMNS = {
    "test accuracy": "acc",
    "attacked, 10 %": "rob/0.1",
    "worst, 5 %": "worst/0.05",
    "worst, 10 %": "worst/0.1",
    "-log p(c|x)": "clsloss",
    "-log p(x|c)": "nll",
    "sliced Wasserstein": "swd",
}

recipe = Recipe(
    "born/plane",
    "One Born machine five ways on moons, circles and spirals: classify, generate, play, resist.",
    Plane,
    trials,
    COLUMNS,
    draw=draw,
    predict=predict_verb,
    sample=sample_verb,
    export=export,
    ceiling=(
        "Accuracy: 1, where the classes do not overlap; under attack less, where a radius reaches "
        "points of another class. Sliced Wasserstein: that of two sets of data, which is not 0."
    ),
    citations=(citations.MACHINE, citations.GAME, citations.PGD, citations.TRADES),
    data_licence="None: the data are simulated.",
)


class Densities(Plane, frozen=True):
    """The same with other defaults: generation where the entropy is known."""

    data: tuple[Toy, ...] = Field(("gaussians", "annuli", "squares"), description="data sets")
    methods: tuple[Method, ...] = Field(("generative",), description="trainings")


densities = Recipe(
    "born/densities",
    "A Born machine learns densities of known entropy: its likelihood beside the truth.",
    Densities,
    trials,
    {"-log p(x|c)": "nll", "above the entropy": "excess", "sliced Wasserstein": "swd"},
    draw=draw,
    predict=predict_verb,
    sample=sample_verb,
    export=export,
    ceiling="-log p(x|c): the entropy of the density, which is known; above the entropy: 0.",
    citations=(citations.MACHINE, citations.SWEEP),
    data_licence="None: the data are simulated.",
)
