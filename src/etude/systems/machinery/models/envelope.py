"""A network that sees at which rates a signal is struck, whatever carries the strokes.

>>> network = EnvelopeNetwork(3, key=jax.random.key(0))
>>> network(jax.random.normal(jax.random.key(1), (5, 4096))).shape
(5, 3)
"""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import etude as et
from etude.nn import ConvolutionBlock
from etude.systems.machinery.models.cnn import check_dropout, check_sizes
from etude.systems.machinery.models.layers import Head, Planes, Trunk, signals_as_planes
from etude.systems.machinery.models.network import AbstractNetwork, Batch


@final
class EnvelopeNetwork(AbstractNetwork):
    """Dense layers on the spectrum of the squared envelope, of bands that weigh the same.

    The signal is divided into bands of equal width. The squared envelope of each, less its mean,
    has a spectrum, of which the lowest lines are kept and divided by their root mean square; the
    root mean square over the bands is what the dense layers see. Loudness and resonances fall out
    of it, which are those of a bearing and its sensor; rates of impulses remain. A line is
    1 / duration wide, so that all signals must be of one length, and turn at one speed.

    Signals are `(batch, samples)` or `(batch, 1, samples)`.

    Args:
        classes: number of logits.
        bands: number of bands.
        lines: lines of the spectrum, from 1 / duration on.
        width: of the first dense layer, which is normalised.
        hidden: widths of further dense layers.
        dropout: share of the values after the first layer that training leaves out.
        key: random key of the initial weights.

    Raises:
        ModelError: sizes below 1, or a dropout outside 0..1.
    """

    trunk: Trunk
    head: Head
    bands: int = eqx.field(static=True)
    lines: int = eqx.field(static=True)

    def __init__(
        self,
        classes: int,
        *,
        bands: int = 8,
        lines: int = 48,
        width: int = 64,
        hidden: tuple[int, ...] = (),
        dropout: float = 0.3,
        key: PRNGKeyArray,
    ):
        check_sizes("EnvelopeNetwork", classes, [bands, lines, width, *hidden])
        check_dropout("EnvelopeNetwork", dropout)
        first, last = jax.random.split(key)
        # As wide as the spectrum: one step, a dense layer with normalisation.
        dense = ConvolutionBlock(1, width, kernel=(1, lines), stride=(1, lines), key=first)
        layers = (dense, eqx.nn.Dropout(dropout)) if dropout else (dense,)
        self.trunk = Trunk(layers, width)
        self.head = Head(width, classes, hidden=hidden, key=last)
        self.bands, self.lines = bands, lines

    def planes(self, x: Batch) -> Planes:
        """The spectrum of each signal, `(batch, 1, lines, 1)`."""
        # A band of n bins has an envelope with lines up to n - 1.
        least = 2 * self.bands * (self.lines + 1)
        signals = signals_as_planes("EnvelopeNetwork", x, least)[:, 0, :, 0]
        return envelope_lines(signals, self.bands, self.lines)[:, None, :, None]


def envelope_lines(
    signals: Float[Array, "batch samples"], bands: int, lines: int
) -> Float[Array, "batch lines"]:
    """What an `EnvelopeNetwork` sees: about 1 for each line of noise.

    >>> envelope_lines(jax.random.normal(jax.random.key(0), (2, 1024)), 4, 20).shape
    (2, 20)
    """
    samples = signals.shape[-1]
    centred = et.widened(signals - jnp.mean(signals, axis=-1, keepdims=True))
    width = samples // 2 // bands
    half = jnp.fft.rfft(centred)[:, : bands * width].reshape(-1, bands, width)
    # A band moved down to 0 Hz has the same envelope; twice its width holds the square.
    z = jnp.fft.ifft(half, 2 * width)
    power = jnp.square(z.real) + jnp.square(z.imag)
    mean = jnp.mean(power, axis=-1, keepdims=True)
    relative = power / jnp.where(mean > 0, mean, 1) - 1
    tapered = relative * np.hanning(2 * width).astype(relative.dtype)
    found = jnp.abs(jnp.fft.rfft(tapered))[..., 1 : lines + 1]
    level = jnp.sqrt(jnp.mean(jnp.square(found), axis=-1, keepdims=True))
    flat = found / jnp.where(level > 0, level, 1)
    return jnp.sqrt(jnp.mean(jnp.square(flat), axis=1)).astype(signals.dtype)
