"""The fast kurtogram: in which band a signal is most impulsive.

>>> rng = np.random.default_rng(0)
>>> rate, time = 10_000.0, np.arange(20_000) / 10_000.0
>>> ringing = np.exp(-400 * (time % 0.05)) * np.sin(2 * np.pi * 3200 * time)
>>> found = fast_kurtogram(ringing + 0.3 * rng.normal(size=20_000), rate, level=4)
>>> low, high = found.band
>>> bool(low < 3200 < high)
True
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.systems.machinery.signals.values import Signal, fast_length, signal_of, weighted

_EDGE = 6  # samples of an envelope that the ends of the signal spoil
_LEAST = 64  # samples of an envelope below which its kurtosis says nothing


class Kurtogram(NamedTuple):
    """The kurtosis of the envelope in bands that divide the spectrum ever more finely.

    Attributes:
        kurtosis: of the complex envelope, 0 for Gaussian noise.
        low: Hz, lower edges of the bands.
        high: Hz, upper edges.
    """

    kurtosis: Float[Array, "*batch bands"]
    low: Float[np.ndarray, " bands"]
    high: Float[np.ndarray, " bands"]

    @property
    def band(self) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
        """Lowest and highest frequency in Hz of the band of the largest kurtosis."""
        best = jnp.argmax(self.kurtosis, axis=-1)
        dtype = self.kurtosis.dtype
        return jnp.asarray(self.low, dtype)[best], jnp.asarray(self.high, dtype)[best]

    @property
    def image(self) -> Float[Array, "*batch levels columns"]:
        """One row for each division, the coarsest first, its bands as wide as they are."""
        counts = np.unique(np.round(self.high[-1] / (self.high - self.low)).astype(int)).tolist()
        columns = int(np.lcm.reduce(counts))
        rows, start = [], 0
        for count in counts:
            row = self.kurtosis[..., start : start + count]
            rows.append(jnp.repeat(row, columns // count, axis=-1))
            start += count
        return jnp.stack(rows, axis=-2)


def fast_kurtogram(signal: Signal, sample_rate: float, level: int = 6) -> Kurtogram:
    """Kurtosis of the envelope in 1, 2, 3, 4, 6, 8, 12, ... 2^level bands.

    The bands of J. Antoni, Mech. Syst. Signal Process. 21 (2007) 108. His tree of filters is
    replaced by one Fourier transform, of which each band takes its part, with edges that overlap
    by half a band and add up to a constant power. Impulses that do not repeat count as well as
    those of a bearing.

    Args:
        signal: real, time last.
        sample_rate: Hz.
        level: the narrowest bands are 2^-level of the whole.

    Raises:
        DataError: a level below 1, or one at which a band holds too few samples.
    """
    samples = signal.shape[-1]
    deepest = int(np.log2(max(0.75 * samples / (_LEAST + 2 * _EDGE), 1)))
    if not 1 <= level <= deepest:
        raise et.DataError(
            f"fast_kurtogram: got level={level} for {samples} samples, expected 1 to {deepest}: "
            f"an envelope needs {_LEAST} samples. Lower the level, or give a longer signal."
        )
    values = signal_of("fast_kurtogram", signal, sample_rate)
    edges = [np.arange(parts + 1) / parts * sample_rate / 2 for parts in _divisions(level)]
    low = np.concatenate([edge[:-1] for edge in edges])
    high = np.concatenate([edge[1:] for edge in edges])
    return Kurtogram(_kurtosis(values, level), low, high)


def _divisions(level: int) -> list[int]:
    """1, then 2 and 3, 4 and 6, ... bands, ending with 2^level."""
    return sorted([2**i for i in range(level + 1)] + [3 * 2**i for i in range(level - 1)])


@partial(jax.jit, static_argnums=1)
def _kurtosis(values: Array, level: int) -> Array:
    samples = values.shape[-1]
    # Every band is a multiple of four bins wide.
    length = fast_length(samples, 3 * 2 ** (level + 3))
    centred = values - jnp.mean(values, axis=-1, keepdims=True)
    half = jnp.fft.rfft(centred, length)[..., :-1]
    found = [_of_bands(half, parts, samples / length) for parts in _divisions(level)]
    return jnp.concatenate(found, axis=-1)


def _of_bands(half: Array, parts: int, filled: float) -> Array:
    """Kurtosis [*batch, parts] of the envelopes of the bands of one division."""
    width = half.shape[-1] // parts
    quarter = width // 4
    rise = np.sin(np.pi / 4 * (np.arange(2 * quarter) + 0.5) / quarter)
    taper = np.concatenate([rise, np.ones(width - 2 * quarter), rise[::-1]])
    around = jnp.pad(half, [(0, 0)] * (half.ndim - 1) + [(quarter, quarter)])
    bins = np.arange(parts)[:, None] * width + np.arange(len(taper))
    z = jnp.fft.ifft(weighted(around[..., bins], taper))
    # What follows the signal are zeros, and its ends ring.
    z = z[..., _EDGE : int(filled * len(taper)) - _EDGE]
    power = jnp.square(z.real) + jnp.square(z.imag)
    mean = jnp.mean(power, axis=-1)
    mean = jnp.where(mean > 0, mean, 1)
    # Relative to the mean, for float32 squares it again.
    return jnp.mean(jnp.square(power / mean[..., None]), axis=-1) - 2
