"""Random changes of signals, `(batch, time)` or `(batch, channels, time)`, drawn per sample.

All channels of a sample change alike, except for noise, which is fresh everywhere. Complex signals
stay complex: noise has the given power in all, half of it in each part.

>>> key = jax.random.key(0)
>>> signals = jnp.ones((4, 2, 100))
>>> time_shift(time_masking(signals, key, max_width=10), key, max_shift=5).shape
(4, 2, 100)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Key

from etude.engine.numbers import is_real
from etude.inputs import Values, check_count, check_real, floating

from .draws import along, batched, in_single, per_sample, random_span, require


def time_masking(
    signals: Values,
    key: Key[Array, ""],
    max_width: int = 1000,
    num_masks: int = 1,
    fill: float = 0.0,
) -> Inexact[Array, "batch *channels time"]:
    """Overwrite random stretches of time (the time mask of Park et al. 2019, for raw signals).

    Args:
        signals: the batch.
        key: the source of randomness.
        max_width: longest stretch, in time steps; each width is uniform in 0..max_width, which is
            cut to the length of the signal.
        num_masks: stretches per sample; they may overlap.
        fill: the value written, by default 0, the mean of a normalised signal.

    Returns:
        The changed batch. Every time step is masked with the same probability: stretches overhang
        the ends instead of sparing them.

    Raises:
        ValueError: a negative width or number.

    >>> x = jnp.ones((2, 50))
    >>> bool(jnp.all(time_masking(x, jax.random.key(0), max_width=0) == x))
    True
    """
    check_count("time_masking", "max_width", max_width, 0)
    check_count("time_masking", "num_masks", num_masks, 0)
    return mask_axis(batched("time_masking", signals), key, -1, max_width, num_masks, fill)


def mask_axis(
    batch: Values,
    key: Key[Array, ""],
    axis: int,
    max_width: int,
    num_masks: int,
    fill: float,
) -> Inexact[Array, "batch *axes"]:
    """Overwrite `num_masks` random spans of up to `max_width` along one (negative) axis.

    >>> mask_axis(jnp.ones((1, 3, 4)), jax.random.key(0), -2, 3, 1, 0.0).shape
    (1, 3, 4)
    """
    batch = floating(batch)
    length = batch.shape[axis]

    def mask_once(key: Array) -> Array:
        width_key, start_key = jax.random.split(key)
        width = jax.random.randint(width_key, (), 0, min(max_width, length) + 1)
        return random_span(start_key, length, width)

    def mask_sample(key: Array, sample: Array) -> Array:
        masked = jax.vmap(mask_once)(jax.random.split(key, num_masks)).any(axis=0)
        return jnp.where(along(axis, masked, sample), jnp.asarray(fill, sample.dtype), sample)

    return per_sample(mask_sample, key, batch)


def gaussian_noise(
    signals: Values,
    key: Key[Array, ""],
    *,
    std: float | None = None,
    snr_db: float | None = None,
) -> Inexact[Array, "batch *channels time"]:
    """Add white Gaussian noise, of a fixed strength or of one relative to each sample.

    Args:
        signals: the batch.
        key: the source of randomness.
        std: standard deviation of the noise, in the units of the signal.
        snr_db: signal-to-noise ratio in decibels, `10 log10(mean(signal^2) / std^2)`, with the
            mean over all channels and times of a sample. Infinity adds nothing.

    Raises:
        ValueError: not exactly one of `std` and `snr_db` is given, or `std` is negative; a signal
            without a batch axis, here and below.

    >>> x = jnp.ones((2, 50))
    >>> bool(jnp.all(gaussian_noise(x, jax.random.key(0), std=0.0) == x))
    True
    """
    require(
        (std is None) != (snr_db is None),
        f"gaussian_noise: give either std or snr_db, got std={std} and snr_db={snr_db}",
    )
    signals = batched("gaussian_noise", signals)
    exact = in_single(signals)
    noise = jax.random.normal(key, exact.shape, exact.dtype)
    if std is not None:
        check_real("gaussian_noise", "std", std, 0)
        return (exact + std * noise).astype(signals.dtype)
    require(
        is_real(snr_db) and snr_db != -jnp.inf,
        f"gaussian_noise: got snr_db={snr_db!r}, expected a number of decibels, or infinity",
    )
    power = jnp.mean(jnp.abs(exact) ** 2, axis=tuple(range(1, exact.ndim)), keepdims=True)
    scale = jnp.sqrt(power) * 10 ** (-(snr_db or 0.0) / 20)
    return (exact + scale.astype(exact.dtype) * noise).astype(signals.dtype)


def amplitude_scaling(
    signals: Values,
    key: Key[Array, ""],
    scale_range: tuple[float, float] = (0.8, 1.2),
) -> Inexact[Array, "batch *channels time"]:
    """Multiply each sample by a factor that is uniform in `scale_range`.

    Raises:
        ValueError: the range runs backwards.

    >>> x = jnp.ones((2, 50))
    >>> bool(jnp.all(amplitude_scaling(x, jax.random.key(0), (1.0, 1.0)) == x))
    True
    """
    low, high = scale_range
    for bound in scale_range:
        check_real("amplitude_scaling", "scale_range", bound)
    require(low <= high, f"amplitude_scaling: scale_range must rise, got {scale_range}")

    signals = batched("amplitude_scaling", signals)

    def scale(key: Array, sample: Array) -> Array:
        factor = jax.random.uniform(key, (), jnp.abs(sample).dtype, low, high)
        return sample * factor.astype(sample.dtype)

    return per_sample(scale, key, in_single(signals)).astype(signals.dtype)


def time_shift(
    signals: Values, key: Key[Array, ""], max_shift: int = 1000
) -> Inexact[Array, "batch *channels time"]:
    """Rotate each sample in time by a whole number of steps, uniform in -max_shift..max_shift.

    Raises:
        ValueError: `max_shift` is negative.

    >>> x = jnp.arange(6.0)[None]
    >>> bool(jnp.all(time_shift(x, jax.random.key(0), max_shift=0) == x))
    True
    """
    check_count("time_shift", "max_shift", max_shift, 0)

    def shift(key: Array, sample: Array) -> Array:
        return jnp.roll(sample, jax.random.randint(key, (), -max_shift, max_shift + 1), axis=-1)

    return per_sample(shift, key, batched("time_shift", signals))
