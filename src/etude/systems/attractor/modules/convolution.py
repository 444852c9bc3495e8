"""Two-dimensional convolutions between, and within, layers of shape (height, width, channels)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

import etude as et
from etude.systems.attractor.modules.base import (
    AbstractConnection,
    AbstractLayer,
    fixed,
    sign,
    silent,
)


class Conv2D(AbstractConnection):
    """The message ``strength * convolve(x, kernel)``, zero-padded to ``ceil(size / stride)``.

    Args:
        in_channels: channels of the sender.
        out_channels: channels of the receiver.
        kernel_size: side of the square kernel, in pixels.
        strength: factor of the message, a scalar or one per channel; not part of the updates.
        threshold: stability asked for by the rule, a scalar or one per channel.
        stride: pixels of the sender per pixel of the receiver.
        key: random key; the kernel is normal with variance one over its fan-in.
        dtype: type of the kernel.

    Raises:
        ValueError: strength or threshold does not broadcast to the channels.

    >>> conv = Conv2D(1, 4, 3, strength=1.0, threshold=0.5, stride=2, key=jax.random.key(0))
    >>> conv(jnp.ones((5, 8, 8, 1))).shape
    (5, 4, 4, 4)
    """

    kernel: Float[Array, "height width inputs outputs"]
    strength: et.Fixed
    threshold: et.Fixed
    stride: int = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        strength: ArrayLike,
        threshold: ArrayLike,
        key: PRNGKeyArray,
        stride: int = 1,
        dtype: DTypeLike = jnp.float32,
    ):
        dtype = jnp.dtype(dtype)
        self.kernel = _normal_kernel(key, kernel_size, in_channels, out_channels, dtype)
        self.strength = fixed("Conv2D: strength", strength, (out_channels,), dtype)
        self.threshold = fixed("Conv2D: threshold", threshold, (out_channels,), dtype)
        self.stride = stride

    def operator(self) -> Callable[[Array], Array]:
        return lambda x: _convolve(x, self.kernel, self.stride) * self.strength.value

    def correlate(self, x: Array, signal: Array) -> Conv2D:
        update = _correlate(x, signal, self.kernel, self.stride)
        return eqx.tree_at(lambda m: m.kernel, silent(self), update)


class RecurrentConv2D(AbstractLayer):
    """Binary units on a grid, coupled by a convolution; the sign of a field of zero is +1.

    A unit's coupling to itself (the central tap, from a channel to the same channel) is `j_d`
    and is not part of the trained kernel.

    Args:
        channels: channels of the layer.
        kernel_size: side of the square kernel, odd, in pixels.
        j_d: self-coupling, a scalar or one per channel.
        threshold: stability asked for by the rule, a scalar or one per channel.
        key: random key; the kernel is normal with variance one over its fan-in.
        dtype: type of the kernel.

    Raises:
        ValueError: an even kernel, which has no centre; or a shape that does not broadcast.

    >>> layer = RecurrentConv2D(2, 3, j_d=0.5, threshold=1.0, key=jax.random.key(0))
    >>> jnp.diag(layer.coupling[1, 1]).tolist()
    [0.5, 0.5]
    """

    kernel: Float[Array, "height width channels channels"]
    self_coupling: et.Fixed
    threshold: et.Fixed

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        j_d: ArrayLike,
        threshold: ArrayLike,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        if kernel_size % 2 == 0:
            raise ValueError(
                f"RecurrentConv2D: kernel_size={kernel_size} has no centre; use an odd one."
            )
        dtype = jnp.dtype(dtype)
        kernel = _normal_kernel(key, kernel_size, channels, channels, dtype)
        self.kernel = _with_centre(kernel, 0)
        self.self_coupling = fixed("RecurrentConv2D: j_d", j_d, (channels,), dtype)
        self.threshold = fixed("RecurrentConv2D: threshold", threshold, (channels,), dtype)

    @property
    def coupling(self) -> Float[Array, "height width channels channels"]:
        """The kernel as the dynamics sees it, self-couplings included."""
        return _with_centre(self.kernel, self.self_coupling.value)

    def operator(self) -> Callable[[Array], Array]:
        coupling = self.coupling
        return lambda x: _convolve(x, coupling, 1)

    def correlate(self, x: Array, signal: Array) -> RecurrentConv2D:
        update = _with_centre(_correlate(x, signal, self.kernel, 1), 0)
        return eqx.tree_at(lambda m: m.kernel, silent(self), update)

    def activation(self, field: Array) -> Array:
        return sign(field)


def _normal_kernel(
    key: PRNGKeyArray, size: int, inputs: int, outputs: int, dtype: jnp.dtype
) -> Array:
    scale = 1 / math.sqrt(size * size * inputs)
    return jax.random.normal(key, (size, size, inputs, outputs), dtype) * scale


def _convolve(x: Array, kernel: Array, stride: int) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _correlate(x: Array, signal: Array, kernel: Array, stride: int) -> Array:
    # The convolution is linear in the kernel; its transpose sums pre x post over batch and pixels.
    transpose = jax.linear_transpose(partial(_convolve, x, stride=stride), kernel)
    return transpose(signal)[0]


def _with_centre(kernel: Array, diagonal: ArrayLike) -> Array:
    centre, channels = kernel.shape[0] // 2, kernel.shape[-1]
    tap = jnp.where(jnp.eye(channels, dtype=bool), diagonal, kernel[centre, centre])
    return kernel.at[centre, centre].set(tap)
