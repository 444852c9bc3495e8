"""Thirty-six numbers that describe a signal, for forests and other models of tables.

>>> values = features(np.random.default_rng(0).normal(size=(2, 4096)), 10_000.0)
>>> values.shape, len(FEATURES)
((2, 36), 36)
>>> round(float(values[0, FEATURES.index("kurtosis")]))
3
"""

import math
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etude.systems.machinery.signals.envelopes import analytic_signal, squared_envelope_spectrum
from etude.systems.machinery.signals.values import Signal, exact_product, signal_of

_TIME = (
    "mean",
    "standard_deviation",
    "rms",
    "mean_absolute",
    "square_root_amplitude",
    "peak",
    "peak_to_peak",
    "skewness",
    "kurtosis",
    "crest_factor",
    "shape_factor",
    "impulse_factor",
    "clearance_factor",
    "zero_crossing_rate",
)
_FREQUENCY = (
    "spectral_centroid",
    "spectral_spread",
    "spectral_skewness",
    "spectral_kurtosis",
    "spectral_flatness",
    "spectral_entropy",
    "median_frequency",
    "rolloff_frequency",
    "power_below_eighth",
    "power_below_quarter",
    "power_below_half",
    "power_above_half",
)
_ENVELOPE = (
    "envelope_mean",
    "envelope_standard_deviation",
    "envelope_skewness",
    "envelope_kurtosis",
    "envelope_crest_factor",
    "envelope_peak_frequency",
    "envelope_peak_ratio",
    "envelope_centroid",
    "envelope_spectral_kurtosis",
    "envelope_entropy",
)

#: Names of the features, in their order: of the signal, its spectrum, and its envelope.
FEATURES = _TIME + _FREQUENCY + _ENVELOPE

_ROLLOFF = 0.95  # fraction of the power below the roll-off frequency


@partial(jax.jit, static_argnums=1)
def features(signal: Signal, sample_rate: float) -> Float[Array, "*batch 36"]:
    """The features named in `FEATURES`, in their order.

    Amplitudes are in the unit of the signal, frequencies in Hz (the zero crossings in crossings
    per second), entropies are relative to their maximum, powers to the whole without the mean;
    "below quarter" is from an eighth to a quarter of half the sample rate. The square root
    amplitude is the squared mean of the square roots of the magnitudes; crest, impulse and
    clearance factor are the peak over the RMS, the mean magnitude and the square root amplitude;
    the shape factor is the RMS over the mean magnitude. A silent signal has zeros for ratios.

    Raises:
        DataError: fewer than 16 samples, or a sample rate that is not above 0.
    """
    values = signal_of("features", signal, sample_rate, 16)
    found = [*_of_time(values, sample_rate), *_of_spectrum(values, sample_rate)]
    found += _of_envelope(values, sample_rate)
    return jnp.stack(found, axis=-1)


def _of_time(values: Array, sample_rate: float) -> list[Array]:
    magnitude = jnp.abs(values)
    mean, deviation, skewness, kurtosis = _moments(values)
    rms = jnp.sqrt(jnp.mean(jnp.square(values), axis=-1))
    absolute = jnp.mean(magnitude, axis=-1)
    root = jnp.square(jnp.mean(jnp.sqrt(magnitude), axis=-1))
    peak = jnp.max(magnitude, axis=-1)
    crossings = jnp.mean((values[..., 1:] >= 0) != (values[..., :-1] >= 0), axis=-1)
    return [
        mean,
        deviation,
        rms,
        absolute,
        root,
        peak,
        jnp.max(values, axis=-1) - jnp.min(values, axis=-1),
        skewness,
        kurtosis,
        _ratio(peak, rms),
        _ratio(rms, absolute),
        _ratio(peak, absolute),
        _ratio(peak, root),
        crossings.astype(values.dtype) * sample_rate,
    ]


def _of_spectrum(values: Array, sample_rate: float) -> list[Array]:
    spectrum = jnp.fft.rfft(values - jnp.mean(values, axis=-1, keepdims=True))[..., 1:]
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    share = _ratio(power, jnp.sum(power, axis=-1, keepdims=True))
    bins = np.fft.rfftfreq(values.shape[-1], 1 / sample_rate)[1:].astype(values.dtype)
    centroid = exact_product(share, jnp.asarray(bins))
    away = jnp.asarray(bins) - centroid[..., None]
    spread = jnp.sqrt(jnp.sum(share * jnp.square(away), axis=-1))
    scaled = _ratio(away, spread[..., None])
    log = jnp.log(jnp.where(power > 0, power, 1))
    below = jnp.cumsum(share, axis=-1)
    edges = np.searchsorted(bins, np.array([0, 1 / 8, 1 / 4, 1 / 2, 1.01]) * sample_rate / 2)
    return [
        centroid,
        spread,
        jnp.sum(share * scaled**3, axis=-1),
        jnp.sum(share * scaled**4, axis=-1),
        _ratio(jnp.exp(jnp.mean(log, axis=-1, where=power > 0)), jnp.mean(power, axis=-1)),
        _entropy(share),
        jnp.asarray(bins)[jnp.argmax(below >= 0.5, axis=-1)],
        jnp.asarray(bins)[jnp.argmax(below >= _ROLLOFF, axis=-1)],
        *(jnp.sum(share[..., a:b], axis=-1) for a, b in pairwise(edges)),
    ]


def _of_envelope(values: Array, sample_rate: float) -> list[Array]:
    envelope = jnp.abs(analytic_signal(values))
    mean, deviation, skewness, kurtosis = _moments(envelope)
    rms = jnp.sqrt(jnp.mean(jnp.square(envelope), axis=-1))
    spectrum = squared_envelope_spectrum(values, sample_rate)
    amplitudes = spectrum.amplitudes[..., 1:]
    bins = spectrum.frequencies[1:].astype(values.dtype)
    share = _ratio(amplitudes, jnp.sum(amplitudes, axis=-1, keepdims=True))
    return [
        mean,
        deviation,
        skewness,
        kurtosis,
        _ratio(jnp.max(envelope, axis=-1), rms),
        jnp.asarray(bins)[jnp.argmax(amplitudes, axis=-1)],
        jnp.max(share, axis=-1) * share.shape[-1],
        exact_product(share, jnp.asarray(bins)),
        _moments(amplitudes)[3],
        _entropy(share),
    ]


def _moments(values: Array) -> tuple[Array, Array, Array, Array]:
    """Mean, standard deviation, skewness and kurtosis (3 for a Gaussian) over the last axis."""
    mean = jnp.mean(values, axis=-1)
    away = values - mean[..., None]
    deviation = jnp.sqrt(jnp.mean(jnp.square(away), axis=-1))
    scaled = _ratio(away, deviation[..., None])
    return mean, deviation, jnp.mean(scaled**3, axis=-1), jnp.mean(scaled**4, axis=-1)


def _entropy(share: Array) -> Array:
    """Entropy of shares that add up to 1, relative to that of equal shares."""
    log = jnp.log(jnp.where(share > 0, share, 1))
    return -jnp.sum(share * log, axis=-1) / math.log(share.shape[-1])


def _ratio(a: Array, b: Array) -> Array:
    """a / b, and 0 where b is 0."""
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)
