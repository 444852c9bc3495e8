"""`machinery/mfpt`: twenty real recordings, by the split that was published and by others.

The networks were chosen by leaving out one recording after the other (`--splits one-out`) of the
fourteen for training; the six for the test served to choose nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

import etude as et
from etude.export import Exportable
from etude.recipe import Recipe, Trial
from etude.systems.machinery.bearings import BEARINGS
from etude.systems.machinery.diagnosis import Trained
from etude.systems.machinery.downloads import MFPT_CLASSES, Mfpt, mfpt, mfpt_recordings
from etude.systems.machinery.models import AbstractNetwork
from etude.systems.machinery.reading import records_of
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.baselines import forest, ruled
from etude.systems.machinery.recipes.diagnose import diagnosis_verb
from etude.systems.machinery.recipes.networks import (
    Network,
    Training,
    exportable,
    measured,
    network,
    one_of_each,
    refuse_unread,
    seeds,
    trainer,
)
from etude.systems.machinery.records import Records, Windows
from etude.systems.machinery.splits import split_by

Split = Literal["published", "one-out", "random"]
SPLITS: dict[Split, str] = {
    "published": "recording-wise, as published",
    "one-out": "recording-wise, one left out",
    "random": "window-wise, which leaks",
}
FAULTS = ("BPFO", "BPFI")
TRAINED_AT = 25.0  # Hz, of the shaft in all recordings
_TRAINING = 14  # recordings of the published split


class Recordings(Training, frozen=True):
    """Every choice of `machinery/mfpt`."""

    root: str | None = Field(None, description="folder of the data; none: ETUDE_DATA")
    splits: tuple[Split, ...] = Field(
        ("published", "random"),
        min_length=1,
        description="published: 14 recordings and 6; one-out: each of the 14 left out in turn; "
        "random: of all windows, as a warning",
    )
    networks: tuple[Network, ...] = Field(
        ("envelope", "CNN"), min_length=1, description="what is trained"
    )
    sample_rate: float = Field(48_828.0, gt=0, description="Hz, to which all are resampled")
    rates: Literal["one", "as recorded"] = Field(
        "one",
        description="as recorded: training recordings are not resampled, so that the rate tells "
        "the class; those of the test are",
    )

    @model_validator(mode="after")
    def _read(self) -> "Recordings":
        refuse_unread(self, "networks")
        return self

    @model_validator(mode="after")
    def _apart(self) -> "Recordings":
        if self.rates == "as recorded" and "random" in self.splits:
            raise ValueError(
                "rates='as recorded' resamples the recordings of the test alone, which random "
                "windows share with the training: leave random out of the splits"
            )
        return self


def trials(config: Recordings) -> list[Trial]:
    """Each network by each split with each seed; with one left out, also for each recording."""
    return [
        Trial(
            f"{kind}, {SPLITS[split]}",
            number,
            partial(build, config, kind, split, number),
            partial(evaluate, config, split, number),
            partial(network, config, kind, len(MFPT_CLASSES), number),
        )
        for split in config.splits
        for kind in config.networks
        for number in _numbers(config, split)
    ]


def build(
    config: Recordings, kind: Network, split: Split, seed: int, /, **options: Any
) -> et.Trainer:
    """The trainer of one trial."""
    found = parts(config, split, seed)
    held_out = found["valid"] if len(found["valid"]) else None
    return trainer(config, kind, found["train"], held_out, seed, **options)


def evaluate(
    config: Recordings, split: Split, seed: int, model: AbstractNetwork, part: str
) -> dict[str, float]:
    """The report of a network, and what a forest and the rule make of the same part."""
    found = parts(config, split, seed)
    test = found[part]
    if len(test) == 0:
        raise et.DataError(f"With the split {split!r}, no recording is kept for {part!r}.")
    records = recordings(config.root, config.sample_rate).records
    return {
        **measured(model, test),
        **forest(found["train"], test, seed),
        **ruled(records[np.unique(test.metadata["record"])], FAULTS),
    }


@lru_cache(maxsize=4)
def parts(config: Recordings, split: Split, seed: int) -> dict[str, Windows]:
    """Windows for training, for the temperature, and for the test.

    As published, one recording of each class of the fourteen is drawn for the temperature.
    """
    data = recordings(config.root, config.sample_rate)
    windows = data.records.windows(config.window).normalised()
    learnt = windows
    if config.rates == "as recorded":
        learnt = as_recorded(config.root, config.sample_rate).windows(config.window).normalised()
    if split == "random":
        drawn = split_by(windows.groups, "window", fractions=(0.55, 0.15, 0.3), seed=seed)
        return {name: windows[index] for name, index in drawn.parts.items()}
    train = data.split.train
    if split == "published":
        valid, test = one_of_each(data.records.labels, train, seed), data.split.test
    else:
        valid, test = train[:0], train[[seed % _TRAINING]]
    train = np.setdiff1d(train, [*valid, *test])
    return {
        "train": _of(learnt, train),
        "valid": _of(learnt, valid),
        "test": _of(windows, test),
    }


@cache
def recordings(root: str | None, sample_rate: float) -> Mfpt:
    """All twenty, at one rate."""
    return mfpt(root, sample_rate=sample_rate)


@cache
def as_recorded(root: str | None, sample_rate: float) -> Records:
    """All twenty, taken to have one rate, which is wrong for some: a mistake to be shown."""
    same = recordings(root, sample_rate).records
    wrong = [replace(one, sample_rate=sample_rate) for one in mfpt_recordings(root)]
    return records_of(wrong, same.labels.tolist(), same.classes)


def _of(windows: Windows, records: Int[np.ndarray, " m"]) -> Windows:
    return windows[np.flatnonzero(np.isin(windows.metadata["record"], records))]


def _numbers(config: Recordings, split: Split) -> Sequence[int]:
    """The seeds of a split; with one left out, a seed says which as well."""
    if split != "one-out":
        return seeds(config)
    return range(config.seed * _TRAINING, (config.seed + config.repeats) * _TRAINING)


def trained(config: Recordings) -> Trained:
    """What the networks are trained on."""
    return Trained(
        MFPT_CLASSES,
        FAULTS,
        config.sample_rate,
        config.window,
        TRAINED_AT,
        BEARINGS["NICE"].orders,
    )


def export(model: AbstractNetwork, config: Recordings, trial: Trial) -> Exportable:
    """What the network says of windows."""
    return exportable(model, config.window, config.sample_rate, MFPT_CLASSES)


COLUMNS = {
    "test windows": "window_accuracy",
    "test records": "record_accuracy",
    "AUROC": "auroc",
    "ECE": "ece",
    "ECE, scaled": "ece_scaled",
    "forest, windows": "forest_windows",
    "forest, records": "forest_records",
    "envelope rule, records": "rule_records",
}

recipe = Recipe(
    "machinery/mfpt",
    "Real recordings of a bearing: the published split, beside one that leaks.",
    Recordings,
    trials,
    COLUMNS,
    predict=diagnosis_verb(trained),
    export=export,
    ceiling=(
        "1. There is one bearing for each state: no split of these recordings says how a bearing "
        "that was never seen is diagnosed."
    ),
    citations=(citations.ENVELOPE, citations.CALIBRATION),
    data_licence="CC BY-NC-SA 4.0; recordings of the MFPT Society, whose own terms are not stated.",
)
