"""Spectra of noise, and whitening by them. All in float64: strain squared is below float32.

Whitened means divided by `sqrt(psd * sample_rate / 2)`: white Gaussian noise of the whole band
then has variance 1 per sample, and the squared optimal signal-to-noise ratio of a signal in one
detector is the sum of the squares of its whitened samples.

>>> rng = np.random.default_rng(0)
>>> strain = 1e-21 * rng.normal(size=32 * 512)
>>> spectrum = estimate_psd(strain, 512.0)
>>> white = whiten(strain, 512.0, spectrum, band=(0.0, 256.0))
>>> white.shape, round(float(white.var()), 1)
((14336,), 1.0)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy import signal
from scipy.signal import windows

import etude as et

#: Frequencies in Hz -> one-sided power spectral density in 1/Hz, infinite where nothing is known:
#: a `NoiseCurve`, its `psd`, or a measured `Spectrum`.
PowerSpectrum = Callable[[np.ndarray], np.ndarray]

#: Hz over which the whitening filter falls from 1 to 0, outside the band.
ROLL_OFF = 2.0


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A measured one-sided power spectral density; called, it interpolates linearly.

    Attributes:
        frequencies: Hz, increasing.
        psd: power spectral density, 1/Hz.

    >>> Spectrum(np.array([0.0, 1.0]), np.array([2.0, 4.0]))(np.array([0.5, 1.5]))
    array([ 3., inf])
    """

    frequencies: Float64[np.ndarray, " bins"]
    psd: Float64[np.ndarray, " bins"]

    def __call__(self, frequencies: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        return np.interp(frequencies, self.frequencies, self.psd, left=np.inf, right=np.inf)


def estimate_psd(
    values: Float[np.ndarray, " samples"],
    sample_rate: float,
    segment: float = 4.0,
    average: Literal["median", "mean"] = "median",
) -> Spectrum:
    """Welch's estimate: Hann windows of `segment` seconds that overlap by half.

    The median over the segments, corrected for its bias, forgets short signals and glitches.
    P. Welch, IEEE Trans. Audio Electroacoust. 15 (1967) 70; B. Allen et al., Phys. Rev. D 85
    (2012) 122006, appendix B, for the median.

    Raises:
        DataError: no float64, not finite, or less than two segments long: a stretch divided by
            its own periodogram is white whatever it holds.

    >>> estimate_psd(np.random.default_rng(0).normal(size=4096), 512.0, segment=1.0).psd.shape
    (257,)
    """
    _check(values, "estimate_psd")
    length = round(segment * sample_rate)
    if len(values) < 2 * length:
        raise et.DataError(
            f"estimate_psd: {len(values) / sample_rate:g} s of strain for segments of {segment:g} "
            f"s; expected at least {2 * segment:g} s. Give more strain or a shorter segment."
        )
    frequencies, psd = signal.welch(values, sample_rate, nperseg=length, average=average)
    return Spectrum(frequencies, psd)


def whitening_filter(
    psd: PowerSpectrum,
    sample_rate: float,
    band: tuple[float, float] = (20.0, 1024.0),
    filter_seconds: float = 4.0,
) -> Float64[np.ndarray, " taps"]:
    """The symmetric (zero-phase) filter that whitens, of `filter_seconds`, an odd number of taps.

    Its response is 1/sqrt(psd * sample_rate / 2) inside the band, and falls to zero within
    `ROLL_OFF` outside of it; a band that ends at the Nyquist frequency has no upper edge. The
    filter is cut to length by a Hann window ("inverse spectrum truncation"), which smooths the
    response over 2 / filter_seconds Hz.

    Args:
        psd: spectrum of the noise, see `PowerSpectrum`; where it is infinite the response is 0.
        sample_rate: Hz.
        band: Hz.
        filter_seconds: length of the filter; the shorter, the less of a strain is lost, and the
            less of a spectral line is removed.

    Raises:
        DataError: a band beyond the Nyquist frequency, or a spectrum that is zero in the band.

    >>> flat = Spectrum(np.array([0.0, 256.0]), np.full(2, 2 / 512))
    >>> taps = whitening_filter(flat, 512.0, band=(0.0, 256.0), filter_seconds=1 / 128)
    >>> np.abs(taps.round(9))
    array([0., 0., 1., 0., 0.])
    """
    low, high = band
    if not 0 <= low < high <= sample_rate / 2:
        raise et.DataError(
            f"whitening: band={band} Hz at {sample_rate:g} Hz; expected 0 <= low < high <= "
            f"{sample_rate / 2:g}, the Nyquist frequency. Lower the band or raise the sample rate."
        )

    def response(frequencies: np.ndarray) -> np.ndarray:
        window = passband(frequencies, sample_rate, band)
        power = np.asarray(psd(frequencies))
        dead = frequencies[(window > 0) & ~(power > 0)]
        if len(dead):
            raise et.DataError(
                f"whitening: the power spectral density is not positive at {dead[0]:g} Hz, inside "
                "the band. Look for a dead channel, or estimate the spectrum from the strain."
            )
        asd = np.sqrt(np.where(window > 0, power, np.inf) * (sample_rate / 2))
        return window / asd

    return symmetric_filter(response, sample_rate, filter_seconds)


def passband(
    frequencies: Float64[np.ndarray, " n"], sample_rate: float, band: tuple[float, float]
) -> Float64[np.ndarray, " n"]:
    """1 inside the band, falling to 0 within `ROLL_OFF` outside of it.

    >>> passband(np.array([10.0, 19.0, 20.0]), 2048.0, (20.0, 1024.0)).round(3)
    array([0. , 0.5, 1. ])
    """
    low, high = band
    window = np.ones_like(frequencies)
    if low > 0:
        window *= _rise((frequencies - low) / ROLL_OFF + 1)
    if high < sample_rate / 2:
        window *= _rise((high - frequencies) / ROLL_OFF + 1)
    return window


def symmetric_filter(
    response: Callable[[np.ndarray], np.ndarray], sample_rate: float, seconds: float
) -> Float64[np.ndarray, " taps"]:
    """The zero-phase filter of a real frequency response, cut to length by a Hann window.

    >>> np.abs(symmetric_filter(np.ones_like, 64.0, seconds=1 / 16).round(9))
    array([0., 0., 1., 0., 0.])
    """
    half, samples = filter_size(sample_rate, seconds)
    impulse = np.fft.irfft(response(np.fft.rfftfreq(samples, 1 / sample_rate)), samples)
    return np.roll(impulse, half)[: 2 * half + 1] * windows.hann(2 * half + 3)[1:-1]


def filter_size(sample_rate: float, seconds: float) -> tuple[int, int]:
    """Taps on either side of the middle one, and samples of the transform that makes them.

    >>> filter_size(2048.0, 4.0)
    (4096, 65536)
    """
    half = round(seconds * sample_rate / 2)
    return half, 1 << (8 * half).bit_length()


def whiten(
    values: Float[np.ndarray, "*batch samples"],
    sample_rate: float,
    psd: PowerSpectrum,
    band: tuple[float, float] = (20.0, 1024.0),
    filter_seconds: float = 4.0,
) -> Float64[np.ndarray, "*batch shorter"]:
    """Whitens strain, and drops what its ends have spoiled.

    Only samples for which the whole filter lies inside the strain are returned: the result is
    `filter_seconds / 2` shorter at either end, and free of transients.

    Args:
        values: strain of one detector, float64, time last.
        sample_rate: Hz.
        psd: spectrum of the noise, see `PowerSpectrum`.
        band: Hz, see `whitening_filter`.
        filter_seconds: length of the filter.

    Raises:
        DataError: no float64, not finite, shorter than the filter, or as `whitening_filter`.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> whiten(np.zeros(8 * 2048), 2048.0, noise_curve("A+")).shape[0] / 2048
    4.0
    """
    _check(values, "whiten")
    taps = whitening_filter(psd, sample_rate, band, filter_seconds)
    if values.shape[-1] < len(taps):
        raise et.DataError(
            f"whiten: {values.shape[-1] / sample_rate:g} s of strain; expected more than the "
            f"{filter_seconds:g} s of the filter. Give more strain or a smaller filter_seconds."
        )
    return _filtered(values, taps)


def optimal_snr(
    values: Float[np.ndarray, "*batch samples"],
    sample_rate: float,
    psd: PowerSpectrum,
    band: tuple[float, float] = (20.0, 1024.0),
) -> Float64[np.ndarray, "*batch"]:
    """The signal-to-noise ratio a matched filter expects of a signal, `sqrt(4 ∫|h|²/S df)`.

    The integral over positive frequencies stands for both signs, so the two bins that are their
    own mirror image, 0 Hz and the Nyquist frequency, count half.

    Args:
        values: strain of the signal alone, float64, that begins and ends near zero.
        sample_rate: Hz.
        psd: spectrum of the noise, see `PowerSpectrum`.
        band: Hz, the limits of the integral.

    >>> flat = Spectrum(np.array([0.0, 256.0]), np.full(2, 2 / 512))
    >>> click = np.where(np.arange(512) == 256, 3.0, 0.0)
    >>> round(float(optimal_snr(click, 512.0, flat, band=(0.0, 256.0))), 1)
    3.0
    """
    _check(values, "optimal_snr")
    samples = values.shape[-1]
    frequencies = np.fft.rfftfreq(samples, 1 / sample_rate)
    inside = (frequencies >= band[0]) & (frequencies <= band[1])
    amplitudes = np.fft.rfft(values)[..., inside] / sample_rate
    asd = np.sqrt(psd(frequencies[inside]))
    own_mirror = (frequencies == 0) | (frequencies == sample_rate / 2)
    weight = np.where(own_mirror, 2.0, 4.0)[inside] * sample_rate / samples
    squared = np.sum(weight * np.abs(amplitudes / asd) ** 2, axis=-1)
    return np.asarray(np.sqrt(squared))


def _filtered(values: np.ndarray, taps: np.ndarray) -> np.ndarray:
    kernel = taps.reshape((1,) * (values.ndim - 1) + (-1,))
    return signal.oaconvolve(values, kernel, mode="valid", axes=-1)


def _rise(x: np.ndarray) -> np.ndarray:
    """A raised cosine: 0 below 0, 1 above 1."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0, 1))


def _check(values: np.ndarray, who: str) -> None:
    if values.dtype != np.float64:
        raise et.DataError(
            f"{who}: got strain in {values.dtype}, expected float64: strain is 1e-21, and its "
            "square below the smallest float32 (1e-38). Read and whiten it in float64, and go to "
            "float32 after whitening."
        )
    if not np.all(np.isfinite(values)):
        raise et.DataError(
            f"{who}: {np.count_nonzero(~np.isfinite(values))} of {values.size} samples are not "
            "finite. Crop to a stretch without gaps."
        )
