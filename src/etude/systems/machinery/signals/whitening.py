"""Cepstrum pre-whitening: every tone and every resonance becomes as loud as the rest."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.systems.machinery.signals.values import Signal, signal_of, weighted


def cepstrum_prewhitening(signal: Signal) -> Float[Array, "*batch samples"]:
    """The signal with a flat amplitude spectrum and its own phases.

    Setting the real cepstrum to zero except at quefrency zero leaves each bin the geometric mean
    of the amplitudes. Impulses of a bearing, spread over many bins, then stand out against the
    tones of shafts and gears, which are in a few. P. Borghesani et al., Mech. Syst. Signal
    Process. 36 (2013) 370.

    >>> import numpy as np
    >>> tone = np.cos(0.5 * np.arange(64)) + 0.01 * np.random.default_rng(0).normal(size=64)
    >>> amplitudes = np.abs(np.fft.rfft(cepstrum_prewhitening(tone)))
    >>> bool(np.ptp(amplitudes) < 1e-3 * amplitudes.mean())
    True
    """
    return _whitened(signal_of("cepstrum_prewhitening", signal, 1.0))


@jax.jit
def _whitened(values: Array) -> Array:
    spectrum = jnp.fft.fft(values)
    amplitude = jnp.abs(spectrum)
    # A bin that is empty has no phase; it stays empty, and does not count in the mean.
    some = amplitude > 0
    log = jnp.sum(jnp.log(jnp.where(some, amplitude, 1)), axis=-1)
    level = jnp.exp(log / jnp.maximum(jnp.sum(some, axis=-1), 1).astype(log.dtype))
    flat = weighted(spectrum, level[..., None] / jnp.where(some, amplitude, 1))
    return jnp.fft.ifft(flat).real
