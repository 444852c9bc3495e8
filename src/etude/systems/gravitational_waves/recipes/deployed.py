"""What is deployed of a detector: from strain to the score of a window, whitening included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.signal import windows

from etude.export import Exportable
from etude.recipe import Trial
from etude.systems.gravitational_waves.detect import ORDER
from etude.systems.gravitational_waves.recipes.shared import Experiment
from etude.systems.gravitational_waves.spectra import filter_size, passband

#: What strain is multiplied by: in single precision the square of strain itself is zero.
UNIT = 1e21
#: Seconds of the whitening filter, and of the segments of a spectrum, as in a search.
SECONDS = 4.0


def export(model: Any, config: Experiment, trial: Trial) -> Exportable:
    """The statistic that windows are ranked by, of strain and of the spectrum of its noise."""
    rate, band, detectors = config.sample_rate, config.band, len(ORDER)
    half, _ = filter_size(rate, SECONDS)
    samples, bins = round(config.window * rate), round(SECONDS * rate) // 2 + 1

    def score(strain: Array, psd: Array) -> Array:
        white = jax.vmap(lambda one, power: whitened(one, power, rate, band))(strain, psd)
        return model.statistic(white)

    return Exportable(
        score,
        {
            "strain": jax.ShapeDtypeStruct((samples + 2 * half, detectors), jnp.float32),
            "psd": jax.ShapeDtypeStruct((bins, detectors), jnp.float32),
        },
        f"strain times {UNIT:g} of {' and '.join(ORDER)} at {rate:g} Hz, from {SECONDS / 2:g} s "
        f"before a window of {config.window:g} s until {SECONDS / 2:g} s after it; and the one-"
        f"sided power spectral density of the noise in that strain, 1/Hz, every {1 / SECONDS:g} Hz "
        f"from 0 on, as scipy.signal.welch(strain, {rate:g}, nperseg={2 * (bins - 1)}, "
        'average="median") estimates it',
        "the score of the window between, which has no unit: the larger, the more like a signal. "
        "The threshold of a false-alarm rate is that of your noise, by time slides",
        f"The function whitens, from {band[0]:g} to {band[1]:g} Hz. Resampling, the spectrum, time "
        "slides and the time of a merger are not in it: etude detect has them.",
    )


def whitened(
    strain: Float[Array, "longer detectors"],
    psd: Float[Array, "bins detectors"],
    sample_rate: float,
    band: tuple[float, float],
) -> Float[Array, "samples detectors"]:
    """Strain whitened as `spectra.whiten` does, in single precision and within a program.

    Of the strain of GW150914 it differs by less than 1e-3 standard deviations of the noise; a
    spiking network may send a spike more or less for that.

    Args:
        strain: of each detector, in a unit of which the square is a float32.
        psd: in the square of that unit per Hz, every 1 / `SECONDS` Hz from 0 on.
        sample_rate: Hz.
        band: Hz.

    >>> flat = jnp.full((4097, 1), 2 / 2048)
    >>> impulse = jnp.zeros((10240, 1)).at[5000].set(1.0)
    >>> white = whitened(impulse, flat, 2048.0, (0.0, 1024.0))
    >>> white.shape, int(white.argmax()), round(float(white.max()), 3)
    ((2048, 1), 904, 1.0)
    """
    half, samples = filter_size(sample_rate, SECONDS)
    frequencies = np.fft.rfftfreq(samples, 1 / sample_rate)
    known = np.fft.rfftfreq(round(SECONDS * sample_rate), 1 / sample_rate)
    window = passband(frequencies, sample_rate, band)
    fade = windows.hann(2 * half + 3)[1:-1]

    def one(values: Array, power: Array) -> Array:
        density = jnp.interp(frequencies.astype(power.dtype), known.astype(power.dtype), power)
        amplitude = jnp.sqrt(jnp.where(window > 0, density, 1) * (sample_rate / 2))
        impulse = jnp.fft.irfft(window.astype(power.dtype) / amplitude, samples)
        taps = jnp.roll(impulse, half)[: 2 * half + 1] * fade.astype(power.dtype)
        # The filter has no response to the mean, but its rounding errors have.
        return jax.scipy.signal.fftconvolve(values - values.mean(), taps, mode="valid")

    return jax.vmap(one, in_axes=1, out_axes=1)(strain, psd)
