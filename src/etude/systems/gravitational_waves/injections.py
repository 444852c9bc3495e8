"""Injections: what detectors record of binaries, raw or whitened.

>>> from etude.systems.gravitational_waves.population import Population
>>> binaries = Population().draw(np.random.default_rng(0), 2)
>>> strain = project(binaries, sample_rate=2048.0, duration=2.0, merger=1.5)
>>> strain.shape, strain.dtype, bool(np.abs(strain).max() < 1e-20)
((2, 4096, 2), dtype('float64'), True)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Complex128, Float32, Float64
from scipy import fft

from etude.engine.errors import DataError
from etude.systems.gravitational_waves.detectors import H1, L1, Detector
from etude.systems.gravitational_waves.population import Parameters
from etude.systems.gravitational_waves.spectra import PowerSpectrum, whitening_filter
from etude.systems.gravitational_waves.waveforms import amplitude_and_phase

_PADDING = 1.0  # seconds computed before the window, in which earlier parts of a signal fade in
_TAPER = 0.125  # seconds at the start of raw strain that rise from zero
_BATCH = 32  # binaries at a time, so that the spectra stay in the cache


def project(
    parameters: Parameters,
    detectors: Sequence[Detector] = (H1, L1),
    sample_rate: float = 2048.0,
    duration: float = 2.0,
    merger: Float64[np.ndarray, " n"] | float = 1.5,
    gmst: Float64[np.ndarray, " n"] | float = 0.0,
    low_frequency: float = 20.0,
) -> Float64[np.ndarray, "n samples detectors"]:
    """The strain that each detector would record of each binary, without noise.

    Signals that began before the window rise within its first 1/8 s.

    Args:
        parameters: the binaries.
        detectors: where the strain is felt.
        sample_rate: Hz.
        duration: of the window, seconds.
        merger: when the binaries coalesce, seconds after the start of the window as seen at the
            geocentre; a detector sees it up to 21 ms earlier or later.
        gmst: Greenwich mean sidereal time of the merger, rad; it turns the detectors, and so
            matters only where the sky position does.
        low_frequency: Hz; the signals are complete from here on.

    Raises:
        DataError: a merger outside the window.
        ValueError: see `polarizations`.
    """
    window = _Window(sample_rate, duration, merger, len(parameters))
    scale = np.full((len(detectors), len(window.frequencies)), sample_rate)
    strain, _ = window.series(parameters, detectors, gmst, low_frequency, scale, np.float64)
    rising = np.arange(min(round(_TAPER * sample_rate), strain.shape[1]))
    strain[:, rising] *= np.sin(np.pi / 2 * rising / len(rising))[:, None] ** 2
    return strain


def whitened_signals(
    parameters: Parameters,
    psds: Sequence[PowerSpectrum],
    detectors: Sequence[Detector] = (H1, L1),
    sample_rate: float = 2048.0,
    duration: float = 2.0,
    merger: Float64[np.ndarray, " n"] | float = 1.5,
    gmst: Float64[np.ndarray, " n"] | float = 0.0,
    band: tuple[float, float] = (20.0, 1024.0),
) -> tuple[Float32[np.ndarray, "n samples detectors"], Float64[np.ndarray, "n detectors"]]:
    """The signals as they appear in whitened strain, and their optimal signal-to-noise ratios.

    They pass the filter of `whiten`, so they are what `whiten(noise + project(...))` holds in
    excess of `whiten(noise)`. The ratio is that of the whole signal, the root of
    ``4 ∫ |h|² / S df``, wherever the window is; where the window holds it all, its square is the
    sum of the squares of the samples.

    Args:
        parameters: the binaries.
        psds: the power spectral density of the noise of each detector: frequencies in Hz to 1/Hz.
        detectors: where the strain is felt.
        sample_rate: Hz.
        duration: of the window, seconds.
        merger: seconds after the start of the window, at the geocentre.
        gmst: see `project`.
        band: Hz, see `whitening_filter`. A signal begins at its lower edge, at 20 Hz if that is 0.

    Raises:
        DataError: a merger outside the window, not one spectrum for each detector, or see
            `whitening_filter`.
        ValueError: see `polarizations`.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> curves = 2 * [noise_curve("aLIGO-O4")]
    >>> signals, snr = whitened_signals(Parameters.of(36.0, 29.0), curves, duration=4.0, merger=3.5)
    >>> bool(np.allclose(np.linalg.norm(signals, axis=1), snr, rtol=1e-3))
    True
    """
    if len(psds) != len(detectors):
        raise DataError(
            f"whitened_signals: {len(psds)} spectra for {len(detectors)} detectors "
            f"({', '.join(d.name for d in detectors)}); give one for each, in the same order."
        )
    window = _Window(sample_rate, duration, merger, len(parameters))
    filters = [whitening_filter(psd, sample_rate, band) for psd in psds]
    scale = sample_rate * np.stack([window.response(taps) for taps in filters])
    low_frequency = band[0] or 20.0
    return window.series(parameters, detectors, gmst, low_frequency, scale, np.float32)


def rescale_to_snr(
    parameters: Parameters,
    snr: Float64[np.ndarray, "n detectors"],
    target: Float64[np.ndarray, " n"] | float,
) -> Parameters:
    """The same binaries at the distance at which their network signal-to-noise ratio is `target`.

    Args:
        parameters: the binaries.
        snr: their optimal signal-to-noise ratio in each detector, now.
        target: the root of the sum of squares over the detectors, then.

    >>> from etude.systems.gravitational_waves.population import Population
    >>> near = Population().draw(np.random.default_rng(0), 1)
    >>> far = rescale_to_snr(near, np.array([[12.0, 16.0]]), 10.0)
    >>> round(float(far.distance[0] / near.distance[0]), 3)
    2.0
    """
    return parameters.at(parameters.distance * np.sqrt(np.sum(snr**2, axis=1)) / target)


class _Window:
    """A stretch of time with padding before it, and its Fourier frequencies."""

    def __init__(self, sample_rate: float, duration: float, merger: np.ndarray | float, n: int):
        self.merger = np.broadcast_to(np.asarray(merger, np.float64), (n,))
        if not np.all((self.merger > 0) & (self.merger < duration)):
            raise DataError(
                f"injections: merger={merger} s in a window of duration={duration:g} s; expected "
                "0 < merger < duration, in seconds after the start of the window."
            )
        self.sample_rate = sample_rate
        self.samples = round(duration * sample_rate)
        padding = round(_PADDING * sample_rate)
        self.length = fft.next_fast_len(self.samples + padding, real=True)
        self.padding = (self.length - self.samples) / sample_rate
        self.frequencies = fft.rfftfreq(self.length, 1 / sample_rate)

    def response(self, taps: np.ndarray) -> np.ndarray:
        """The frequency response of a symmetric filter."""
        # Folded, as the response at the frequencies of a shorter window folds time.
        middle = len(taps) // 2
        folded = np.zeros(self.length)
        np.add.at(folded, np.arange(-middle, middle + 1) % self.length, taps)
        return fft.rfft(folded).real

    def series(
        self, parameters, detectors, gmst, low_frequency, scale, dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        """Strain times `scale` [detectors, frequencies] over time, and its norm without fading."""
        gmst = np.broadcast_to(np.asarray(gmst, np.float64), (len(parameters),))
        out = np.empty((len(parameters), self.samples, len(detectors)), dtype)
        norms = np.empty((len(parameters), len(detectors)))

        def fill(start: int) -> None:
            part = slice(start, start + _BATCH)
            binaries, merger = parameters[part], self.padding + self.merger[part, None]
            wave = amplitude_and_phase(binaries, self.frequencies, low_frequency)
            # What arrives before the padding must not come in again at the end of the window.
            fade = np.clip((wave.time + merger) / self.padding, 0, 1)
            fade *= fade * (3 - 2 * fade)
            for i, detector in enumerate(detectors):
                felt, delay = _felt(binaries, detector, gmst[part])
                amplitude = wave.amplitude * np.abs(felt)[:, None] * scale[i]
                # Parseval's theorem for real values: every frequency counts twice.
                norms[part, i] = np.linalg.norm(amplitude, axis=1) * np.sqrt(2 / self.length)
                turned = wave.phase + np.angle(felt)[:, None]
                turned -= 2 * np.pi * self.frequencies * (merger + delay[:, None])
                spectrum = np.empty(turned.shape, np.complex128)
                spectrum.real, spectrum.imag = np.cos(turned), np.sin(turned)
                spectrum *= amplitude * fade
                out[part, :, i] = fft.irfft(spectrum, self.length)[:, -self.samples :]

        starts = range(0, len(parameters), _BATCH)
        for start in starts[:1]:  # alone, so that the model is compiled once
            fill(start)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, starts[1:]))
        return out, norms


def _felt(
    binaries: Parameters, detector: Detector, gmst: np.ndarray
) -> tuple[Complex128[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """What a detector feels of a wave of unit amplitude along the axis, and its delay."""
    place = (binaries.right_ascension, binaries.declination)
    plus, cross = detector.antenna_pattern(*place, binaries.polarization, gmst)
    cos = np.cos(binaries.inclination)
    return plus * (1 + cos**2) / 2 - 1j * cross * cos, detector.delay(*place, gmst)
