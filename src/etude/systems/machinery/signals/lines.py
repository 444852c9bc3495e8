"""How far the lines of a spectrum stand out of its noise.

>>> rng = np.random.default_rng(0)
>>> power = rng.exponential(size=2000).astype(np.float32)
>>> power[800] = 100.0
>>> found = prominence(power, 0.5, np.array([[400.0, 600.0]], np.float32), tolerance=0.02)
>>> [round(float(x)) for x in found[0]]
[13, 0]
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et

_BLOCK = 64  # bins over which the noise is taken as level
_EULER = 0.5772


@jax.jit
def background(power: Float[Array, "*batch bins"]) -> Float[Array, "*batch bins"]:
    """The mean power of the noise in each bin, as the median of 64 bins around it says.

    A line in a few of the bins does not move the median. Powers of noise are distributed
    exponentially, with a mean of median / ln 2. Between the blocks it is interpolated.

    >>> background(jnp.full(256, jnp.log(2)))[:2].tolist()
    [1.0, 1.0]
    """
    bins = power.shape[-1]
    size = min(_BLOCK, bins)
    blocks = bins // size
    parts = power[..., : blocks * size].reshape(*power.shape[:-1], blocks, size)
    level = jnp.median(parts, axis=-1) / np.log(2).astype(power.dtype)
    place = np.clip((np.arange(bins) - (size - 1) / 2) / size, 0, blocks - 1)
    left = np.minimum(place.astype(int), max(blocks - 2, 0))
    right = np.minimum(left + 1, blocks - 1)
    weight = (place - left).astype(power.dtype)
    return level[..., left] * (1 - weight) + level[..., right] * weight


@partial(jax.jit, static_argnums=(1, 3), static_argnames=("resolution", "tolerance"))
def prominence(
    power: Float[Array, "*batch bins"] | Float[np.ndarray, "*batch bins"],
    resolution: float,
    frequencies: Float[Array, "*rows lines"] | Float[np.ndarray, "*rows lines"],
    tolerance: float,
) -> Float[Array, "*all lines"]:
    """The largest power near each frequency over what noise would have there, in dB.

    The largest of n bins of noise has on average 1 + 1/2 + ... + 1/n times their mean power; it
    is set to 0 dB, so that a wide band gains nothing by its width.

    Args:
        power: spectrum, squared amplitudes, from 0 Hz on.
        resolution: Hz, width of a bin.
        frequencies: Hz, of the lines; one set for each spectrum, or one for all.
        tolerance: a line may lie this fraction of its frequency away.

    Returns:
        dB; NaN for a line whose band lies past the end of the spectrum, or in no bin.
    """
    power = et.widened(jnp.asarray(power))
    ratio = power / jnp.maximum(background(power), jnp.finfo(power.dtype).tiny)
    largest, count = _largest(ratio, resolution, frequencies, tolerance)
    expected = jnp.log(jnp.maximum(count, 1)) + _EULER + 1 / (2 * jnp.maximum(count, 1))
    return _decibels(largest / expected, count)


@partial(jax.jit, static_argnums=(1, 3), static_argnames=("resolution", "tolerance"))
def peak_power(
    power: Float[Array, "*batch bins"] | Float[np.ndarray, "*batch bins"],
    resolution: float,
    frequencies: Float[Array, "*rows lines"] | Float[np.ndarray, "*rows lines"],
    tolerance: float,
) -> Float[Array, "*all lines"]:
    """The largest power near each frequency, in dB over 1; arguments as `prominence`.

    >>> peak_power(jnp.full(100, 1.0), 1.0, jnp.array([50.0]), 0.02)
    Array([0.], dtype=float32)
    """
    power = et.widened(jnp.asarray(power))
    return _decibels(*_largest(power, resolution, frequencies, tolerance))


def _largest(
    power: Array, resolution: float, lines: Array | np.ndarray, tolerance: float
) -> tuple[Array, Array]:
    """The largest power in the band of each line, and the number of its bins."""
    frequencies = jnp.asarray(lines, power.dtype)
    bins = power.shape[-1]
    rows = np.broadcast_shapes(power.shape[:-1], frequencies.shape[:-1])
    frequencies = jnp.broadcast_to(frequencies, (*rows, frequencies.shape[-1]))[..., None]
    # Enough bins for the widest band that there can be.
    reach = int(np.ceil(tolerance * bins)) + 1
    at = jnp.round(frequencies / resolution) + np.arange(-reach, reach + 1).astype(power.dtype)
    inside = jnp.abs(at * resolution - frequencies) <= tolerance * frequencies
    inside &= (at > 0) & (frequencies * (1 + tolerance) <= (bins - 1) * resolution)
    places = jnp.clip(at, 0, bins - 1).astype(jnp.int32)
    power = jnp.broadcast_to(power, (*rows, bins))
    flat = jnp.take_along_axis(power, places.reshape(*rows, -1), axis=-1)
    largest = jnp.max(jnp.where(inside, flat.reshape(places.shape), 0), axis=-1)
    return largest, jnp.sum(inside, axis=-1).astype(power.dtype)


def _decibels(power: Array, count: Array) -> Array:
    level = 10 * jnp.log10(jnp.maximum(power, jnp.finfo(power.dtype).tiny))
    return jnp.where(count > 0, level, jnp.nan)
