"""Glitches: short noises of the instrument, which are not there in the other detector.

Four families that plague the LIGO detectors, in *strain*, and as loud as asked for after
whitening. M. Zevin et al., Class. Quantum Grav. 34 (2017) 064003, describes them.

>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> curve = noise_curve("aLIGO-O4")
>>> strain = draw_glitch(np.random.default_rng(0), "blip", curve, snr=12.0, sample_rate=2048.0)
>>> strain.shape, round(float(optimal_snr(strain, 2048.0, curve)), 6)
((8192,), 12.0)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

import etude as et
from etude.errors import suggest
from etude.systems.gravitational_waves.spectra import PowerSpectrum, optimal_snr

#: Seconds of the strain that holds one glitch, in its middle.
GLITCH_SECONDS = 4.0


def blip(
    times: Float64[np.ndarray, " samples"], frequency: float, quality: float, phase: float = 0.0
) -> Float64[np.ndarray, " samples"]:
    """A sine-Gaussian of a few cycles: `exp(-(t / tau)²) sin(2 pi f t + phase)`.

    Args:
        times: seconds from the middle.
        frequency: Hz.
        quality: `sqrt(2) pi f tau`, about the number of cycles.
        phase: phase of the carrier, rad.

    >>> blip(np.array([0.0, 0.25]), frequency=1.0, quality=4.0, phase=np.pi / 2).round(3)
    array([1., 0.])
    """
    tau = quality / (np.sqrt(2) * np.pi * frequency)
    return np.exp(-((times / tau) ** 2)) * np.sin(2 * np.pi * frequency * times + phase)


def whistle(
    times: Float64[np.ndarray, " samples"], lowest: float, highest: float, duration: float
) -> Float64[np.ndarray, " samples"]:
    """A tone that falls from `highest` to `lowest` Hz and rises again, within `duration` s.

    >>> whistle(np.array([-1.0, 0.0, 1.0]), 100.0, 500.0, 1.0).round(3) + 0
    array([0., 1., 0.])
    """
    x = 2 * times / duration
    phase = 2 * np.pi * (lowest * times + (highest - lowest) * duration / 6 * x**3)
    return _envelope(x) * np.cos(phase)


def scattered_light(
    times: Float64[np.ndarray, " samples"], highest: float, period: float, arches: int
) -> Float64[np.ndarray, " samples"]:
    """Light that a swinging surface scatters back: arches in a spectrogram.

    `sin(phi(t))`, where the phase swings with the surface, so that its rate goes to and fro
    between 0 and `highest`. T. Accadia et al., Class. Quantum Grav. 27 (2010) 194011, eq. 2.

    Args:
        times: seconds from the middle.
        highest: Hz, of the top of an arch.
        period: seconds of a full swing; an arch lasts half of it.
        arches: number of arches.

    >>> scattered_light(np.array([-5.0, 0.25, 5.0]), 32.0, 2.0, arches=2).round(3) + 0
    array([0.   , 0.956, 0.   ])
    """
    x = times / (arches * period / 4)
    return _envelope(x) * np.sin(highest * period * np.sin(2 * np.pi * times / period))


def power_line(
    times: Float64[np.ndarray, " samples"], duration: float, phase: float = 0.0
) -> Float64[np.ndarray, " samples"]:
    """A surge of the mains: 60 Hz and its third harmonic for `duration` s.

    >>> power_line(np.array([-1.0, 0.0, 1.0]), duration=1.0, phase=np.pi / 2).round(3) + 0
    array([0. , 0.7, 0. ])
    """
    turns = 2 * np.pi * 60.0 * times + phase
    return _envelope(2 * times / duration) * (np.sin(turns) + 0.3 * np.sin(3 * turns))


def _envelope(x: np.ndarray) -> np.ndarray:
    """1 in the middle, falling smoothly to 0 at ±1, from ±1/2 on."""
    return np.cos(np.pi / 2 * np.clip(2 * np.abs(x) - 1, 0, 1)) ** 2


def _random_blip(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    frequency = np.exp(rng.uniform(np.log(60.0), np.log(400.0)))
    return blip(times, frequency, rng.uniform(1.5, 6.0), rng.uniform(0, 2 * np.pi))


def _random_whistle(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    return whistle(times, rng.uniform(80, 200), rng.uniform(300, 700), rng.uniform(0.3, 1.0))


def _random_scattered_light(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    arches = int(rng.integers(2, 4))
    return scattered_light(times, rng.uniform(30, 80), rng.uniform(1.5, 2.5), arches)


def _random_power_line(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    return power_line(times, rng.uniform(0.3, 2.0), rng.uniform(0, 2 * np.pi))


#: kind -> shape of one at random, given a generator and the times in s from the middle
GLITCHES: dict[str, Callable[[np.random.Generator, np.ndarray], np.ndarray]] = {
    "blip": _random_blip,
    "whistle": _random_whistle,
    "scattered-light": _random_scattered_light,
    "power-line": _random_power_line,
}


def draw_glitch(
    rng: np.random.Generator,
    kind: str,
    psd: PowerSpectrum,
    snr: float,
    sample_rate: float,
    band: tuple[float, float] = (20.0, 1024.0),
) -> Float64[np.ndarray, " samples"]:
    """The strain of one glitch in the middle of `GLITCH_SECONDS`, of a given loudness.

    Args:
        rng: generator of its form.
        kind: one of `GLITCHES`.
        psd: spectrum of the noise, against which the glitch is measured; see `PowerSpectrum`.
        snr: optimal signal-to-noise ratio, see `optimal_snr`: the root of the sum of squares of
            its samples after whitening.
        sample_rate: Hz.
        band: Hz, in which the ratio is taken.

    Raises:
        DataError: an unknown kind.

    >>> draw_glitch(np.random.default_rng(0), "whistle", np.ones_like, 8.0, 2048.0).dtype
    dtype('float64')
    """
    if kind not in GLITCHES:
        raise et.DataError(f"There is no glitch {kind!r}. {suggest(kind, GLITCHES)}")
    samples = round(GLITCH_SECONDS * sample_rate)
    times = (np.arange(samples) - samples // 2) / sample_rate
    shape = GLITCHES[kind](rng, times)
    return shape * (snr / optimal_snr(shape, sample_rate, psd, band))


@dataclass(frozen=True, eq=False)
class Glitches:
    """Where glitches are in a stretch of strain.

    Attributes:
        times: seconds from the beginning of the stretch to the middle of each.
        kinds: one of `GLITCHES` each.
        snr: optimal signal-to-noise ratio of each.
    """

    times: Float64[np.ndarray, " glitches"]
    kinds: tuple[str, ...]
    snr: Float64[np.ndarray, " glitches"]


def glitch_stream(
    rng: np.random.Generator,
    psd: PowerSpectrum,
    duration: float,
    sample_rate: float,
    rate: float = 1 / 60,
    snr: tuple[float, float] = (8.0, 50.0),
    band: tuple[float, float] = (20.0, 1024.0),
) -> tuple[Float64[np.ndarray, " samples"], Glitches]:
    """Glitches at random times, alone: strain to be added to noise, and a table of them.

    Args:
        rng: draws times (a Poisson process), kinds and forms.
        psd: spectrum of the noise they will be added to; see `PowerSpectrum`.
        duration: length of the stream, seconds.
        sample_rate: Hz.
        rate: glitches per second.
        snr: range of the signal-to-noise ratio, uniform in the logarithm.
        band: Hz.

    Raises:
        DataError: a range of `snr` that is empty or not positive.

    >>> strain, table = glitch_stream(np.random.default_rng(0), np.ones_like, 300.0, 2048.0)
    >>> len(strain) / 2048, len(table.times)
    (300.0, 3)
    """
    low, high = snr
    if not 0 < low <= high:
        raise et.DataError(f"glitch_stream: snr={snr}; expected 0 < lowest <= highest.")
    count = rng.poisson(rate * duration)
    times = np.sort(rng.uniform(0, duration, count))
    loudness = np.exp(rng.uniform(np.log(low), np.log(high), count))
    kinds = tuple(rng.choice(list(GLITCHES), count).tolist())
    margin = round(GLITCH_SECONDS * sample_rate)
    samples = round(duration * sample_rate)
    strain = np.zeros(samples + 2 * margin)
    centres = np.round(times * sample_rate).astype(int) + margin
    for centre, kind, loud in zip(centres, kinds, loudness, strict=True):
        glitch = draw_glitch(rng, kind, psd, loud, sample_rate, band)
        strain[centre - len(glitch) // 2 :][: len(glitch)] += glitch
    return strain[margin : margin + samples], Glitches(times, kinds, loudness)
