"""Strided convolutions as matrix products.

On a CPU the products are several times faster than XLA's convolutions, forward and backward, and
they keep their speed inside compiled loops.

>>> x, kernel = jnp.arange(6.0)[:, None], jnp.ones((2, 1, 1))
>>> strided_convolution(x, kernel, stride=2)[:, 0].tolist()
[1.0, 5.0, 9.0]
"""

from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Real
from scipy import signal

from etude.inputs import check_count, floating

_TAPS_PER_PHASE = 16  # of the low-pass filter, times the factor of decimation


def strided_convolution(
    x: Float[Array, "time inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    stride: int,
    block: int = 1,
) -> Float[Array, "steps outputs"]:
    """The convolution of machine learning (no flip) where the kernel lies within the signal.

    The kernel is laid out for `block` neighbouring steps at once. A long kernel with a short
    stride then needs `block` times less memory for its overlapping patches. Steps that do not fill
    a last block are dropped.

    Args:
        x: the signal.
        kernel: the weights.
        stride: samples from one step to the next.
        block: steps that are computed in one row of the product.

    Returns:
        As many steps as lie within the signal, ``(time - taps) // stride + 1``, in whole blocks.

    Raises:
        ValueError: the signal is shorter than a block, or a size is no whole number of 1 or more.
    """
    check_count("strided_convolution", "stride", stride)
    check_count("strided_convolution", "block", block)
    taps, inputs, outputs = kernel.shape
    group, reach = stride * block, taps + stride * (block - 1)
    if len(x) < reach:
        raise ValueError(
            f"strided_convolution: {len(x)} samples; expected at least {reach} for "
            f"{taps} taps, stride {stride} and block {block}. Use longer windows."
        )
    spanned = -(-reach // group)
    steps = (len(x) - reach) // group + 1
    whole = steps + spanned - 1
    # Behind the last tap, up to a whole group, weights of zero meet zeros.
    x = jnp.pad(x, ((0, max(whole * group - len(x), 0)), (0, 0)))[: whole * group]
    groups = x.reshape(whole, group * inputs)
    patches = jnp.concatenate([groups[j : j + steps] for j in range(spanned)], axis=1)
    width = spanned * group
    shifted = [
        jnp.pad(kernel, ((stride * j, width - taps - stride * j), (0, 0), (0, 0)))
        for j in range(block)
    ]
    weights = jnp.stack(shifted, axis=2).reshape(width * inputs, block * outputs)
    return (patches @ weights).reshape(steps * block, outputs)


class CausalConvolution(eqx.Module):
    """A strided convolution with a bias; step t has seen the samples before ``(t + 1) stride``.

    The signal is preceded by zeros. The weights are normal with variance ``2 / fan-in`` (He et
    al. 2015). Raises ValueError for a size below 1, or a stride above the number of taps, which
    would skip samples.

    >>> layer = CausalConvolution(3, 5, taps=8, stride=4, key=jax.random.key(0))
    >>> layer(jnp.ones((40, 3))).shape
    (10, 5)
    """

    kernel: Float[Array, "taps inputs outputs"]
    bias: Float[Array, " outputs"]
    stride: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, *, taps: int, stride: int = 1, key: PRNGKeyArray):
        sizes = {"inputs": inputs, "outputs": outputs, "taps": taps, "stride": stride}
        for name, count in sizes.items():
            check_count("CausalConvolution", name, count)
        if stride > taps:
            raise ValueError(
                f"CausalConvolution: got stride={stride} and taps={taps}, expected at least as "
                "many taps as the stride. With fewer some samples are never seen."
            )
        size = (2 / (taps * inputs)) ** 0.5
        self.kernel = size * jax.random.normal(key, (taps, inputs, outputs))
        self.bias = jnp.zeros(outputs)
        self.stride = int(stride)

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "steps outputs"]:
        """The convolved signal, ``time // stride`` steps of it."""
        before = len(self.kernel) - self.stride
        return strided_convolution(jnp.pad(x, ((before, 0), (0, 0))), self.kernel, self.stride) + (
            self.bias
        )


def decimate(x: Real[Array, " samples"], factor: int) -> Float[Array, " fewer"]:
    """A signal at a lower sample rate, through a low-pass filter, of about unit noise gain.

    White noise keeps its variance but for 5 % in the transition to the new Nyquist frequency. The
    filter is symmetric and reaches 8 samples of the lower rate to both sides; beyond the ends it
    meets zeros. Integers become float32. Raises ValueError for a factor that is no whole number of
    1 or more.

    >>> x = jnp.sin(2 * jnp.pi * jnp.arange(256.0) / 64)
    >>> y = decimate(x, 4)
    >>> y.shape, bool(jnp.abs(y / 2 - x[::4])[8:-8].max() < 0.01)
    ((64,), True)
    """
    check_count("decimate", "factor", factor)
    x = floating(x)
    if factor == 1:
        return x
    taps = jnp.asarray(_lowpass(factor), x.dtype)
    half = len(taps) // 2
    block = max(min(16, len(x) // factor), 1)
    tail = half + factor * block
    padded = jnp.pad(x, (half, tail))[:, None]
    return strided_convolution(padded, taps[:, None, None], factor, block)[: len(x) // factor, 0]


@lru_cache
def _lowpass(factor: int) -> np.ndarray:
    taps = signal.firwin(_TAPS_PER_PHASE * factor + 1, 1 / factor, window="hamming")
    return factor**0.5 * taps
