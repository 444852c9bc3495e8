"""Short-time Fourier transforms, with frequencies on a linear or on a logarithmic axis.

>>> rate = 1000.0
>>> tone = np.sin(2 * np.pi * 125 * np.arange(2000) / rate)
>>> found = spectrogram(tone, rate, window=200, hop=100)
>>> found.values.shape, float(found.frequencies[found.values[:, 0].argmax()])
((101, 19), 125.0)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact
from scipy.signal import windows

import etude as et
from etude.systems.machinery.signals.values import Signal, check_band, exact_product, signal_of


class TimeFrequency(NamedTuple):
    """A signal over frequency and time.

    Attributes:
        values: the transform; a power, unless the function says otherwise.
        frequencies: Hz, of the rows.
        times: seconds from the first sample, the middle of what a column was computed from.
    """

    values: Inexact[Array, "*batch frequencies times"]
    frequencies: Float[np.ndarray, " frequencies"]
    times: Float[np.ndarray, " times"]


def stft(signal: Signal, sample_rate: float, *, window: int = 256, hop: int = 128) -> TimeFrequency:
    """Short-time Fourier transform with a Hann window, of frames that lie inside the signal.

    Scaled so that a tone of amplitude A in the middle of a bin has the magnitude A / 2.

    Args:
        signal: real, time last.
        sample_rate: Hz.
        window: samples in a frame.
        hop: samples from one frame to the next.

    Raises:
        DataError: a signal shorter than the window, or a window or hop below 1.

    >>> stft(np.zeros(1024, np.float32), 1000.0).values.shape
    (129, 7)
    """
    _check_frames("stft", window, hop)
    values = signal_of("stft", signal, sample_rate, window)
    frequencies = np.fft.rfftfreq(window, 1 / sample_rate)
    count = 1 + (values.shape[-1] - window) // hop
    times = (np.arange(count) * hop + window / 2) / sample_rate
    return TimeFrequency(_stft(values, window, hop), frequencies, times)


def spectrogram(
    signal: Signal, sample_rate: float, *, window: int = 256, hop: int = 128
) -> TimeFrequency:
    """Power spectral density of each frame, one-sided, in squared units of the signal per Hz.

    As `scipy.signal.spectrogram` without detrending; arguments and errors as `stft`.

    >>> spectrogram(np.zeros((3, 1024), np.float32), 1000.0).values.shape
    (3, 129, 7)
    """
    found = stft(signal, sample_rate, window=window, hop=hop)
    taper = windows.hann(window, sym=False)
    scale = np.full(len(found.frequencies), 2 * taper.sum() ** 2 / (taper**2).sum() / sample_rate)
    scale[[0, -1] if window % 2 == 0 else [0]] /= 2  # they have no mirror image
    power = jnp.square(found.values.real) + jnp.square(found.values.imag)
    return found._replace(values=power * scale.astype(power.dtype)[:, None])


def log_spectrogram(
    signal: Signal,
    sample_rate: float,
    *,
    low: float,
    high: float | None = None,
    bands: int = 64,
    window: int = 256,
    hop: int = 128,
) -> TimeFrequency:
    """A spectrogram whose rows are equally spaced in the logarithm of the frequency.

    A row is the mean of the power spectral density under a triangle that reaches to the
    neighbouring rows, and at least one bin to either side.

    Args:
        signal: real, time last.
        sample_rate: Hz.
        low: Hz, frequency of the first row.
        high: Hz, of the last row; None: half the sample rate.
        bands: number of rows.
        window: samples in a frame.
        hop: samples from one frame to the next.

    Raises:
        DataError: a band past half the sample rate, `low` below the width of a bin, or as `stft`.

    >>> log_spectrogram(np.zeros(2048, np.float32), 1000.0, low=10.0, bands=40).values.shape
    (40, 15)
    """
    top = sample_rate / 2 if high is None else high
    check_band("log_spectrogram", low, top, sample_rate)
    width = sample_rate / window
    if low < width:
        raise et.DataError(
            f"log_spectrogram: got low={low:g} Hz with bins of {width:g} Hz, expected at least one "
            f"bin. Raise it, or take a window of {int(np.ceil(sample_rate / low))} samples or more."
        )
    if bands < 2:
        raise et.DataError(f"log_spectrogram: got bands={bands}, expected 2 or more.")
    linear = spectrogram(signal, sample_rate, window=window, hop=hop)
    centres = np.geomspace(low, top, bands)
    weights = _triangles(linear.frequencies, centres, width)
    rows = exact_product(jnp.asarray(weights, linear.values.dtype), linear.values)
    return TimeFrequency(rows, centres, linear.times)


def decibels(power: Float[Array, "..."], dynamic_range: float = 80.0) -> Float[Array, "..."]:
    """10 log10 of a power relative to its largest value, no lower than `-dynamic_range` dB.

    The largest value is taken over the last two axes, so each spectrogram has its own; one that
    is zero throughout is at the floor.

    >>> decibels(jnp.array([[1.0, 0.1, 0.0]]))
    Array([[  0., -10., -80.]], dtype=float32)
    """
    if dynamic_range <= 0:
        raise et.DataError(f"decibels: got dynamic_range={dynamic_range}, expected more than 0.")
    floor = 10 ** (-dynamic_range / 10)
    peak = jnp.max(power, axis=(-2, -1), keepdims=True)
    relative = jnp.where(peak > 0, power / jnp.where(peak > 0, peak, 1), 0)
    return 10 * jnp.log10(jnp.maximum(relative, floor))


@partial(jax.jit, static_argnums=(1, 2))
def _stft(values: Array, window: int, hop: int) -> Array:
    taper = windows.hann(window, sym=False)
    taper = jnp.asarray(taper / taper.sum(), values.dtype)
    starts = np.arange(0, values.shape[-1] - window + 1, hop)
    frames = values[..., starts[:, None] + np.arange(window)]
    return jnp.swapaxes(jnp.fft.rfft(frames * taper), -1, -2)


def _check_frames(owner: str, window: int, hop: int) -> None:
    for name, value in (("window", window), ("hop", hop)):
        if value < 1:
            raise et.DataError(f"{owner}: got {name}={value}, expected 1 sample or more.")


def _triangles(frequencies: np.ndarray, centres: np.ndarray, least: float) -> np.ndarray:
    """Weights [rows, bins] that add up to 1 in each row."""
    step = centres[1] / centres[0]
    below = centres - np.maximum(centres - centres / step, least)
    above = centres + np.maximum(centres * step - centres, least)
    rising = (frequencies - below[:, None]) / (centres - below)[:, None]
    falling = (above[:, None] - frequencies) / (above - centres)[:, None]
    weights = np.clip(np.minimum(rising, falling), 0, None)
    return weights / weights.sum(1, keepdims=True)
