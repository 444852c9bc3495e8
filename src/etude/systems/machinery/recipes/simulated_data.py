"""Simulated records of journal bearings as the recipes take them: at a lower rate, split, cut.

The seeds of the recipes draw other records than those on which settings were chosen.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from pydantic import Field, model_validator

import etude as et
from etude.config import refuse
from etude.predictions import in_parts
from etude.recipe import Configuration
from etude.systems.machinery.records import Windows
from etude.systems.machinery.signals import resample
from etude.systems.machinery.simulation import JournalSimulation, Simulated, Traces, simulate
from etude.systems.machinery.splits import GroupSplit, split_by

#: Of the records: what the parts are for is said in `Parts`.
FRACTIONS = (0.6, 0.15, 0.25)
#: dB, of the noise that is added to the windows of the test.
SNRS = (10, 5, 0)

_SIMULATED = 20480.0  # Hz
_FIRST = 20480  # seed of the records that seed 0 has
_AT_A_TIME = 64  # records that are resampled together


class Records(Configuration, frozen=True):
    """What every recipe on simulated records can be told of them.

    Raises:
        ConfigurationError: windows that are no whole samples and blocks of 0.05 s of a record.
    """

    repeats: int = Field(5, ge=1, le=100, description="trials of each method, with seeds from seed")
    per_class: int = Field(160, ge=8, description="records of each class")
    duration: float = Field(4.0, gt=0, description="seconds of a record")
    rate: float = Field(6400.0, ge=6000, le=_SIMULATED, description="Hz, after resampling")
    window: float = Field(2.0, gt=0, description="seconds of a window")
    snr: float | None = Field(
        None, description="dB, signal to noise of all records; none: noise of 0.03"
    )
    labels: int | None = Field(
        None, ge=1, description="records of each class that are learnt from; none: all of training"
    )

    @model_validator(mode="after")
    def _whole(self) -> "Records":
        problems = [
            f"{name} is {value:g} s, expected a multiple of 0.05 s"
            for name, value in (("duration", self.duration), ("window", self.window))
            if abs(value / 0.05 - round(value / 0.05)) > 1e-6
        ]
        if self.window > self.duration:
            problems.append(f"window is {self.window:g} s, longer than a record")
        if abs(self.window * self.rate - round(self.window * self.rate)) > 1e-6:
            problems.append(
                f"a window has {self.window * self.rate:g} samples, expected a whole number"
            )
        refuse(type(self).__name__, problems)
        return self

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.window * self.rate)


class Parts(NamedTuple):
    """The windows of an experiment, split by recordings.

    Attributes:
        train: those that are learnt from, of `labels` records of each class.
        valid: those that the temperature is fitted to, and settings are chosen by.
        test: those that results are of.
        ceilings: the largest accuracy that can be expected on each part; see `Traces.ceiling`.
    """

    train: Windows
    valid: Windows
    test: Windows
    ceilings: dict[str, float]

    def of(self, split: str) -> Windows:
        """The windows of a part by its name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[split]


def parts(config: Records, seed: int) -> Parts:
    """The data of a trial; the seed draws records and split.

    Raises:
        ConfigurationError: more labelled records asked for than there are in training.
    """
    found = _parts(config.per_class, config.duration, config.rate, config.window, config.snr, seed)
    if config.labels is None:
        return found
    return found._replace(train=_labelled(found.train, config.labels, seed))


def noisier(windows: Windows, snr: float, seed: int) -> Windows:
    """Windows with white noise, each with this ratio of its power to that of the noise, dB."""
    rng = np.random.default_rng((seed, round(10 * snr) + 1000))
    power = np.mean(np.square(windows.signals), axis=1, keepdims=True)
    size = np.sqrt(power * 10 ** (-snr / 10)).astype(np.float32)
    noise = rng.standard_normal(windows.signals.shape, np.float32)
    return replace(windows, signals=windows.signals + size * noise)


@lru_cache(maxsize=2)
def _parts(
    per_class: int, duration: float, rate: float, window: float, snr: float | None, seed: int
) -> Parts:
    simulation = JournalSimulation(
        duration=duration, sample_rate=_SIMULATED, snr=snr, seed=_FIRST + seed
    )
    records, traces = slower(simulate(simulation, per_class), rate)
    split = split_by(
        records.groups, "recording", fractions=FRACTIONS, labels=records.labels, seed=seed
    )
    split.check(records.groups)
    cut = {
        name: records[where].windows(round(window * rate)) for name, where in split.parts.items()
    }
    return Parts(**cut, ceilings=_ceilings(traces, split, round(window * _SIMULATED)))


def slower(simulated: Simulated, rate: float) -> Simulated:
    """Simulated records at a lower rate, without aliases; the traces are of the records before."""
    records = simulated.records
    if rate == records.sample_rate:
        return simulated
    to_rate = partial(resample, from_rate=records.sample_rate, to_rate=rate)
    signals = in_parts(to_rate, records.signals, _AT_A_TIME)
    return simulated._replace(records=replace(records, signals=signals, sample_rate=rate))


def _ceilings(traces: Traces, split: GroupSplit, window: int) -> dict[str, float]:
    return {
        name: replace(traces, energy=traces.energy[where], noise=traces.noise[where]).ceiling(
            window
        )
        for name, where in split.parts.items()
    }


def _labelled(windows: Windows, count: int, seed: int) -> Windows:
    """The windows of so many records of each class."""
    rng = np.random.default_rng(seed)
    record, chosen = windows.metadata["record"], []
    for label in range(len(windows.classes)):
        there = np.unique(record[windows.labels == label])
        if len(there) < count:
            raise et.ConfigurationError(
                f"labels={count}, but the training has {len(there)} records of the class "
                f"{windows.classes[label]!r}. Ask for fewer, or simulate more (per_class)."
            )
        chosen.append(rng.choice(there, count, replace=False))
    return windows[np.flatnonzero(np.isin(record, np.concatenate(chosen)))]
