"""`machinery/simulated-progressive`: short pieces of the windows first, which cost less.

Every step sees as many windows, and its cost is that of their samples. A control trains on whole
windows throughout for the same cost.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.export import Exportable
from etude.recipe import Outcome, Recipe, Trial
from etude.run import Durations, History
from etude.run.trials import place_of
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.simulated_data import parts
from etude.systems.machinery.recipes.simulated_measures import (
    CEILING,
    COLUMNS,
    LICENCE,
    judge,
)
from etude.systems.machinery.recipes.simulated_networks import (
    Sight,
    Training,
    exportable,
    small_cnn,
)
from etude.systems.machinery.simulation import JOURNAL_CLASSES
from etude.systems.machinery.training import CNNTrainer, ProgressiveResizingTrainer

Method = Literal["full length", "progressive", "full length, same cost"]
Schedule = list[tuple[int, int]]


class Progressive(Training, frozen=True):
    """Every choice of `machinery/simulated-progressive`.

    Raises:
        ConfigurationError: lengths and shares of other numbers, lengths that do not grow to that of
            a window, or shares that are not above 0.
    """

    methods: tuple[Method, ...] = Field(
        ("full length", "progressive", "full length, same cost"), description="trainings"
    )
    lengths: tuple[float, ...] = Field((0.5, 1.0, 2.0), description="seconds, of each stage")
    shares: tuple[float, ...] = Field(
        (0.4, 0.3, 0.3), description="epochs of each stage, of those at full length"
    )

    @model_validator(mode="after")
    def _stages(self) -> "Progressive":
        problems = []
        if len(self.lengths) != len(self.shares) or min(self.shares, default=0) <= 0:
            problems.append(
                f"lengths={self.lengths} and shares={self.shares}, expected as many, above 0"
            )
        growing = list(self.lengths) == sorted(set(self.lengths))
        if not growing or not self.lengths or self.lengths[-1] != self.window:
            problems.append(
                f"lengths={self.lengths}, expected to grow to {self.window:g}, that of a window"
            )
        refuse("Progressive", problems)
        return self

    def schedule(self, method: str, windows: int) -> Schedule:
        """Samples and epochs of each stage."""
        epochs = self.epochs(windows)
        stages = [
            (round(length * self.rate), max(1, round(share * epochs)))
            for length, share in zip(self.lengths, self.shares, strict=True)
        ]
        if method == "progressive":
            return stages
        if method == "full length":
            return [(self.samples, epochs)]
        return [(self.samples, max(1, round(cost_of(stages) / self.samples)))]


def cost_of(schedule: Schedule) -> int:
    """Samples that are seen of a window, in all epochs together."""
    return sum(length * epochs for length, epochs in schedule)


def trials(config: Progressive) -> list[Trial]:
    """Every training with every seed; a seed has the same records and first weights."""
    return [
        Trial(
            method,
            seed,
            partial(build, config, method, seed),
            partial(evaluate, config, method, seed),
            partial(small_cnn, len(JOURNAL_CLASSES), key=jax.random.key(seed)),
        )
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def build(config: Progressive, method: Method, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial; all are validated on whole windows, and keep the last weights."""
    data = parts(config, seed)
    model = small_cnn(len(JOURNAL_CLASSES), key=jax.random.key(seed))
    settings = {**config.settings(len(data.train)), "seed": seed, "keep": "last", **options}
    schedule = config.schedule(method, len(data.train))
    if method != "progressive":
        return CNNTrainer(model, data.train, data.valid, **settings).trainer(schedule[0][1])
    batch = settings.pop("batch_size")
    trainer = ProgressiveResizingTrainer(model, schedule=schedule, **settings)
    return trainer.trainer(data.train, data.valid, batch)


def evaluate(
    config: Progressive, method: Method, seed: int, trained: Any, split: str
) -> dict[str, Any]:
    """The report, and the cost of the training in that of one at full length."""
    data = parts(config, seed)
    found = judge(Sight("cnn", data.train), config, seed, trained, split)
    count = len(data.train)
    whole = cost_of(config.schedule("full length", count))
    return {**found, "cost": cost_of(config.schedule(method, count)) / whole}


def export(model: Any, config: Progressive, trial: Trial) -> Exportable:
    """What the network says of windows."""
    return exportable(model, [Sight("cnn", parts(config, trial.seed).train)], config)


def draw(config: Progressive, outcomes: Sequence[Outcome], folder: Path) -> None:
    """`progressive.png`: accuracy on the validation against the samples seen, of the first seed.

    The seconds are those of all steps at the median pace of their stage, which knows nothing of
    compilations, validations, and what else the machine did.
    """
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="cost of the training", ylabel="windows right, validation")
    count = len(parts(config, config.seed).train)
    whole = cost_of(config.schedule("full length", count))
    for number, outcome in enumerate(outcomes):
        if outcome.trial.seed != config.seed:
            continue
        place = place_of(folder.parent, number, outcome.trial.name)
        history, seconds = History.open(place), seconds_of(Durations.read(place / "timing.jsonl"))
        right = [record["valid/accuracy"] for record in history.validations]
        schedule = config.schedule(outcome.trial.method, count)
        cost = np.cumsum([length for length, epochs in schedule for _ in range(epochs)]) / whole
        axes.plot(cost, right, label=f"{outcome.trial.method}, {seconds:.0f} s")
    axes.legend(fontsize="small")
    figure.savefig(folder / "progressive.png", dpi=110)


def seconds_of(times: Sequence[Mapping[str, Any]]) -> float:
    """The seconds of all steps, each at the median pace of its phase.

    >>> steps = [("a", 1, 9.0), ("a", 2, 0.2), ("a", 4, 0.4), ("b", 2, 2.0)]
    >>> times = [{"phase": p, "what": "train", "steps": n, "seconds": s} for p, n, s in steps]
    >>> round(seconds_of(times), 6)  # seven steps of 0.1 s, two of 1 s
    2.7
    """
    total, training = 0.0, [one for one in times if one["what"] == "train"]
    for phase in {one["phase"] for one in training}:
        mine = [one for one in training if one["phase"] == phase]
        pace = np.median([one["seconds"] / one["steps"] for one in mine])
        total += float(pace) * sum(one["steps"] for one in mine)
    return total


recipe = Recipe(
    "machinery/simulated-progressive",
    "Training on growing pieces of the windows, beside training on whole ones.",
    Progressive,
    trials,
    {**COLUMNS, "cost": "cost"},
    draw=draw,
    export=export,
    ceiling=CEILING,
    citations=(citations.CALIBRATION,),
    data_licence=LICENCE,
)
