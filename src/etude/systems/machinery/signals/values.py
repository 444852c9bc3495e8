"""What a signal may be: real numbers, time last, any axes before it, of NumPy or JAX."""

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact
from scipy.fft import next_fast_len

import etude as et
from etude.systems.machinery.quantities import check_positive

Signal: TypeAlias = Float[Array, "*batch samples"] | Float[np.ndarray, "*batch samples"]


def signal_of(owner: str, signal: Signal, sample_rate: float, least: int = 2) -> Array:
    """The signal on the device, in at least float32.

    Raises DataError for a sample rate that is not above 0, and for fewer than `least` samples.
    """
    check_positive(owner, sample_rate=sample_rate)
    if signal.shape[-1] < least:
        raise et.DataError(
            f"{owner}: got {signal.shape[-1]} samples, expected at least {least}. Give a longer "
            "signal; time is the last axis."
        )
    return et.widened(jnp.asarray(signal))


def check_band(owner: str, low: float, high: float, sample_rate: float) -> None:
    """Raises DataError unless 0 <= low < high <= sample_rate / 2."""
    if not 0 <= low < high <= sample_rate / 2:
        raise et.DataError(
            f"{owner}: got a band of {low:g} to {high:g} Hz, expected 0 <= low < high <= "
            f"{sample_rate / 2:g} Hz, half the sample rate."
        )


def weighted(spectrum: Complex[Array, "..."], weights: Any) -> Complex[Array, "..."]:
    """A complex array times real or complex weights, in its own precision."""
    return spectrum * jnp.asarray(weights).astype(spectrum.dtype)


def exact_product(a: Inexact[Array, "..."], b: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """The matrix product in full precision, which accelerators round to 10 bits by default."""
    return jnp.matmul(a, b, precision="highest")


def fast_length(samples: int, multiple_of: int = 1) -> int:
    """The next length whose Fourier transform is quick: prime factors of 2, 3 and 5 only.

    A length with a large prime factor takes ten times as long.

    >>> fast_length(292_968)
    294912
    """
    length: int = next_fast_len(-(-samples // multiple_of), real=True)  # pyright: ignore
    return multiple_of * length


def unit_free(signals: Float[Array, "*batch samples"]) -> Float[Array, "*batch samples"]:
    """Each signal times a power of two, so that its largest sample is near 1, to the same bits.

    The power of an envelope is of the fourth order: in single precision it leaves the numbers
    that there are for signals of a billionth, or of a billion.

    >>> unit_free(jnp.array([[3.0, -6.0], [0.0, 0.0]])).tolist()
    [[0.375, -0.75], [0.0, 0.0]]
    """
    largest = jnp.max(jnp.abs(signals), axis=-1, keepdims=True)
    _, exponent = jnp.frexp(largest)
    # In two steps: a single factor could itself be too large a number.
    half = -exponent // 2
    return jnp.ldexp(jnp.ldexp(signals, half), -exponent - half)
