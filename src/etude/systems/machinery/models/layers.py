"""What the networks are made of beside `ConvolutionBlock`, and how a batch goes through them.

Whatever normalises by the batch returns itself anew with its statistics moved, and so does what
holds it, up to the whole model, which the loss returns to the engine.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

import etude as et
from etude.nn import ConvolutionBlock

#: Signals or spectrograms as a convolution takes them; signals have height 1.
Planes: TypeAlias = Float[Array, "batch height width channels"]
#: What is drawn anew in each step of training; None where nothing is drawn.
MaybeKey: TypeAlias = Key[Array, ""] | None


class MaxPool(eqx.Module):
    """The largest of `window` neighbours along the width, and the next `window` after them.

    >>> MaxPool(2)(jnp.arange(5.0).reshape(1, 1, 5, 1)).ravel().tolist()
    [1.0, 3.0, 4.0]
    """

    window: int = eqx.field(static=True)

    def __call__(self, x: Planes) -> Float[Array, "batch height columns channels"]:
        """The batch with `window` times fewer columns, rounded up."""
        window = (1, 1, self.window, 1)
        low = np.array(-np.inf, x.dtype)
        return jax.lax.reduce_window(x, low, jax.lax.max, window, window, "SAME")


class SqueezeExcite(eqx.Module):
    """Weighs each channel by what all of them are on average (Hu, Shen and Sun 2018).

    Args:
        channels: of what is weighed.
        reduction: how many times fewer channels there are in the middle.
        key: random key of the initial weights.
    """

    squeeze: eqx.nn.Linear
    excite: eqx.nn.Linear

    def __init__(self, channels: int, *, reduction: int = 16, key: PRNGKeyArray):
        a, b = jax.random.split(key)
        middle = max(channels // reduction, 1)
        self.squeeze = eqx.nn.Linear(channels, middle, key=a)
        self.excite = eqx.nn.Linear(middle, channels, key=b)

    def __call__(self, x: Planes) -> Planes:
        """The batch, weighed."""
        weight = jax.vmap(lambda mean: self.excite(jax.nn.relu(self.squeeze(mean))))(pooled(x))
        return x * jax.nn.sigmoid(weight)[:, None, None, :]


class Residual(eqx.Module):
    """Two blocks and a way around them (He et al. 2016), with squeeze and excite.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        taps: of both convolutions.
        stride: of the first.
        reduction: that of `SqueezeExcite`; None: without it.
        key: random key of the initial weights.
    """

    first: ConvolutionBlock
    second: ConvolutionBlock
    weigh: SqueezeExcite | None
    around: ConvolutionBlock | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        taps: int,
        stride: int,
        reduction: int | None,
        key: PRNGKeyArray,
    ):
        a, b, c, d = jax.random.split(key, 4)
        step = (1, stride)
        self.first = ConvolutionBlock(inputs, outputs, kernel=(1, taps), stride=step, key=a)
        self.second = ConvolutionBlock(outputs, outputs, kernel=(1, taps), rectify=False, key=b)
        weigh = reduction is not None
        self.weigh = SqueezeExcite(outputs, reduction=reduction, key=c) if weigh else None
        same = inputs == outputs and stride == 1
        self.around = (
            None
            if same
            else ConvolutionBlock(inputs, outputs, kernel=(1, 1), stride=step, rectify=False, key=d)
        )

    def __call__(
        self, x: Planes
    ) -> tuple[Float[Array, "batch height columns outputs"], "Residual"]:
        """What comes out, and the layer with its statistics moved."""
        y, first = self.first(x)
        y, second = self.second(y)
        if self.weigh is not None:
            y = self.weigh(y)
        if self.around is None:
            around = None
        else:
            x, around = self.around(x)
        parts = lambda layer: (layer.first, layer.second, layer.around)  # noqa: E731
        moved = eqx.tree_at(parts, self, (first, second, around), is_leaf=lambda node: node is None)
        return jax.nn.relu(x + y), moved


Layer: TypeAlias = ConvolutionBlock | Residual | MaxPool | eqx.nn.Dropout


class Trunk(eqx.Module):
    """Layers one after the other, then the mean over height and width.

    Attributes:
        layers: of any of the kinds of `Layer`.
        outputs: numbers that come out for each sample.
    """

    layers: tuple[Layer, ...]
    outputs: int = eqx.field(static=True)

    def __call__(
        self, x: Planes, key: MaybeKey = None
    ) -> tuple[Float[Array, "batch features"], "Trunk"]:
        """Features of each sample, and the trunk with its statistics moved."""
        moved: list[Any] = []
        for number, layer in enumerate(self.layers):
            if isinstance(layer, eqx.nn.Dropout):
                x = layer(x, key=None if key is None else jax.random.fold_in(key, number))
            elif isinstance(layer, MaxPool):
                x = layer(x)
            else:
                x, layer = layer(x)
            moved.append(layer)
        return pooled(x), Trunk(tuple(moved), self.outputs)


class Head(eqx.Module):
    """Dense layers from features to logits, and from these to probabilities.

    Logits are divided by a temperature before they become probabilities: 1, until `calibration`
    finds a better one. No optimizer sees it.

    Args:
        inputs: number of features.
        classes: number of logits.
        hidden: widths of the rectified layers before the last.
        multi_label: whether a sample may be of several classes at once, or of none.
        key: random key of the initial weights.
    """

    layers: tuple[eqx.nn.Linear, ...]
    temperature: et.Carry
    multi_label: bool = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        hidden: Sequence[int] = (),
        multi_label: bool = False,
        key: PRNGKeyArray,
    ):
        sizes = [inputs, *hidden, classes]
        if min(sizes) < 1:
            raise et.ModelError(
                f"got {classes} classes and layers of {list(hidden)}; expected 1 or more of each."
            )
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            eqx.nn.Linear(a, b, key=k) for a, b, k in zip(sizes, sizes[1:], keys, strict=False)
        )
        self.temperature = et.Carry(1.0)
        self.multi_label = multi_label

    def __call__(self, features: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """The logits."""
        *hidden, last = self.layers
        for layer in hidden:
            features = jax.nn.relu(jax.vmap(layer)(features))
        return jax.vmap(last)(features)

    def probabilities(self, logits: Float[Array, "batch classes"]) -> Float[Array, "batch classes"]:
        """Of the classes, which add up to 1; of several labels, each by itself."""
        logits = et.widened(logits)
        logits = logits / self.temperature.value.astype(logits.dtype)
        return jax.nn.sigmoid(logits) if self.multi_label else jax.nn.softmax(logits, axis=-1)


def pooled(x: Planes) -> Float[Array, "batch channels"]:
    """The mean over height and width, summed in single precision at least."""
    return jnp.mean(et.widened(x), axis=(1, 2)).astype(x.dtype)


def signals_as_planes(owner: str, signals: Any, least: int) -> Planes:
    """`(batch, samples)` or `(batch, 1, samples)` as `(batch, 1, samples, 1)`.

    Raises `DataError` for another shape, for several channels, and for less than `least` samples.

    >>> signals_as_planes("mine", np.zeros((2, 8), np.float32), 4).shape
    (2, 1, 8, 1)
    """
    x = _floats(owner, signals)
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[1] != 1):
        raise et.DataError(
            f"{owner}: got signals of shape {x.shape}, expected (batch, samples) or "
            "(batch, 1, samples). Give one channel, and a batch of one as signal[None]."
        )
    if x.shape[-1] < least:
        raise et.DataError(
            f"{owner}: got signals of {x.shape[-1]} samples, expected at least {least}, for one "
            "step of the last layer. Cut longer windows, or take smaller strides."
        )
    return x.reshape(x.shape[0], 1, x.shape[-1], 1)


def spectrograms_as_planes(owner: str, spectrograms: Any) -> Planes:
    """`(batch, freq, time)` or `(batch, 1, freq, time)` as `(batch, freq, time, 1)`.

    Raises `DataError` for another shape, and for several channels.
    """
    x = _floats(owner, spectrograms)
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[1] != 1) or 0 in x.shape:
        raise et.DataError(
            f"{owner}: got spectrograms of shape {x.shape}, expected (batch, freq, time) or "
            "(batch, 1, freq, time)."
        )
    return x.reshape(x.shape[0], *x.shape[-2:], 1)


def _floats(owner: str, values: Any) -> Float[Array, "..."]:
    x = jnp.asarray(values)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise et.DataError(f"{owner}: got {x.dtype}, expected floating-point numbers. Scale them.")
    return x
