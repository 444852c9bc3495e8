"""The analytic signal, its envelope, and the spectrum of the squared envelope.

>>> rate, time = 2000.0, np.arange(4000) / 2000.0
>>> ringing = (1 + 0.5 * np.cos(2 * np.pi * 30 * time)) * np.cos(2 * np.pi * 600 * time)
>>> found = squared_envelope_spectrum(ringing, rate)
>>> float(found.frequencies[found.amplitudes.argmax()])
30.0
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Complex, Float

from etude.systems.machinery.quantities import Quantity
from etude.systems.machinery.signals.values import (
    Signal,
    check_band,
    fast_length,
    signal_of,
    weighted,
)


class Spectrum(NamedTuple):
    """Amplitudes over frequency.

    Attributes:
        frequencies: Hz, from 0 on, equally spaced.
        amplitudes: of the cosines that the spectrum is made of.
    """

    frequencies: Float[np.ndarray, " bins"]
    amplitudes: Float[Array, "*batch bins"]


def analytic_signal(signal: Signal) -> Complex[Array, "*batch samples"]:
    """The signal and, as its imaginary part, its Hilbert transform; as `scipy.signal.hilbert`.

    >>> z = analytic_signal(np.cos(2 * np.pi * np.arange(8) / 8))
    >>> np.abs(z).round(5).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    return _analytic(signal_of("analytic_signal", signal, 1.0), signal.shape[-1])


def envelope(signal: Signal) -> Float[Array, "*batch samples"]:
    """The magnitude of the analytic signal.

    >>> envelope(np.cos(2 * np.pi * np.arange(8) / 8)).shape
    (8,)
    """
    return jnp.abs(analytic_signal(signal))


def squared_envelope_spectrum(
    signal: Signal, sample_rate: float, band: tuple[Quantity, Quantity] | None = None
) -> Spectrum:
    """Amplitude spectrum of the squared envelope without its mean: where impulses repeat.

    The signal loses its mean, and, with a band, everything outside of it. It is followed by zeros
    up to a length whose transform is quick, so that bins may be narrower than 1 / duration.
    J. Antoni, Mech. Syst. Signal Process. 21 (2007) 597.

    Args:
        signal: real, time last.
        sample_rate: Hz.
        band: lowest and highest frequency in Hz, numbers or one for each signal of the batch, as
            `Kurtogram.band`; None: all.

    Raises:
        DataError: a band that is empty or goes past half the sample rate.
    """
    values = signal_of("squared_envelope_spectrum", signal, sample_rate)
    low, high = (0.0, sample_rate / 2) if band is None else band
    if not isinstance(low, Tracer) and not isinstance(high, Tracer):
        for one, other in zip(np.ravel(low), np.ravel(high), strict=True):
            check_band("squared_envelope_spectrum", one, other, sample_rate)
    length = fast_length(values.shape[-1])
    edges = (jnp.asarray(edge / sample_rate, values.dtype)[..., None] for edge in (low, high))
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    return Spectrum(frequencies, _squared_envelope_spectrum(values, *edges, length))


@partial(jax.jit, static_argnums=1)
def _analytic(values: Array, length: int) -> Array:
    half = jnp.fft.rfft(values, length)
    return jnp.fft.ifft(weighted(half, _one_sided(length, values.dtype)), length)[
        ..., : values.shape[-1]
    ]


def _one_sided(length: int, dtype: np.dtype) -> np.ndarray:
    """2 for frequencies above 0, 1 for those that are their own mirror image."""
    weights = np.full(length // 2 + 1, 2, dtype)
    weights[[0, -1] if length % 2 == 0 else [0]] = 1
    return weights


@partial(jax.jit, static_argnums=3)
def _squared_envelope_spectrum(values: Array, low: Array, high: Array, length: int) -> Array:
    samples = values.shape[-1]
    centred = values - jnp.mean(values, axis=-1, keepdims=True)
    bins = np.fft.rfftfreq(length).astype(values.dtype)
    inside = (bins >= low) & (bins <= high)
    half = weighted(jnp.fft.rfft(centred, length), _one_sided(length, values.dtype))
    z = jnp.fft.ifft(jnp.where(inside, half, 0), length)[..., :samples]
    squared = jnp.square(z.real) + jnp.square(z.imag)
    squared = squared - jnp.mean(squared, axis=-1, keepdims=True)
    scale = _one_sided(length, values.dtype) / samples
    return jnp.abs(jnp.fft.rfft(squared, length)) * scale
