"""A residual network of signals, with squeeze and excite.

>>> import jax.numpy as jnp
>>> network = ResNet1D(3, (4, 8), blocks=1, stem=8, key=jax.random.key(0))
>>> network(jnp.zeros((2, 256))).shape
(2, 3)
"""

from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from etude.nn import ConvolutionBlock
from etude.systems.machinery.models.cnn import check_sizes, of_each
from etude.systems.machinery.models.layers import (
    Head,
    Layer,
    MaxPool,
    Planes,
    Residual,
    Trunk,
    signals_as_planes,
)
from etude.systems.machinery.models.network import AbstractNetwork, Batch

_STRIDE, _POOL = 4, 4  # of the stem


@final
class ResNet1D(AbstractNetwork):
    """A stem that makes signals 16 times shorter, then stages of residual blocks.

    As it stands it has the depth of ResNet-18 (He et al. 2016), each block with squeeze and excite
    (Hu, Shen and Sun 2018), and is made for records of 102,400 samples at 20,480 Hz. Signals are
    `(batch, samples)` or `(batch, 1, samples)`.

    Args:
        classes: number of logits.
        channels: of each stage; every stage but the first halves the length.
        blocks: residual blocks of each stage; one number stands for all.
        stem: taps of the first convolution.
        taps: of the convolutions in the blocks.
        reduction: by how much squeeze and excite narrows the channels; None: without it.
        hidden: widths of the dense layers before the logits.
        multi_label: whether a sample may be of several classes at once; see `Head`.
        key: random key of the initial weights.

    Raises:
        ModelError: not as many numbers of blocks as stages, or sizes below 1.
    """

    trunk: Trunk
    head: Head
    least: int = eqx.field(static=True)

    def __init__(
        self,
        classes: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        *,
        blocks: int | Sequence[int] = 2,
        stem: int = 64,
        taps: int = 3,
        reduction: int | None = 16,
        hidden: Sequence[int] = (),
        multi_label: bool = False,
        key: PRNGKeyArray,
    ):
        depths = of_each("ResNet1D", "blocks", blocks, len(channels))
        sizes = [*channels, *depths, stem, taps, *hidden]
        check_sizes("ResNet1D", classes, sizes if reduction is None else [*sizes, reduction])
        first, last, *keys = jax.random.split(key, sum(depths) + 2)
        inputs, rest = channels[0], iter(keys)
        layers: list[Layer] = [
            ConvolutionBlock(1, inputs, kernel=(1, stem), stride=(1, _STRIDE), key=first),
            MaxPool(_POOL),
        ]
        for stage, (outputs, depth) in enumerate(zip(channels, depths, strict=True)):
            for number in range(depth):
                stride = 2 if stage and not number else 1
                layers.append(
                    Residual(
                        inputs,
                        outputs,
                        taps=taps,
                        stride=stride,
                        reduction=reduction,
                        key=next(rest),
                    )
                )
                inputs = outputs
        self.trunk = Trunk(tuple(layers), channels[-1])
        self.head = Head(channels[-1], classes, hidden=hidden, multi_label=multi_label, key=last)
        self.least = _STRIDE * _POOL * 2 ** (len(channels) - 1)

    def planes(self, x: Batch) -> Planes:
        """The signals with height 1."""
        return signals_as_planes("ResNet1D", x, self.least)
