"""`machinery/leakage`: the same networks under four splits of the same recordings.

Simulated bearings, each with its own way to the sensor, are recorded twice at each of three speeds.
What a classifier is said to reach depends on whether its test has windows of the recordings that it
learnt from, other recordings of the same condition, other conditions of the same bearing, or other
bearings; and there, on how many bearings it has learnt from.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

import etude as et
from etude.export import Exportable
from etude.recipe import Outcome, Recipe, Trial
from etude.systems.machinery.bearings import CHARACTERISTIC
from etude.systems.machinery.models import AbstractNetwork
from etude.systems.machinery.plots import plot_accuracy
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.baselines import forest, ruled
from etude.systems.machinery.recipes.networks import (
    Network,
    Training,
    exportable,
    measured,
    network,
    refuse_unread,
    seeds,
    trainer,
)
from etude.systems.machinery.records import Windows
from etude.systems.machinery.rule import EnvelopeRule
from etude.systems.machinery.simulation import (
    ROLLING_CLASSES,
    RollingSimulation,
    Simulated,
    simulate,
)
from etude.systems.machinery.splits import Groups, GroupSplit, Level, split_by

FAULTS = ("BPFO", "BPFI", "BSF")
FRACTIONS = (0.6, 0.15, 0.25)
_TWICE = 2  # recordings of each bearing in each condition


class Simulations(Training, frozen=True):
    """What is simulated, and by which networks it is learnt."""

    repeats: int = Field(5, ge=1, le=100, description="trials of each method, with seeds from seed")
    networks: tuple[Network, ...] = Field(
        ("CNN", "envelope"), min_length=1, description="what is trained"
    )
    bearings: int = Field(12, ge=4, description="bearings of each class")
    one_label_each: bool = Field(
        True, description="whether a bearing has one label; else it is recorded in every state"
    )
    duration: float = Field(1.0, gt=0, description="seconds of a recording")
    snr: float | None = Field(None, description="dB over white noise; none: the sensor's alone")
    window: int = Field(2048, ge=256, description="samples of a window, at 20480 Hz")
    lines: int = Field(40, ge=1, description="lines of the envelope's spectrum")
    epochs: int = Field(40, ge=1, description="passes over the training windows")

    @model_validator(mode="after")
    def _read(self) -> "Simulations":
        refuse_unread(self, "networks")
        return self


class Leakage(Simulations, frozen=True):
    """Every choice of `machinery/leakage`."""

    levels: tuple[Level, ...] = Field(
        get_args(Level), min_length=1, description="levels of the splits"
    )
    curve: tuple[int, ...] = Field(
        (1, 2, 4), description="training bearings of each class, of a bearing-wise split"
    )

    @model_validator(mode="after")
    def _enough(self) -> "Leakage":
        most = len(split_by(Groups.of(range(self.bearings)), "bearing", fractions=FRACTIONS).train)
        if wrong := [count for count in self.curve if not 1 <= count <= most]:
            raise ValueError(
                f"curve={wrong}: of bearings={self.bearings} of each class, 1 to {most} are for "
                "training. Raise bearings, or leave these out of the curve"
            )
        return self

    @model_validator(mode="after")
    def _long(self) -> "Leakage":
        """The envelope rule judges whole recordings after each training, and needs long ones."""
        shown, rule = RollingSimulation(), EnvelopeRule(FAULTS)
        orders = dict(zip(CHARACTERISTIC, shown.orders, strict=True))
        lowest = min(orders[name] for name in FAULTS)
        slowest = min(speed for speed, _ in shown.conditions)
        needed = rule.needed_samples(shown.sample_rate, lowest * slowest) / shown.sample_rate
        if self.duration < needed:
            raise ValueError(
                f"duration={self.duration:g} s: the envelope rule, which stands beside the "
                f"networks, needs recordings of {needed:.3g} s or more to tell a line at "
                f"{lowest * slowest:.3g} Hz. Raise duration"
            )
        return self


def trials(config: Leakage) -> list[Trial]:
    """Each network by each split with each seed, and with fewer bearings."""
    cases: list[tuple[Level, int | None]] = [(level, None) for level in config.levels]
    for count in config.curve:
        cases.append(("bearing", count))
    return [
        Trial(
            _method(kind, level, count),
            seed,
            partial(build, config, kind, level, count, seed),
            partial(evaluate, config, level, count, seed),
            partial(network, config, kind, len(ROLLING_CLASSES), seed),
        )
        for kind in config.networks
        for level, count in cases
        for seed in seeds(config)
    ]


def build(
    config: Leakage, kind: Network, level: Level, count: int | None, seed: int, /, **options: Any
) -> et.Trainer:
    """The trainer of one trial; fewer bearings are seen more often, for as many steps."""
    windows, split = divided(config, level, seed)
    train = split.train if count is None else of_fewer(windows, split.train, count)
    longer = config.model_copy(
        update={"epochs": round(config.epochs * len(split.train) / len(train))}
    )
    return trainer(longer, kind, windows[train], windows[split.valid], seed, **options)


def evaluate(
    config: Leakage, level: Level, count: int | None, seed: int, model: AbstractNetwork, part: str
) -> dict[str, float]:
    """The report of a network, and what a forest and the rule make of the same part."""
    windows, split = divided(config, level, seed)
    return {
        **measured(model, windows[split.parts[part]]),
        **beside(config, level, count, seed, part),
    }


@lru_cache(maxsize=64)
def beside(
    config: Leakage, level: Level, count: int | None, seed: int, part: str
) -> Mapping[str, float]:
    """What no network is needed for: the same for all of them."""
    windows, split = divided(config, level, seed)
    train = split.train if count is None else of_fewer(windows, split.train, count)
    test = windows[split.parts[part]]
    records = simulated(config, seed).records[np.unique(test.metadata["record"])]
    return {**forest(windows[train], test, seed), **ruled(records, FAULTS)}


@lru_cache(maxsize=8)
def divided(config: Simulations, level: Level, seed: int) -> tuple[Windows, GroupSplit]:
    """All windows of a seed, and their split at a level, which holds."""
    windows = simulated(config, seed).records.windows(config.window).normalised()
    split = split_by(windows.groups, level, fractions=FRACTIONS, labels=windows.labels, seed=seed)
    split.check(windows.groups)
    return windows, split


@lru_cache(maxsize=2)
def simulated(config: Simulations, seed: int) -> Simulated:
    """The recordings of a seed, of bearings that no other seed has."""
    simulation = RollingSimulation(
        duration=config.duration,
        bearings_per_class=config.bearings,
        one_label_each=config.one_label_each,
        snr=config.snr,
        seed=seed,
    )
    return simulate(simulation, _TWICE * config.bearings * len(simulation.conditions))


def of_fewer(windows: Windows, index: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " m"]:
    """Those of the indices that belong to the first so many bearings of each class."""
    bearing, label = windows.groups.bearing[index], windows.labels[index]
    kept = np.zeros(len(index), bool)
    for one in np.unique(label):
        mine = label == one
        kept |= mine & np.isin(bearing, np.unique(bearing[mine])[:count])
    return index[kept]


def export(model: AbstractNetwork, config: Simulations, trial: Trial) -> Exportable:
    """What the network says of windows."""
    return exportable(model, config.window, RollingSimulation().sample_rate, ROLLING_CLASSES)


def draw(config: Leakage, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Accuracy of windows by the level of the split, and by the number of training bearings."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Mapping[str, float]]] = {}
    for outcome in outcomes:
        found.setdefault(outcome.trial.method, []).append(outcome.metrics)

    def curves(
        x: Sequence[Any], cases: Sequence[tuple[Level, int | None]]
    ) -> dict[str, tuple[Sequence[Any], np.ndarray]]:
        def values(kind: Network, name: str) -> np.ndarray:
            methods = [_method(kind, level, count) for level, count in cases]
            return np.array([[metrics[name] for metrics in found[m]] for m in methods])

        kinds = config.networks
        return {
            **{
                f"{kind}, windows": (x, values(kind, "window_accuracy")) for kind in config.networks
            },
            "forest, windows": (x, values(kinds[0], "forest_windows")),
            "envelope rule, records": (x, values(kinds[0], "rule_records")),
        }

    if config.levels:
        title = "The same recordings, split at four levels"
        cases: list[tuple[Level, int | None]] = [(level, None) for level in config.levels]
        figure = plot_accuracy(curves(config.levels, cases), "level of the split", title)
        figure.savefig(folder / "leakage.png", dpi=110)
    if config.curve:
        title = "Bearings that were never seen"
        numbers = sorted(config.curve)
        few: list[tuple[Level, int | None]] = [("bearing", count) for count in numbers]
        figure = plot_accuracy(curves(numbers, few), "training bearings of each class", title)
        figure.savefig(folder / "bearings.png", dpi=110)


def _method(kind: Network, level: Level, count: int | None) -> str:
    return f"{kind}, {level}-wise" + ("" if count is None else f", {count} for training")


recipe = Recipe(
    "machinery/leakage",
    "What a split at the level of windows, recordings, conditions or bearings says of a network.",
    Leakage,
    trials,
    {
        "test windows": "window_accuracy",
        "test records": "record_accuracy",
        "AUROC": "auroc",
        "ECE, scaled": "ece_scaled",
        "forest, windows": "forest_windows",
        "forest, records": "forest_records",
        "envelope rule, records": "rule_records",
    },
    draw=draw,
    export=export,
    ceiling=(
        "1 for records. Windows of 0.1 s hold two turns, in which a fault on a roller that passes "
        "outside of the loaded zone is hardly struck."
    ),
    citations=(citations.ENVELOPE, citations.CALIBRATION),
    data_licence="None: the data are simulated.",
)
