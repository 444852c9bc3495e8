"""Layers: products, convolutions, pooling, normalisation, dropout.

Statistics and means are in single precision at least, as everywhere here.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from etude.adapters.aten.types import common
from etude.engine.precision import widened
from etude.errors import ModelError, RuleError

#: Stands for a result that is not computed; nothing can be done with it.
UNUSED = "an output that is not supported"


def matmul(a: Array, b: Array) -> Array:
    """The product of two matrices, or of batches of them."""
    return jnp.matmul(*common(a, b))


def addmm(bias: Array, a: Array, b: Array, *, beta: Any = 1, alpha: Any = 1) -> Array:
    """The product with a bias, each with a factor."""
    bias, product = common(bias, matmul(a, b))
    return (bias if beta == 1 else bias * beta) + (product if alpha == 1 else product * alpha)


def convolution(
    x: Float[Array, "batch channels *space"],
    weight: Float[Array, "..."],
    bias: Float[Array, " outputs"] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Float[Array, "batch outputs *places"]:
    """A convolution, or the transposed one, over any number of axes."""
    x, weight = common(x, weight)
    axes = tuple(range(2, x.ndim))
    sides = [(pad, pad) for pad in padding]
    if transposed:
        # Of each group the axes of inputs and outputs are exchanged, and the kernels are reversed.
        weight = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        weight = jnp.flip(weight.reshape(-1, *weight.shape[2:]), axes)
        reach = [d * (size - 1) for d, size in zip(dilation, weight.shape[2:], strict=True)]
        sides = [
            (far - pad, far - pad + more)
            for far, pad, more in zip(reach, padding, output_padding, strict=True)
        ]
    y = lax.conv_general_dilated(
        x,
        weight,
        window_strides=[1] * len(axes) if transposed else stride,
        padding=sides,
        lhs_dilation=stride if transposed else None,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )
    if bias is None:
        return y
    y, bias = common(y, bias)
    return y + bias.reshape(-1, *[1] * len(axes))


def _windows(
    x: Array, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Sizes, strides and padding of windows over the last axes, one number for every axis of x."""
    count = len(size)
    stride = stride or size
    stride, padding, dilation = (
        list(one) * count if len(one) == 1 else list(one) for one in (stride, padding, dilation)
    )
    sides = []
    for length, k, s, p, d in zip(x.shape[-count:], size, stride, padding, dilation, strict=True):
        room = length + 2 * p - d * (k - 1) - 1
        steps = -(-room // s) if ceil else room // s
        if ceil and steps * s >= length + p:  # a window begins within the input or its left side
            steps -= 1
        sides.append((p, max(p, steps * s + d * (k - 1) + 1 - length - p)))
    before = (1,) * (x.ndim - count)
    return (*before, *size), (*before, *stride), [(0, 0)] * len(before) + sides


def max_pool(
    x: Array,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil: bool = False,
) -> tuple[Array, str]:
    """Maxima of windows; not their places."""
    if any(one != 1 for one in dilation):
        raise ModelError("max-pooling has no dilation here")
    windows, strides, sides = _windows(x, size, stride, padding, dilation, ceil)
    floor = -jnp.inf if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.iinfo(x.dtype).min
    return lax.reduce_window(
        x, np.asarray(floor, x.dtype), lax.max, windows, strides, sides
    ), UNUSED


def average_pool(
    x: Array,
    size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil: bool = False,
    count_include_pad: bool = True,
    divisor: int | None = None,
) -> Array:
    """Means of windows, over what `count_include_pad` says, or sums over a divisor."""
    windows, strides, sides = _windows(x, size, stride, padding, (1,), ceil)
    zero = np.zeros((), x.dtype)
    total = lax.reduce_window(x, zero, lax.add, windows, strides, sides)
    if divisor is not None:
        return total / divisor
    ones, counted = jnp.ones(x.shape[-len(size) :], x.dtype), sides[-len(size) :]
    if count_include_pad:
        # What was asked for on both sides, not what the last window reaches beyond it.
        ones = jnp.pad(ones, [(asked, asked) for asked, _ in counted], constant_values=1)
        counted = [(0, after - asked) for asked, after in counted]
    count = len(size)
    return total / lax.reduce_window(
        ones, zero, lax.add, windows[-count:], strides[-count:], counted
    )


def _mixed(x: Array, matrices: Sequence[np.ndarray]) -> Array:
    """The last axes, each multiplied by a matrix of its own."""
    y = widened(x)
    for axis, matrix in zip(range(x.ndim - len(matrices), x.ndim), matrices, strict=True):
        product = jnp.tensordot(y, jnp.asarray(matrix, y.dtype), ((axis,), (1,)))
        y = jnp.moveaxis(product, -1, axis)
    return y.astype(x.dtype)


def adaptive_average(x: Array, sizes: Sequence[int]) -> Array:
    """Means of as many windows as asked for, which may overlap by one place."""

    def means(size: int, length: int) -> np.ndarray:
        windows = np.arange(size)
        start, end = windows * length // size, -(-(windows + 1) * length // size)
        inside = (np.arange(length) >= start[:, None]) & (np.arange(length) < end[:, None])
        return inside / inside.sum(1, keepdims=True)

    return _mixed(x, list(map(means, sizes, x.shape[-len(sizes) :])))


def _resized(x: Array, sizes: Any, factors: Any) -> list[tuple[int, int, float]]:
    """Length, new length and step of each axis of a picture, the step in places of the old one."""
    lengths = x.shape[2:]
    if factors is None:
        return [(old, new, old / new) for old, new in zip(lengths, sizes, strict=True)]
    return [
        (old, int(old * float(factor)), 1 / factor)
        for old, factor in zip(lengths, factors, strict=True)
    ]


def nearest(x: Array, sizes: Sequence[int] | None, factors: Sequence[float] | None) -> Array:
    """The nearest pixels of a larger or smaller picture."""
    for axis, (old, new, step) in enumerate(_resized(x, sizes, factors), 2):
        place = np.floor(np.arange(new, dtype=np.float32) * np.float32(step)).astype(int)
        x = jnp.take(x, np.minimum(place, old - 1), axis)
    return x


def linear(
    x: Array, sizes: Sequence[int] | None, corners: bool, factors: Sequence[float] | None
) -> Array:
    """Linear interpolation along each axis; `corners` keeps the outermost pixels where they are."""

    def weights(old: int, new: int, step: float) -> np.ndarray:
        if corners:
            place = np.arange(new) * ((old - 1) / max(new - 1, 1))
        else:
            place = np.maximum((np.arange(new) + 0.5) * step - 0.5, 0)
        # A place at or beyond the last pixel is that pixel.
        distance = np.minimum(place, old - 1)[:, None] - np.arange(old)
        return np.maximum(1 - np.abs(distance), 0)

    return _mixed(x, [weights(*axis) for axis in _resized(x, sizes, factors)])


def _normalised(
    x: Array, mean: Array, variance: Array, weight: Array | None, bias: Array | None, epsilon: float
) -> tuple[Array, Array]:
    """As `x`, and the reciprocal of the deviation."""
    scale = lax.rsqrt(variance + epsilon)
    y = (widened(x) - mean) * scale
    if weight is not None:
        y = y * widened(weight)
    if bias is not None:
        y = y + widened(bias)
    return y.astype(x.dtype), scale


def _moments(x: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    x = widened(x)
    return x.mean(axes, keepdims=True), x.var(axes, keepdims=True)


def _by_channel(x: Array, *values: Array | None) -> list[Any]:
    shape = 1, -1, *[1] * (x.ndim - 2)
    return [None if one is None else widened(one).reshape(shape) for one in values]


def batch_norm(
    x: Float[Array, "batch channels *space"],
    weight: Float[Array, " channels"] | None,
    bias: Float[Array, " channels"] | None,
    running_mean: Float[Array, " channels"],
    running_variance: Float[Array, " channels"],
    training: bool,
    momentum: float,
    epsilon: float,
) -> tuple[Array, ...]:
    """By the statistics of the batch: outputs, mean, 1 / deviation, and both running statistics.

    Outputs have the biased variance, the running one has the unbiased. Raises `RuleError` for one
    value a channel, which has no variance.
    """
    y, mean, scale, variance = _by_batch(x, weight, bias, epsilon)
    count = x.size // x.shape[1]

    def moved(old: Array, new: Array) -> Array:
        return ((1 - momentum) * widened(old) + momentum * lax.stop_gradient(new)).astype(old.dtype)

    unbiased = variance * (count / (count - 1))
    return y, mean, scale, moved(running_mean, mean), moved(running_variance, unbiased)


def _by_batch(x: Array, weight: Any, bias: Any, epsilon: float) -> tuple[Array, ...]:
    if x.size == x.shape[1]:
        raise RuleError(
            f"Batch normalisation needs more than one value per channel; got {x.shape}. Train on "
            "batches of two samples or more: drop_last=True leaves a short last one out."
        )
    mean, variance = _moments(x, (0, *range(2, x.ndim)))
    weight, bias = _by_channel(x, weight, bias)
    y, scale = _normalised(x, mean, variance, weight, bias, epsilon)
    return y, mean.reshape(-1), scale.reshape(-1), variance.reshape(-1)


def batch_norm_without_statistics(
    x: Array, weight: Any, bias: Any, training: bool, momentum: float, epsilon: float
) -> tuple[Array, ...]:
    """By the statistics of the batch, none of which are kept: outputs, mean, 1 / deviation."""
    return _by_batch(x, weight, bias, epsilon)[:3]


def batch_norm_by_statistics(
    x: Array, weight: Any, bias: Any, mean: Array, variance: Array, momentum: float, epsilon: float
) -> tuple[Array, str, str]:
    """By the running statistics."""
    weight, bias, mean, variance = _by_channel(x, weight, bias, mean, variance)
    return _normalised(x, mean, variance, weight, bias, epsilon)[0], UNUSED, UNUSED


def layer_norm(
    x: Array, shape: Sequence[int], weight: Any, bias: Any, epsilon: float
) -> tuple[Array, Array, Array]:
    """Over the last axes: outputs, mean, 1 / deviation."""
    mean, variance = _moments(x, range(x.ndim - len(shape), x.ndim))
    y, scale = _normalised(x, mean, variance, weight, bias, epsilon)
    return y, mean, scale


def group_norm(
    x: Array, weight: Any, bias: Any, batch: int, channels: int, size: int, groups: int, eps: float
) -> tuple[Array, str, str]:
    """Over groups of channels."""
    grouped = x.reshape(batch, groups, -1)
    mean, variance = _moments(grouped, (2,))
    y, _ = _normalised(grouped, mean, variance, None, None, eps)
    y = widened(y.reshape(x.shape))
    weight, bias = _by_channel(x, weight, bias)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).astype(x.dtype), UNUSED, UNUSED


LAYERS = {
    "_adaptive_avg_pool2d": adaptive_average,
    "_log_softmax": lambda x, dim, to_single: jax.nn.log_softmax(x, dim),
    "_native_batch_norm_legit no_stats": batch_norm_without_statistics,
    "_native_batch_norm_legit_functional": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm_by_statistics,
    "_softmax": lambda x, dim, to_single: jax.nn.softmax(x, dim),
    "addmm": addmm,
    "avg_pool1d": average_pool,
    "avg_pool2d": average_pool,
    "avg_pool3d": average_pool,
    "bmm": matmul,
    "convolution": convolution,
    "max_pool2d_with_indices": max_pool,
    "max_pool3d_with_indices": max_pool,
    "mm": matmul,
    "native_group_norm": group_norm,
    "native_layer_norm": layer_norm,
    "upsample_bilinear2d vec": linear,
    "upsample_linear1d vec": linear,
    "upsample_nearest1d vec": nearest,
    "upsample_nearest2d vec": nearest,
}
