"""The smoothed pseudo-Wigner-Ville distribution.

>>> rate = 1000.0
>>> tone = np.cos(2 * np.pi * 125 * np.arange(1000) / rate)
>>> found = wigner_ville(tone, rate, bins=128, smoothing=64, hop=32)
>>> found.values.shape, float(found.frequencies[found.values[:, 15].argmax()])
((128, 30), 125.0)
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.signal import windows

import etude as et
from etude.systems.machinery.signals.envelopes import analytic_signal
from etude.systems.machinery.signals.spectrograms import TimeFrequency
from etude.systems.machinery.signals.values import Signal, exact_product, signal_of, weighted


def wigner_ville(
    signal: Signal, sample_rate: float, *, bins: int = 256, smoothing: int = 64, hop: int = 32
) -> TimeFrequency:
    """Wigner-Ville distribution of the analytic signal z, smoothed in time and in frequency.

        W(t, f) = sum_m h(m) sum_u g(u) z(t + u + m) z*(t + u - m) exp(-4 pi i f m / rate)

    The window h over lags smooths in frequency, g in time; both together suppress the cross terms
    between components, at the price of resolution. Values are real and may be negative. Their mean
    over the frequencies is the squared envelope, smoothed by g. The step of the lag is two
    samples, so the bins cover 0 to half the sample rate. L. Cohen, Proc. IEEE 77 (1989) 941.

    Args:
        signal: real, time last.
        sample_rate: Hz.
        bins: number of frequencies; h is a Hann window of as many lags.
        smoothing: samples of the Hann window g.
        hop: samples from one column to the next; a divisor of `smoothing`.

    Raises:
        DataError: a signal shorter than g, fewer than 4 bins, or a hop that is no divisor.
    """
    if bins < 4 or hop < 1 or smoothing < 1 or smoothing % hop:
        raise et.DataError(
            f"wigner_ville: got bins={bins}, smoothing={smoothing}, hop={hop}; expected 4 bins or "
            "more, and a hop that divides smoothing."
        )
    values = signal_of("wigner_ville", signal, sample_rate, smoothing)
    frequencies = np.arange(bins) * sample_rate / (2 * bins)
    found = _wigner_ville(analytic_signal(values), bins, smoothing, hop)
    starts = np.arange(found.shape[-1]) * hop
    return TimeFrequency(found, frequencies, (starts + (smoothing - 1) / 2) / sample_rate)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _wigner_ville(z: Array, bins: int, smoothing: int, hop: int) -> Array:
    lags = (bins - 1) // 2
    samples = z.shape[-1]
    around = jnp.pad(z, [(0, 0)] * (z.ndim - 1) + [(lags, lags)])
    at = np.arange(samples) + lags
    lag = np.arange(lags + 1)[:, None]
    products = around[..., at + lag] * jnp.conj(around[..., at - lag])
    # The sum over u, in parts of one hop each.
    parts = smoothing // hop
    blocks = samples // hop
    columns = blocks - parts + 1
    products = products[..., : blocks * hop].reshape(*products.shape[:-1], blocks, hop)
    g = windows.hann(smoothing + 2)[1:-1]
    g = jnp.asarray(g / g.sum()).reshape(parts, hop).astype(z.dtype)
    smooth = sum(
        (exact_product(products[..., i : i + columns, :], g[i]) for i in range(1, parts)),
        exact_product(products[..., :columns, :], g[0]),
    )
    h = windows.hann(2 * lags + 3)[lags + 1 : -1]
    h[0] /= 2  # half of lag 0, for it comes twice
    return 2 * jnp.fft.fft(weighted(smooth, h[:, None]), bins, axis=-2).real
