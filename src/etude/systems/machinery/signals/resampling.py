"""Another sample rate, without aliases.

>>> time = np.arange(2000) / 2000.0
>>> hum, whine = np.sin(2 * np.pi * 50 * time), np.sin(2 * np.pi * 700 * time)
>>> slower = resample(hum + whine, 2000.0, 500.0)
>>> bool(np.allclose(slower[50:-50], hum[200:-200:4], atol=0.001))
True
"""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.signals.values import Signal, fast_length, signal_of, weighted

#: Fraction of half the lower sample rate up to which a signal passes unchanged.
PASS = 0.9

_ENDS = 64  # samples at the lower rate by which the signal is continued at either end


def resample(signal: Signal, from_rate: float, to_rate: float) -> Float[Array, "*batch resampled"]:
    """The signal at another sample rate; sample 0 stays where it is.

    What lies below `PASS` times half the lower of both rates passes unchanged, what lies above
    half of it is removed, so that nothing folds back. The signal is continued at its ends by its
    point reflection. Computed by FFT, for any ratio of the rates.

    Args:
        signal: real, time last.
        from_rate: Hz, of the signal.
        to_rate: Hz, of the result.

    Returns:
        All samples before the end of the signal: ceil(samples to_rate / from_rate).

    Raises:
        DataError: a rate that is not above 0.
    """
    check_positive("resample", to_rate=to_rate)
    values = signal_of("resample", signal, from_rate)
    # Exact for rates of public recordings; else off by less than a sample over the signal.
    ratio = Fraction(to_rate / from_rate).limit_denominator(values.shape[-1])
    check_positive("resample", ratio=float(ratio))
    return values if ratio == 1 else _resample(values, ratio.numerator, ratio.denominator)


@partial(jax.jit, static_argnums=(1, 2))
def _resample(values: Array, up: int, down: int) -> Array:
    samples = values.shape[-1]
    end = min(samples - 1, int(np.ceil(_ENDS * max(1, down / up))))
    first, last = values[..., :1], values[..., -1:]
    before = 2 * first - values[..., end:0:-1]
    after = 2 * last - values[..., -2 : -end - 2 : -1]
    longer = jnp.concatenate([before, values, after], axis=-1)
    length = fast_length(longer.shape[-1], down)
    result = length // down * up
    bins = min(length, result) // 2 + 1
    # 1 up to PASS, then half a cosine down to 0 at half the lower rate.
    place = np.arange(bins) / (min(length, result) / 2)
    response = 0.5 + 0.5 * np.cos(np.pi * np.clip((place - PASS) / (1 - PASS), 0, 1))
    # Moves the first sample of the signal to the front, wherever it is between those of the result.
    advance = np.exp(2j * np.pi * (np.arange(bins) * end % length) / length)
    response = response * advance * (up / down)
    spectrum = weighted(jnp.fft.rfft(longer, length)[..., :bins], response)
    return jnp.fft.irfft(spectrum, result)[..., : -(-samples * up // down)]
