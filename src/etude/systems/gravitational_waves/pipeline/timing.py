"""When a signal merged that a network found: measured on injections, with its error.

A network answers to a signal in every window that holds enough of it, and loudest not where the
merger is but where its own filters and membranes have gathered most. The centre of the whole
answer keeps a fixed distance from the merger, which injections into noise measure.

>>> times, values = np.arange(6.0) / 4, np.array([0.0, 3.0, 4.0, 3.0, 0.0, 0.0])
>>> Timing(offset=0.2, error=0.1, injections=50).triggers(Triggers(times, values), 0.75).loudest
(0.7, 4.0)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

import etude as et
from etude.systems.gravitational_waves.injections import whitened_signals
from etude.systems.gravitational_waves.pipeline.network import Sliding
from etude.systems.gravitational_waves.pipeline.triggers import Triggers, cluster
from etude.systems.gravitational_waves.population import Population
from etude.systems.gravitational_waves.spectra import PowerSpectrum

#: Share of the calibration's injections that merge within `Timing.error` of the stated time.
CONFIDENCE = 0.9
_REACH = 0.5  # seconds on either side of its centre that belong to an answer
_TURNS = 3  # repetitions that find the centre
_SHARE = 0.25  # of the height of an answer; what is above it is its extent
_LEAST = 10  # injections that a calibration rests on at least
_MARGIN = 1.0  # seconds of noise before and after all windows that hold the merger
_APART = 1.0  # seconds between the noise of one detector and of the other, at least


@dataclass(frozen=True)
class Timing:
    """How the time of a merger follows from the statistic of the windows around it.

    Attributes:
        offset: seconds from the centre of an answer, see `centres`, to the merger.
        error: seconds; `CONFIDENCE` of the calibration's injections merge within it of the time
            that is stated for them.
        injections: number of signals that it was measured on.
    """

    offset: float
    error: float
    injections: int

    def triggers(self, every: Triggers, window: float) -> Triggers:
        """The loudest of each stretch, see `cluster`, at the time when its signal merged.

        Args:
            every: triggers of all windows of a stretch of strain.
            window: seconds, on either side, for which one trigger stands.
        """
        kept = cluster(every.time, every.statistic, window)
        time = centres(every, kept, float(np.median(every.statistic))) + self.offset
        order = np.argsort(time, kind="stable")
        return Triggers(time[order], every.statistic[kept][order])


def centres(
    every: Triggers, chosen: Int[np.ndarray, " n"], floor: float
) -> Float64[np.ndarray, " n"]:
    """The centres of the answers around the chosen windows, in seconds.

    The mean time of the windows within 1/2 s of it (found by repetition, from the loudest), which
    are weighted by how far they exceed a quarter of the height of the loudest above the floor.

    Args:
        every: triggers of all windows, in order of time.
        chosen: the loudest window of each answer.
        floor: the statistic of noise.

    >>> every = Triggers(np.arange(4.0) / 4, np.array([0.0, 4.0, 4.0, 0.0]))
    >>> centres(every, np.array([1]), floor=0.0)
    array([0.375])
    """
    peak = every.statistic[chosen]
    level = floor + _SHARE * (peak - floor)
    found = every.time[chosen]
    # What is within reach of the loudest window may end within the answer: it is centred again.
    for _ in range(_TURNS):
        first = np.searchsorted(every.time, found - _REACH, side="left")
        last = np.searchsorted(every.time, found + _REACH, side="right")
        found = np.array(
            [
                _mean(every.time[low:high], every.statistic[low:high] - above, time)
                for low, high, above, time in zip(first, last, level, found, strict=True)
            ],
            np.float64,
        )
    # A trigger that is not above the floor has no extent: it is where it is.
    return np.where(peak > floor, found, every.time[chosen])


def _mean(times: np.ndarray, weights: np.ndarray, otherwise: float) -> float:
    """The mean time by what is positive of the weights, from differences that float64 holds."""
    weights = np.maximum(weights, 0.0)
    total = weights.sum()
    return otherwise + np.dot(weights, times - otherwise) / total if total else otherwise


def calibrate(
    sliding: Sliding,
    noise: Float[np.ndarray, "samples 2"],
    psds: Sequence[PowerSpectrum],
    rng: np.random.Generator,
    floor: float,
    threshold: float,
    *,
    population: Population = Population(),  # noqa: B008, frozen
    snr: tuple[float, float] = (8.0, 15.0),
    count: int = 256,
    band: tuple[float, float] = (20.0, 1024.0),
) -> Timing:
    """Measures a `Timing` on signals injected into whitened noise, those of them that are found.

    H1 and L1 take their noise from moments that lie a second or more apart, as in a time slide:
    the strain that is searched may serve as noise, for no signal in it is coherent any more.

    Args:
        sliding: the search.
        noise: whitened strain of H1 and L1.
        psds: spectra by which it was whitened, one per detector.
        rng: draws the binaries, their loudness and their noise. That of a test must not be used.
        floor: the statistic of noise, its median.
        threshold: an injection is found where the statistic exceeds it; where fewer than ten do,
            the ten loudest are taken.
        population: what binaries are drawn from.
        snr: range of the network SNR.
        count: number of injections.
        band: band of the whitened strain, Hz.

    Raises:
        DataError: less noise than two detectors a second apart need.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> def power(windows):  # of the loudest 1/32 s in both detectors
    ...     parts = (windows.reshape(len(windows), -1, 64, 2) ** 2).mean(axis=2)
    ...     return parts.min(axis=2).max(axis=1)
    >>> sliding = Sliding(power, 2048.0, window=0.5, stride=1 / 16, merger=0.25)
    >>> noise, curves = np.random.default_rng(0).normal(size=(16384, 2)), 2 * [noise_curve("A+")]
    >>> heavy, loud = Population(masses=(30.0, 50.0)), (15.0, 20.0)
    >>> timing = calibrate(
    ...     sliding, noise, curves, np.random.default_rng(1), 1.0, 2.0,
    ...     population=heavy, snr=loud, count=32,
    ... )
    >>> timing.error < 0.2
    True
    """
    rate = round(sliding.sample_rate)
    step = round(sliding.stride * rate)
    room = _MARGIN + sliding.window
    length = -(-round(2 * room * rate) // step) * step
    if len(noise) < 2 * _APART * rate:
        raise et.DataError(
            f"calibrate: {len(noise) / rate:g} s of noise; expected at least {2 * _APART:g} s. "
            "Give a longer stretch."
        )
    mergers = room + rng.uniform(0, sliding.stride, count)
    signals, each = whitened_signals(
        population.draw(rng, count), psds, sample_rate=rate, duration=length / rate,
        merger=mergers, band=band,
    )  # fmt: skip
    loudness = rng.uniform(*snr, count) / np.sqrt(np.sum(each**2, axis=1))
    first = rng.integers(len(noise), size=count)
    apart = rng.integers(round(_APART * rate), len(noise) - round(_APART * rate) + 1, size=count)
    starts = np.stack([first, first + apart], axis=1)
    places = (starts[:, None] + np.arange(length)[:, None]) % len(noise)
    stretches = noise[places, np.arange(2)] + loudness[:, None, None] * signals

    # One stream for all, so that every batch is full; windows across two stretches are left out.
    values = sliding.values(stretches.reshape(-1, 2))
    inside = 1 + (length - round(sliding.window * rate)) // step
    statistic = np.stack([values[n * (length // step) :][:inside] for n in range(count)])
    loudest = statistic.max(axis=1)
    found = np.flatnonzero(loudest > min(threshold, np.sort(loudest)[-_LEAST:][0]) - 1e-12)
    times = sliding.times(inside, 0.0)
    late = np.empty(len(found))
    for number, n in enumerate(found):
        answer = Triggers(times, statistic[n])
        peak = np.array([statistic[n].argmax()])
        late[number] = mergers[n] - centres(answer, peak, floor)[0]
    offset = float(np.median(late))
    error = float(np.quantile(np.abs(late - offset), CONFIDENCE))
    return Timing(offset, error, len(found))
