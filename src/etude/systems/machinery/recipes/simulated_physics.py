"""`machinery/simulated-pinn`: what the lines of the classes are worth as a term of the loss.

Controls beside it: the same lines given to other classes ("scrambled"), lines that no fault has
("random"), and no term at all ("nothing").
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

import etude as et
from etude.export import Exportable
from etude.recipe import Outcome, Recipe, Trial
from etude.systems.machinery.losses import Expected, FrequencyConsistencyLoss
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.simulated_data import parts
from etude.systems.machinery.recipes.simulated_measures import (
    CEILING,
    COLUMNS,
    LICENCE,
    draw,
    judge,
)
from etude.systems.machinery.recipes.simulated_networks import (
    Sight,
    Training,
    exportable,
    small_cnn,
)
from etude.systems.machinery.records import Windows
from etude.systems.machinery.simulation import JOURNAL_CLASSES, JOURNAL_LINES
from etude.systems.machinery.training import CNNTrainer, PINNTrainer

Physics = Literal["lines", "scrambled", "random", "nothing"]
Lines = dict[int, tuple[Expected, ...]]

#: Hz: a part of the hiss of wear that low rates have, and no other fault.
HISS = (1000.0, 1400.0)

_SPEEDS = (54.0, 66.0)  # Hz, of the simulated shafts
_TOLERANCE = 0.06
_THRESHOLD = 6.0  # dB


class Pinn(Training, frozen=True):
    """Every choice of `machinery/simulated-pinn`."""

    physics: tuple[Physics, ...] = Field(
        ("lines", "scrambled", "random", "nothing"),
        description="what the term expects of the classes",
    )
    lambda_freq: float = Field(0.5, gt=0, description="largest weight of the term")
    adaptive_lambda: bool = Field(True, description="weigh it by the norms of the gradients")
    per_class: int = Field(80, ge=8, description="records of each class")
    learning_rate: float = Field(0.01, gt=0, description="first; falls to zero along a cosine")
    steps: int = Field(800, ge=1, description="steps of training, as whole epochs")


def trials(config: Pinn) -> list[Trial]:
    """Every kind of physics with every seed; a seed has the same records and first weights."""
    return [
        Trial(
            kind,
            seed,
            partial(build, config, kind, seed),
            partial(evaluate, config, seed),
            partial(small_cnn, len(JOURNAL_CLASSES), key=jax.random.key(seed)),
        )
        for kind in config.physics
        for seed in _seeds(config)
    ]


def build(config: Pinn, kind: Physics, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial."""
    train = parts(config, seed).train
    count = len(train)
    settings = {**config.settings(count), "seed": seed, **options}
    model = small_cnn(len(JOURNAL_CLASSES), key=jax.random.key(seed))
    if kind == "nothing":
        trainer = CNNTrainer(model, train, **settings)
    else:
        trainer = PINNTrainer(
            model,
            train,
            lambda_freq=config.lambda_freq,
            lambda_sommerfeld=0.0,
            lambda_temporal=0.0,
            adaptive_lambda=config.adaptive_lambda,
            sample_rate=config.rate,
            frequency=term(kind, train, seed),
            **settings,
        )
    return trainer.trainer(config.epochs(count))


def term(kind: Physics, train: Windows, seed: int) -> FrequencyConsistencyLoss:
    """The term of the loss, calibrated on the healthy windows of the training."""
    loss = FrequencyConsistencyLoss(
        expected(kind, seed),
        train.sample_rate,
        _TOLERANCE,
        speeds=_SPEEDS,
        spectrum="raw",
        threshold=_THRESHOLD,
    )
    healthy = train[np.flatnonzero(train.labels == 0)]
    return loss.calibrated(jnp.asarray(healthy.signals), jnp.asarray(healthy.metadata["speed"]))


def expected(kind: Physics, seed: int) -> Lines:
    """What each class is to show; the controls are drawn by the seed.

    >>> expected("lines", 0)[6], expected("lines", 0)[7]
    (((1000.0, 1400.0),), (0.45,))
    """
    lines: Lines = {
        label: tuple(HISS if e == JOURNAL_LINES[6][0] else e for e in entries)
        for label, entries in JOURNAL_LINES.items()
    }
    rng = np.random.default_rng(seed)
    if kind == "scrambled":
        # A cycle through all classes in random order leaves none with its own lines.
        order = rng.permutation(list(lines))
        return {int(a): lines[int(b)] for a, b in zip(order, np.roll(order, 1), strict=True)}
    if kind == "random":
        return {
            label: tuple(_elsewhere(rng, entry) for entry in entries)
            for label, entries in lines.items()
        }
    return lines


def evaluate(config: Pinn, seed: int, trained: Any, split: str) -> dict[str, Any]:
    """The report."""
    return judge(Sight("cnn", parts(config, seed).train), config, seed, trained, split)


def export(model: Any, config: Pinn, trial: Trial) -> Exportable:
    """What the network says of windows."""
    return exportable(model, [Sight("cnn", parts(config, trial.seed).train)], config)


def _seeds(config: Pinn) -> range:
    return range(config.seed, config.seed + config.repeats)


def _elsewhere(rng: np.random.Generator, entry: Expected) -> Expected:
    """A line between the fourth and the fourteenth order, or a band of a tenth of its frequency."""
    if isinstance(entry, tuple):
        low = float(rng.uniform(200, 380))
        return (low, low * 1.1)
    return float(rng.integers(4, 14) + rng.uniform(0.3, 0.7))


def draw_physics(config: Pinn, outcomes: Sequence[Outcome], folder: Path) -> None:
    """`snr.png`, and `gain.png`: what each kind of physics adds to none at all, seed by seed."""
    draw(config, outcomes, folder)
    found = {(one.trial.method, one.trial.seed): one.metrics for one in outcomes}
    kinds = [kind for kind in config.physics if kind != "nothing"]
    if "nothing" not in config.physics or not kinds:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    measures = {"window_accuracy": "as simulated", "windows_5dB": "noise of 5 dB in the test"}
    panels = figure.subplots(1, len(measures))
    for axes, (name, title) in zip(panels, measures.items(), strict=True):
        for place, kind in enumerate(kinds):
            gains = 100 * np.array(
                [found[kind, s][name] - found["nothing", s][name] for s in _seeds(config)]
            )
            axes.plot(np.full(len(gains), place), gains, "o", alpha=0.6)
            axes.text(
                place,
                1.02,
                f"{gains.mean():+.1f}",
                ha="center",
                transform=axes.get_xaxis_transform(),
            )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.set_xlabel(title)
    panels[0].set_ylabel("windows right, points more than with none")
    figure.savefig(folder / "gain.png", dpi=110)


recipe = Recipe(
    "machinery/simulated-pinn",
    "What physics buys: lines of the classes as a term of the loss, with three controls.",
    Pinn,
    trials,
    COLUMNS,
    draw=draw_physics,
    export=export,
    ceiling=CEILING,
    citations=(citations.GRAD_NORM, citations.CALIBRATION),
    data_licence=LICENCE,
)
