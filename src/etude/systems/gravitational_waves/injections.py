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
from typing import cast

import numpy as np
from jaxtyping import Complex128, Float32, Float64
from scipy import fft

import etude as et
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
        duration: length of the window, seconds.
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
    felt = responses_and_delays(parameters, detectors, gmst)
    strain, _ = window.series(parameters, *felt, low_frequency, scale, np.float64)
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
        duration: length of the window, seconds.
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
        raise et.DataError(
            f"whitened_signals: {len(psds)} spectra for {len(detectors)} detectors "
            f"({', '.join(d.name for d in detectors)}); give one for each, in the same order."
        )
    window = _Window(sample_rate, duration, merger, len(parameters))
    scale = sample_rate * np.stack([window.response(psd, band) for psd in psds])
    felt = responses_and_delays(parameters, detectors, gmst)
    return window.series(parameters, *felt, band[0] or 20.0, scale, np.float32)


def whitened_quadratures(
    parameters: Parameters,
    psds: Sequence[PowerSpectrum],
    sample_rate: float = 2048.0,
    duration: float = 2.0,
    merger: float = 1.5,
    band: tuple[float, float] = (20.0, 1024.0),
) -> tuple[Float32[np.ndarray, "n samples quadratures psds"], Float64[np.ndarray, "n psds"]]:
    """The whitened waves as a detector overhead sees them face-on, and a quarter cycle on.

    A detector whose complex response is a + ib sees a times the first plus b times the second.

    Args:
        parameters: the binaries; what concerns the sky and the orientation plays no part.
        psds: power spectral densities of noise: frequencies in Hz to 1/Hz.
        sample_rate: Hz.
        duration: length of the window, seconds.
        merger: seconds after the start of the window.
        band: Hz, see `whitened_signals`.

    Returns:
        The two quadratures for each spectrum, and their optimal signal-to-noise ratio.

    Raises:
        DataError: see `whitened_signals`.
        ValueError: see `polarizations`.
    """
    window = _Window(sample_rate, duration, merger, len(parameters))
    scale = sample_rate * np.stack([window.response(psd, band) for psd in psds])
    responses = np.broadcast_to(np.repeat([1, 1j], len(psds)), (len(parameters), 2 * len(psds)))
    delays, scale = np.zeros(responses.shape), np.concatenate([scale, scale])
    waves, snr = window.series(parameters, responses, delays, band[0] or 20.0, scale, np.float32)
    return waves.reshape(*waves.shape[:2], 2, len(psds)), snr[:, : len(psds)]


def rescale_to_snr(
    parameters: Parameters,
    snr: Float64[np.ndarray, "n detectors"],
    target: Float64[np.ndarray, " n"] | float,
) -> Parameters:
    """The same binaries at the distance at which their network signal-to-noise ratio is `target`.

    Args:
        parameters: the binaries.
        snr: optimal signal-to-noise ratio in each detector, now.
        target: network signal-to-noise ratio then, the root of the sum of squares.

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
            raise et.DataError(
                f"injections: merger={merger} s in a window of duration={duration:g} s; expected "
                "0 < merger < duration, in seconds after the start of the window."
            )
        self.sample_rate = sample_rate
        self.samples = round(duration * sample_rate)
        least = self.samples + round(_PADDING * sample_rate)
        self.length = cast(int, fft.next_fast_len(least, real=True))
        self.padding = (self.length - self.samples) / sample_rate
        self.frequencies = np.fft.rfftfreq(self.length, 1 / sample_rate)
        # Parseval's theorem for real values: a frequency stands for both signs, but 0 Hz and the
        # Nyquist frequency are their own mirror images.
        own_mirror = (self.frequencies == 0) | (self.frequencies == sample_rate / 2)
        self.weight = np.sqrt(np.where(own_mirror, 1.0, 2.0) / self.length)

    def response(self, psd: PowerSpectrum, band: tuple[float, float]) -> np.ndarray:
        """The response of the filter of `whiten`, at the frequencies of the window."""
        return folded_response(whitening_filter(psd, self.sample_rate, band), self.length)

    def series(
        self, parameters, responses, delays, low_frequency, scale, dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        """Strain in channels [n, samples, channels], and its norm [n, channels] without fading.

        The channels have complex responses and delays [n, channels], and are filtered by `scale`
        [channels, frequencies].
        """
        out = np.empty((len(parameters), self.samples, len(scale)), dtype)
        norms = np.empty((len(parameters), len(scale)))

        def fill(start: int) -> None:
            part = slice(start, start + _BATCH)
            merger = self.padding + self.merger[part, None]
            wave = amplitude_and_phase(parameters[part], self.frequencies, low_frequency)
            # What arrives before the padding must not come in again at the end of the window.
            fade = np.clip((wave.time + merger) / self.padding, 0, 1)
            fade *= fade * (3 - 2 * fade)
            for i, (response, delay) in enumerate(
                zip(responses[part].T, delays[part].T, strict=True)
            ):
                amplitude = wave.amplitude * np.abs(response)[:, None] * scale[i]
                norms[part, i] = np.linalg.norm(amplitude * self.weight, axis=1)
                turned = wave.phase + np.angle(response)[:, None]
                turned -= 2 * np.pi * self.frequencies * (merger + delay[:, None])
                spectrum = np.empty(turned.shape, np.complex128)
                spectrum.real, spectrum.imag = np.cos(turned), np.sin(turned)
                spectrum *= amplitude * fade
                out[part, :, i] = np.asarray(fft.irfft(spectrum, self.length))[:, -self.samples :]

        starts = range(0, len(parameters), _BATCH)
        for start in starts[:1]:  # alone, so that the model is compiled once
            fill(start)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, starts[1:]))
        return out, norms


def folded_response(taps: Float64[np.ndarray, " taps"], length: int) -> np.ndarray:
    """The frequency response of a symmetric filter to what repeats after `length` samples.

    >>> folded_response(np.array([0.25, 0.5, 0.25]), 4).tolist()
    [1.0, 0.5, 0.0]
    """
    middle = len(taps) // 2
    folded = np.zeros(length)
    np.add.at(folded, np.arange(-middle, middle + 1) % length, taps)
    return np.fft.rfft(folded).real


def responses_and_delays(
    parameters: Parameters,
    detectors: Sequence[Detector] = (H1, L1),
    gmst: Float64[np.ndarray, " n"] | float = 0.0,
) -> tuple[Complex128[np.ndarray, "n detectors"], Float64[np.ndarray, "n detectors"]]:
    """What each detector feels of a wave that is 1 seen face-on, and its delay in seconds.

    >>> response, delay = responses_and_delays(Parameters.of(30.0, 20.0, inclination=np.pi / 2))
    >>> bool(np.allclose(response.imag, 0.0))  # edge-on there is no cross
    True
    """
    place = (parameters.right_ascension, parameters.declination)
    cos = np.cos(parameters.inclination)
    responses, delays = [], []
    for detector in detectors:
        plus, cross = detector.antenna_pattern(*place, parameters.polarization, gmst)
        responses.append(plus * (1 + cos**2) / 2 - 1j * cross * cos)
        delays.append(detector.delay(*place, gmst))
    return np.stack(responses, axis=1), np.stack(delays, axis=1)
