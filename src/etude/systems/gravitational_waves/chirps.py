"""Filters shaped like chirps: where the first layer of an encoder may start.

>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> from etude.systems.gravitational_waves.injections import whitened_signals
>>> from etude.systems.gravitational_waves.population import Population
>>> binaries = Population().draw(np.random.default_rng(0), 16)
>>> signals, _ = whitened_signals(binaries, 2 * [noise_curve("aLIGO-O4")])
>>> chirp_filters(signals[:, :, 0], 4).shape
(2, 128, 4)
"""

import numpy as np
from jaxtyping import Float, Float32
from scipy import fft, signal

_AFTER = 12  # samples of a filter after the loudest one: the ringdown


def chirp_filters(
    signals: Float[np.ndarray, "n samples"],
    count: int,
    *,
    taps: int = 128,
    decimation: int = 4,
) -> Float32[np.ndarray, "2 taps count"]:
    """Pairs of filters from whitened signals, chosen to miss as little volume as they can.

    A filter is the loudest stretch of a signal with norm 1, and its Hilbert transform. The first
    is taken from the most compact signal; then always the signal is added that lost most volume
    (the cube of the recovered signal-to-noise ratio) to the filters so far. Signals serve as
    shapes only, no noise and no label enters: a network that starts from them knows what a matched
    filter knows. Pass signals of the training split.

    Args:
        signals: whitened signals of one detector, without noise, of any loudness.
        count: number of pairs.
        taps: length at the lower sample rate; 128 at 512 Hz are a quarter of a second.
        decimation: the sample rate divided by that of the filters.

    Raises:
        ValueError: fewer signals than filters, or signals shorter than a filter.
    """
    n, samples = signals.shape
    if n < count or samples < taps * decimation:
        raise ValueError(
            f"chirp_filters: {n} signals of {samples} samples; expected at least {count}, of at "
            f"least {taps * decimation} samples each."
        )
    low = signal.resample_poly(signals.astype(np.float64), 1, decimation, axis=1)
    low /= np.linalg.norm(low, axis=1, keepdims=True)
    analytic = np.asarray(signal.hilbert(low, axis=1))
    ends = np.abs(analytic).argmax(axis=1) + _AFTER
    padded = np.pad(analytic, ((0, 0), (taps, _AFTER)))  # sample i is at i + taps
    stretches = np.stack([row[end : end + taps] for row, end in zip(padded, ends, strict=True)])
    norms = np.linalg.norm(stretches, axis=1)
    stretches /= norms[:, None] / np.sqrt(2)

    length = fft.next_fast_len(low.shape[1] + taps)
    spectra = np.asarray(fft.fft(low, length, axis=1))
    recovered, chosen = np.zeros(n), [int(norms.argmax())]
    best = norms / np.sqrt(2)
    for _ in range(count):
        template = np.asarray(fft.fft(stretches[chosen[-1]], length))
        filtered = np.asarray(fft.ifft(spectra * template.conj(), axis=1))
        recovered = np.maximum(recovered, np.abs(filtered).max(axis=1))
        chosen.append(int((best**3 - recovered**3).argmax()))
    pairs = stretches[chosen[:count]].T
    return np.stack([pairs.real, pairs.imag]).astype(np.float32)
