"""Convolutional networks of signals: a plain one, and one whose first kernel is wide.

>>> import jax.numpy as jnp
>>> network = CNN1D(3, (8, 16), kernels=7, strides=2, hidden=(), key=jax.random.key(0))
>>> network(jnp.zeros((5, 256))).shape
(5, 3)
"""

from collections.abc import Sequence
from math import prod
from typing import final

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

import etude as et
from etude.nn import ConvolutionBlock
from etude.systems.machinery.models.layers import (
    Head,
    Layer,
    MaxPool,
    Planes,
    Trunk,
    signals_as_planes,
)
from etude.systems.machinery.models.network import AbstractNetwork, Batch


@final
class CNN1D(AbstractNetwork):
    """Strided blocks of convolution, normalisation and rectifier, and a mean over time.

    As it stands it is made for records of 102,400 samples at 20,480 Hz, and takes signals of any
    length from 64 samples on, `(batch, samples)` or `(batch, 1, samples)`. A small one for windows
    of 2048 samples is `CNN1D(11, (32, 64, 128, 256), kernels=7, strides=2, hidden=())`.

    Args:
        classes: number of logits.
        channels: of each block.
        kernels: taps of each block; one number stands for all.
        strides: samples from one step of each block to the next; one number stands for all.
        hidden: widths of the dense layers before the logits.
        dropout: share of the values after each block that training leaves out.
        multi_label: whether a sample may be of several classes at once; see `Head`.
        key: random key of the initial weights.

    Raises:
        ModelError: not as many kernels or strides as blocks, sizes below 1, or a dropout outside
            0..1.
    """

    trunk: Trunk
    head: Head
    least: int = eqx.field(static=True)

    def __init__(
        self,
        classes: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        *,
        kernels: int | Sequence[int] = (64, 32, 16, 8, 4),
        strides: int | Sequence[int] = (4, 2, 2, 2, 2),
        hidden: Sequence[int] = (256,),
        dropout: float = 0.2,
        multi_label: bool = False,
        key: PRNGKeyArray,
    ):
        taps = of_each("CNN1D", "kernels", kernels, len(channels))
        steps = of_each("CNN1D", "strides", strides, len(channels))
        check_sizes("CNN1D", classes, [*channels, *taps, *steps, *hidden])
        check_dropout("CNN1D", dropout)
        *keys, last = jax.random.split(key, len(channels) + 1)
        layers: list[Layer] = []
        for inputs, outputs, tap, step, one in zip(
            (1, *channels), channels, taps, steps, keys, strict=False
        ):
            block = ConvolutionBlock(inputs, outputs, kernel=(1, tap), stride=(1, step), key=one)
            layers += [block, eqx.nn.Dropout(dropout)] if dropout else [block]
        self.trunk = Trunk(tuple(layers), channels[-1])
        self.head = Head(channels[-1], classes, hidden=hidden, multi_label=multi_label, key=last)
        self.least = prod(steps)

    def planes(self, x: Batch) -> Planes:
        """The signals with height 1."""
        return signals_as_planes("CNN1D", x, self.least)


@final
class WDCNN(AbstractNetwork):
    """A wide first kernel, which filters noise, then small ones with pooling.

    W. Zhang et al., "A new deep learning model for fault diagnosis with good anti-noise and domain
    adaptation ability on raw vibration signals", Sensors 17 (2017) 425; with a mean over time where
    theirs keeps the places, so that signals may have any length from 512 samples on,
    `(batch, samples)` or `(batch, 1, samples)`.

    Args:
        classes: number of logits.
        channels: of each block, the wide one first.
        kernel: taps of the first block.
        stride: of the first block.
        hidden: widths of the dense layers before the logits.
        multi_label: whether a sample may be of several classes at once; see `Head`.
        key: random key of the initial weights.

    Raises:
        ModelError: sizes below 1.

    >>> import jax.numpy as jnp
    >>> WDCNN(11, key=jax.random.key(0))(jnp.zeros((2, 1, 2048))).shape
    (2, 11)
    """

    trunk: Trunk
    head: Head
    least: int = eqx.field(static=True)

    def __init__(
        self,
        classes: int,
        channels: Sequence[int] = (16, 32, 64, 64, 64),
        *,
        kernel: int = 64,
        stride: int = 16,
        hidden: Sequence[int] = (100,),
        multi_label: bool = False,
        key: PRNGKeyArray,
    ):
        check_sizes("WDCNN", classes, [*channels, kernel, stride, *hidden])
        *keys, last = jax.random.split(key, len(channels) + 1)
        layers: list[Layer] = []
        for number, (inputs, outputs) in enumerate(zip((1, *channels), channels, strict=False)):
            tap, step = (kernel, stride) if number == 0 else (3, 1)
            block = ConvolutionBlock(
                inputs, outputs, kernel=(1, tap), stride=(1, step), key=keys[number]
            )
            layers += [block, MaxPool(2)]
        self.trunk = Trunk(tuple(layers), channels[-1])
        self.head = Head(channels[-1], classes, hidden=hidden, multi_label=multi_label, key=last)
        self.least = stride * 2 ** len(channels)

    def planes(self, x: Batch) -> Planes:
        """The signals with height 1."""
        return signals_as_planes("WDCNN", x, self.least)


def of_each(owner: str, name: str, given: int | Sequence[int], count: int) -> tuple[int, ...]:
    """A setting of each block; one stands for all. Raises `ModelError` for another number of them.

    >>> of_each("mine", "strides", 2, 3)
    (2, 2, 2)
    """
    values = (given,) * count if isinstance(given, int) else tuple(given)
    if len(values) != count:
        raise et.ModelError(
            f"{owner}: got {name}={list(values)} for {count} blocks; expected one number, or one "
            "for each block."
        )
    return values


def check_sizes(owner: str, classes: int, sizes: Sequence[int]) -> None:
    """Raises `ModelError` for fewer than one class, no block, or a size below 1."""
    if classes < 1 or not sizes or min(sizes) < 1:
        raise et.ModelError(
            f"{owner}: got classes={classes} and sizes {list(sizes)}; expected 1 or more of each."
        )


def check_dropout(owner: str, dropout: float) -> None:
    """Raises `ModelError` for a share that is not in 0..1, or is 1."""
    if not 0 <= dropout < 1:
        raise et.ModelError(f"{owner}: got dropout={dropout}; expected a share from 0, below 1.")
