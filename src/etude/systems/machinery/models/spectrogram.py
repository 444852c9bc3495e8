"""A convolutional network of spectrograms and other pictures over frequency and time.

>>> import jax.numpy as jnp
>>> network = SpectrogramCNN(3, (4, 8), key=jax.random.key(0))
>>> network(jnp.zeros((2, 64, 50))).shape, network(jnp.zeros((2, 1, 32, 90))).shape
((2, 3), (2, 3))
"""

from collections.abc import Sequence
from typing import final

import jax
from jaxtyping import PRNGKeyArray

from etude.nn import ConvolutionBlock
from etude.systems.machinery.models.cnn import check_sizes
from etude.systems.machinery.models.layers import Head, Planes, Trunk, spectrograms_as_planes
from etude.systems.machinery.models.network import AbstractNetwork, Batch


@final
class SpectrogramCNN(AbstractNetwork):
    """Blocks that halve frequency and time, and a mean over both.

    Spectrograms are `(batch, freq, time)` or `(batch, 1, freq, time)`, of any size, so that one
    network can see representations of different ones.

    Args:
        classes: number of logits.
        channels: of each block.
        taps: of each block, along frequency and along time.
        hidden: widths of the dense layers before the logits.
        multi_label: whether a sample may be of several classes at once; see `Head`.
        key: random key of the initial weights.

    Raises:
        ModelError: sizes below 1.
    """

    trunk: Trunk
    head: Head

    def __init__(
        self,
        classes: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        *,
        taps: int = 3,
        hidden: Sequence[int] = (),
        multi_label: bool = False,
        key: PRNGKeyArray,
    ):
        check_sizes("SpectrogramCNN", classes, [*channels, taps, *hidden])
        *keys, last = jax.random.split(key, len(channels) + 1)
        blocks = [
            ConvolutionBlock(inputs, outputs, kernel=(taps, taps), stride=(2, 2), key=one)
            for inputs, outputs, one in zip((1, *channels), channels, keys, strict=False)
        ]
        self.trunk = Trunk(tuple(blocks), channels[-1])
        self.head = Head(channels[-1], classes, hidden=hidden, multi_label=multi_label, key=last)

    def planes(self, x: Batch) -> Planes:
        """The spectrograms with one channel, last."""
        return spectrograms_as_planes("SpectrogramCNN", x)
