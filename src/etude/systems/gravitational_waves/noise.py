"""Gaussian noise with the spectrum of a detector.

>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> noise = coloured_noise(np.random.default_rng(0), noise_curve("aLIGO-O4"), 16.0, 2048.0)
>>> noise.shape, noise.dtype
((32768,), dtype('float64'))
"""

import numpy as np
from jaxtyping import Float64
from scipy import signal

import etude as et
from etude.systems.gravitational_waves.spectra import PowerSpectrum, symmetric_filter

#: Seconds of the colouring filter: lines narrower than 2 / 8 Hz are widened to that.
COLOURING_SECONDS = 8.0


def coloured_noise(
    rng: np.random.Generator, psd: PowerSpectrum, duration: float, sample_rate: float
) -> Float64[np.ndarray, " samples"]:
    """Stationary Gaussian noise of any length, with a given power spectral density.

    White noise passes a finite symmetric filter. Noise made by one inverse Fourier transform is
    periodic, its end running on into its beginning; this is not.

    Args:
        rng: generator of the noise; streams that must be independent take spawned generators.
        psd: one-sided spectrum, see `PowerSpectrum`; no noise is where it is infinite, which is
            where a curve knows nothing.
        duration: length of the noise, seconds.
        sample_rate: Hz.

    Raises:
        DataError: less than one sample, or no noise at all below the Nyquist frequency.

    >>> flat = lambda f: np.full_like(f, 2 / 64)
    >>> round(float(coloured_noise(np.random.default_rng(0), flat, 100.0, 64.0).std()), 1)
    1.0
    """
    samples = round(duration * sample_rate)
    if samples < 1:
        raise et.DataError(
            f"coloured_noise: duration={duration:g} s at {sample_rate:g} Hz; expected at least one "
            "sample."
        )

    def response(frequencies: np.ndarray) -> np.ndarray:
        power = np.asarray(psd(frequencies))
        return np.sqrt(np.where(np.isfinite(power), power, 0) * (sample_rate / 2))

    taps = symmetric_filter(response, sample_rate, COLOURING_SECONDS)
    if not np.any(taps):
        raise et.DataError(
            f"coloured_noise: the curve says nothing below {sample_rate / 2:g} Hz; expected "
            "one that covers the band. Raise the sample rate or take another curve."
        )
    white = rng.standard_normal(samples + len(taps) - 1)
    return signal.oaconvolve(white, taps, mode="valid")
