"""The continuous wavelet transform with Morlet's wavelet.

>>> rate = 1000.0
>>> tone = 3 * np.sin(2 * np.pi * 100 * np.arange(1000) / rate)
>>> found = cwt(tone, rate, low=25.0, high=400.0, rows=5)
>>> [round(float(f)) for f in found.frequencies]
[25, 50, 100, 200, 400]
>>> round(float(abs(found.values[2, 500])), 2)
3.0
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import etude as et
from etude.systems.machinery.signals.spectrograms import TimeFrequency
from etude.systems.machinery.signals.values import (
    Signal,
    check_band,
    fast_length,
    signal_of,
    weighted,
)

_REACH = 4.0  # standard deviations of a wavelet after which it is nothing


def cwt(
    signal: Signal,
    sample_rate: float,
    *,
    low: float,
    high: float | None = None,
    rows: int = 64,
    cycles: float = 6.0,
) -> TimeFrequency:
    """Complex wavelet coefficients at frequencies that are equally spaced in the logarithm.

    The wavelet of frequency f is a complex tone under a Gaussian of standard deviation
    cycles / (2 pi f), scaled so that a tone of amplitude A has the magnitude A in its row.
    Computed by FFT, with zeros around the signal. C. Torrence and G. P. Compo, Bull. Am. Meteorol.
    Soc. 79 (1998) 61.

    Args:
        signal: real, time last.
        sample_rate: Hz.
        low: Hz, frequency of the first row.
        high: Hz, of the last row; None: half the sample rate.
        rows: number of frequencies.
        cycles: angular frequency of Morlet's wavelet; more resolves frequency better, and time
            worse. Below 5 it is no wavelet: it does not average to zero.

    Returns:
        Complex values [*batch, rows, samples].

    Raises:
        DataError: a row past half the sample rate, fewer than 2 rows, fewer than 5 cycles, or a
            signal shorter than the central part (two standard deviations) of the longest wavelet.
    """
    top = sample_rate / 2 if high is None else high
    check_band("cwt", low, top, sample_rate)
    if low == 0:
        raise et.DataError("cwt: got low=0, expected more than 0 Hz: the axis is logarithmic.")
    if rows < 2 or cycles < 5:
        raise et.DataError(
            f"cwt: got rows={rows} and cycles={cycles:g}, expected 2 or more and 5 or more."
        )
    longest = cycles / (2 * np.pi * low) * sample_rate
    values = signal_of("cwt", signal, sample_rate, int(np.ceil(2 * longest)))
    frequencies = np.geomspace(low, top, rows)
    samples = values.shape[-1]
    length = fast_length(samples + int(np.ceil(_REACH * longest)))
    found = _cwt(values, tuple(frequencies / sample_rate), cycles, length)
    return TimeFrequency(found, frequencies, np.arange(samples) / sample_rate)


def scalogram(
    signal: Signal,
    sample_rate: float,
    *,
    low: float,
    high: float | None = None,
    rows: int = 64,
    cycles: float = 6.0,
    hop: int = 128,
) -> TimeFrequency:
    """The squared magnitude of `cwt`, averaged over stretches of `hop` samples.

    A last stretch that is not whole is left out. Arguments and errors as `cwt`.

    >>> scalogram(np.zeros(1000, np.float32), 1000.0, low=25.0, rows=8, hop=100).values.shape
    (8, 10)
    """
    if not 1 <= hop <= signal.shape[-1]:
        raise et.DataError(
            f"scalogram: got hop={hop}, expected 1 to {signal.shape[-1]}, the number of samples."
        )
    found = cwt(signal, sample_rate, low=low, high=high, rows=rows, cycles=cycles)
    count = signal.shape[-1] // hop
    power = jnp.square(found.values.real) + jnp.square(found.values.imag)
    blocks = power[..., : count * hop].reshape(*power.shape[:-1], count, hop)
    times = (np.arange(count) + 0.5) * hop / sample_rate
    return TimeFrequency(jnp.mean(blocks, axis=-1), found.frequencies, times)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _cwt(values: Array, frequencies: tuple[float, ...], cycles: float, length: int) -> Array:
    bins = np.fft.rfftfreq(length)
    scaled = bins / np.asarray(frequencies)[:, None]
    response = 2 * np.exp(-0.5 * (cycles * (scaled - 1)) ** 2)
    # 0 and the Nyquist frequency have no mirror image.
    response[:, [0, -1] if length % 2 == 0 else [0]] /= 2
    half = weighted(jnp.fft.rfft(values, length)[..., None, :], response)
    return jnp.fft.ifft(half, length)[..., : values.shape[-1]]
