"""A trained network on real strain: triggers with their false-alarm rates, and a figure.

>>> class Loudness(eqx.Module):
...     def statistic(self, windows):
...         return jnp.abs(windows).max(axis=(1, 2))
...     def spikes(self, window):
...         return (window > 4).astype(jnp.float32)
>>> rng, noise = np.random.default_rng(0), {}
>>> for name in ("H1", "L1"):
...     noise[name] = Strain(1e-21 * rng.normal(size=16 * 2048), 2048.0, 100.0, name)
>>> found = detect(Loudness(), noise["H1"], noise["L1"], Preparation(), injections=16)
>>> len(found.triggers) > 10, len(found.background.statistics) > 100
(True, True)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

import etude as et
from etude.systems.gravitational_waves.bank import SPLITS
from etude.systems.gravitational_waves.pipeline.background import HOUR, Background
from etude.systems.gravitational_waves.pipeline.network import Sliding
from etude.systems.gravitational_waves.pipeline.plots import plot_detection
from etude.systems.gravitational_waves.pipeline.timing import CONFIDENCE, Timing, calibrate
from etude.systems.gravitational_waves.pipeline.triggers import Triggers
from etude.systems.gravitational_waves.reading import read_strain
from etude.systems.gravitational_waves.strain import Strain
from etude.table import Table

#: In the order of the channels that a network is trained on.
ORDER = ("H1", "L1")
_CLUSTER = 0.5  # seconds
_FOUND = 1 / 60  # Hz, of false alarms as loud: louder injections calibrate the times


@dataclass(frozen=True)
class Preparation:
    """How the windows that a network was trained on were made; the defaults are those of `Mixing`.

    Attributes:
        sample_rate: Hz.
        window: seconds.
        band: Hz, of the whitened strain.
        merger: where in a window a signal merges, seconds from its start: the range in training.

    >>> Preparation(merger=(0.6, 0.9)).stride
    0.0625
    """

    sample_rate: float = 2048.0
    window: float = 1.0
    band: tuple[float, float] = (20.0, 1024.0)
    merger: tuple[float, float] = (0.6, 0.8)

    @property
    def stride(self) -> float:
        """Seconds between windows: 1/16, less where the range of mergers is narrower."""
        width = self.merger[1] - self.merger[0]
        return float(2 ** np.floor(np.log2(min(1 / 16, width)))) if width > 0 else 1 / 16


@dataclass(frozen=True, eq=False)
class Detection:
    """What a search of one stretch of strain found.

    Attributes:
        triggers: clustered triggers in order of time, each at its merger.
        false_alarm_rate: false-alarm rate of each trigger, Hz.
        background: what the time slides hold.
        strain: whitened strain of each detector.
        statistic: value of every window, before clustering, at the start of the window.
        timing: how the times were found, and their error.
    """

    triggers: Triggers
    false_alarm_rate: Float64[np.ndarray, " n"]
    background: Background
    strain: tuple[Strain, ...]
    statistic: Triggers
    timing: Timing

    def summary(self) -> str:
        """One sentence about the loudest trigger."""
        time, statistic = self.triggers.loudest
        rate = self.false_alarm_rate[np.argmax(self.triggers.statistic)]
        louder = int(self.background.louder(np.array([statistic]))[0])
        loudest = f"{louder} triggers of the time slides are as loud"
        if not louder:
            loudest = "above every trigger of all time slides"
        return (
            f"Loudest: GPS {time:.2f} ± {self.timing.error:.2f} s ({CONFIDENCE:.0%} of "
            f"{self.timing.injections} injections), statistic {statistic:.4g}, at most "
            f"{rate * HOUR:.3g} false alarms per hour ({loudest}; "
            f"{self.background.duration:.0f} s of background)."
        )

    def table(self) -> Table:
        """A row for each trigger, the loudest first."""
        rows = []
        for row in np.argsort(-self.triggers.statistic, kind="stable"):
            time, statistic = self.triggers.time[row], self.triggers.statistic[row]
            rate = self.false_alarm_rate[row] * HOUR
            rows.append(
                (f"{time:.4f}", f"{self.timing.error:.4f}", f"{statistic:.6g}", f"{rate:.6g}")
            )
        head = ("gps_time", "time_error", "statistic", "false_alarms_per_hour")
        return Table(head, tuple(rows))

    def write(self, folder: Path, model: Any, preparation: Preparation) -> None:
        """Writes `triggers.csv`, the loudest first, and `detection.png`."""
        self.table().write_csv(folder / "triggers.csv")
        self._figure(model, preparation).savefig(folder / "detection.png", dpi=140)

    def _figure(self, model: Any, preparation: Preparation) -> Any:
        """Around the loudest trigger."""
        begin, _ = self.statistic.loudest
        rate, start = preparation.sample_rate, self.strain[0].start
        white = np.stack([strain.values for strain in self.strain], axis=1).astype(np.float32)
        first, length = round((begin - start) * rate), round(preparation.window * rate)
        raster = np.asarray(model.spikes(jnp.asarray(white[first : first + length])), np.float32)
        margin = round(rate / 2)
        low, high = max(first - margin, 0), min(first + length + margin, len(white))
        # Of each window, at the time of a merger that would be at the centre of the answer.
        times = self.statistic.time + self.timing.offset
        shown = (times >= begin - 0.5) & (times <= begin + preparation.window + 0.5)
        return plot_detection(
            white[low:high],
            rate,
            start + low / rate,
            (times[shown], self.statistic.statistic[shown]),
            raster,
            (begin, begin + preparation.window),
            float(self.background.statistics[-1]) if len(self.background.statistics) else None,
            tuple(strain.detector for strain in self.strain),
        )


def detect(
    model: Any,
    first: Strain,
    second: Strain,
    preparation: Preparation,
    *,
    slides: int = 50,
    step: float = 1.0,
    injections: int = 256,
    batch: int = 256,
) -> Detection:
    """Whitens simultaneous strain, slides the network over it, and over time slides of it.

    When a signal merged is calibrated on injections of simulated binaries into time slides of the
    same strain, see `calibrate`. They are always the same, those of a validation split.

    Args:
        model: has `statistic(windows) -> (n,)` for windows `(n, samples, detectors)`, H1 first,
            and `spikes(window) -> (time, neurons)`.
        first, second: strain of H1 and L1, in either order; what they have in common is searched.
        preparation: how the strain of the model's training was prepared.
        slides: largest number of time slides.
        step: seconds between slides.
        injections: number of signals that calibrate the times.
        batch: windows at a time.

    Raises `DataError` for other detectors, or less common strain than can be searched.
    """
    strain = _common(first, second, preparation)
    psds = [one.psd() for one in strain]
    white = tuple(
        one.whitened(psd, preparation.band) for one, psd in zip(strain, psds, strict=True)
    )
    stream = np.stack([one.values for one in white], axis=1)
    if white[0].duration < 2 * step:
        raise et.DataError(
            f"{white[0].duration:g} s of whitened strain are too short for time slides of "
            f"{step:g} s. Give a longer stretch."
        )
    compiled = eqx.filter_jit(model.statistic)
    # Windows are known by their start: where in them a signal merges is for the calibration.
    sliding = Sliding(
        compiled, preparation.sample_rate, preparation.window, preparation.stride, 0.0, batch
    )
    every = sliding.triggers(stream, white[0].start)
    background = sliding.background(stream, step, slides, _CLUSTER)
    timing = calibrate(
        sliding,
        stream,
        psds,
        np.random.default_rng(np.random.SeedSequence(0, spawn_key=(SPLITS.index("valid"),))),
        float(np.median(every.statistic)),
        background.threshold(max(_FOUND, background.resolution)),
        count=injections,
        band=preparation.band,
    )
    triggers = timing.triggers(every, _CLUSTER)
    rates = background.false_alarm_rate(triggers.statistic)
    return Detection(triggers, rates, background, white, every, timing)


def detect_files(
    model: Any,
    first: Path,
    second: Path,
    folder: Path | None,
    preparation: Preparation,
    **options: Any,
) -> Detection:
    """`detect` on two files, which `read_strain` reads; writes its results into `folder`, if given.

    Raises `ConfigurationError` for a model that is no detector, `DataError` as `detect` and
    `read_strain`.
    """
    for name in ("statistic", "spikes"):
        if not callable(getattr(model, name, None)):
            raise et.ConfigurationError(
                f"A {type(model).__name__} has no `{name}`, so it cannot search for signals. Use "
                "a run of a recipe that trains a detector of gravitational waves."
            )
    rate = preparation.sample_rate
    one, two = read_strain(first, sample_rate=rate), read_strain(second, sample_rate=rate)
    found = detect(model, one, two, preparation, **options)
    if folder is not None:
        found.write(folder, model, preparation)
    return found


def _common(first: Strain, second: Strain, preparation: Preparation) -> tuple[Strain, Strain]:
    """Both in the order of training, cropped to the time in which both have data."""
    pair = {strain.detector: strain for strain in (first, second)}
    if set(pair) != set(ORDER):
        raise et.DataError(
            f"The strain is of {first.detector} and {second.detector}; the network was trained on "
            f"{' and '.join(ORDER)}. Give one file of each."
        )
    start = max(strain.start for strain in pair.values())
    end = min(strain.end for strain in pair.values())
    # Whitening spends 2 s at either end, and estimates spectra from stretches of 4 s.
    least = 8 + preparation.window
    if end - start < least:
        raise et.DataError(
            f"H1 has data from GPS {pair['H1'].start:.12g} to {pair['H1'].end:.12g}, L1 from "
            f"{pair['L1'].start:.12g} to {pair['L1'].end:.12g}; at least {least:g} s in common "
            "are needed. Take files of the same time."
        )
    rate = preparation.sample_rate
    h1, l1 = (pair[name].crop(start, end).resampled(rate) for name in ORDER)
    return h1, l1
