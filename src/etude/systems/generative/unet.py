"""A small convolutional U-Net for pictures (Ronneberger et al. 2015), as diffusion has them.

>>> net = UNet.create(jax.random.key(0), (8, 8), widths=(8, 16))
>>> jax.eval_shape(net, jnp.zeros((5, 8, 8)), jnp.zeros(5), None).shape
(5, 8, 8)
"""

import math
from collections.abc import Sequence
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.generative.checks import flags_of, shapes_of, sizes_of
from etude.systems.generative.convolutional import Convolution, GroupNorm, doubled, halved
from etude.systems.generative.denoisers import time_features

FEATURES = 64
HEAD = 16


@final
class Block(eqx.Module):
    """Two convolutions around which the input is carried; between them, time and label enter."""

    first: GroupNorm
    inward: Convolution
    told: eqx.nn.Linear
    second: GroupNorm
    outward: Convolution
    around: Convolution | None

    def __init__(self, inputs: int, outputs: int, known: int, *, key: Key[Array, ""]):
        keys = jax.random.split(key, 4)
        self.first, self.second = GroupNorm(inputs), GroupNorm(outputs)
        self.inward = Convolution(inputs, outputs, key=keys[0])
        self.told = eqx.nn.Linear(known, 2 * outputs, key=keys[1])
        # The block begins as the identity.
        self.outward = Convolution(outputs, outputs, key=keys[2], gain=0.0)
        self.around = None if inputs == outputs else Convolution(inputs, outputs, 1, key=keys[3])

    def __call__(
        self, x: Float[Array, "n height width inputs"], known: Float[Array, "n known"]
    ) -> Float[Array, "n height width outputs"]:
        y = self.inward(jax.nn.silu(self.first(x)))
        told = jax.vmap(self.told)(known)[:, None, None]
        scale, shift = jnp.split(told, 2, axis=-1)
        y = self.outward(jax.nn.silu(self.second(y) * (1 + scale) + shift))
        return y + (x if self.around is None else self.around(x))


@final
class Attention(eqx.Module):
    """Every place looks at every other (Vaswani et al. 2017); what it saw is added to it."""

    norm: GroupNorm
    inward: Convolution
    outward: Convolution

    def __init__(self, channels: int, *, key: Key[Array, ""]):
        one, two = jax.random.split(key)
        self.norm = GroupNorm(channels)
        self.inward = Convolution(channels, 3 * channels, 1, key=one)
        # It begins as the identity.
        self.outward = Convolution(channels, channels, 1, key=two, gain=0.0)

    def __call__(
        self, x: Float[Array, "n height width channels"]
    ) -> Float[Array, "n height width channels"]:
        count, height, width, _ = x.shape
        flat = self.inward(self.norm(x)).reshape(count, height * width, -1, 3, HEAD)
        query, key, value = jnp.moveaxis(flat, 3, 0)
        seen = jax.nn.dot_product_attention(query, key, value)
        return x + self.outward(seen.reshape(x.shape))


@final
class UNet(eqx.Module):
    """Blocks at several sizes on the way down and up again, joined at each size.

    Attributes:
        embed: the time as blocks are told it.
        labels: what is added for each class; None without classes.
        begin: patches to channels.
        down: blocks of each size, the largest first.
        attention: among the places of the smallest size, or None.
        up: blocks of each size but the smallest, the smallest first.
        norm: before `end`.
        end: channels to patches, zeros at first.
        shape: of a picture, `(height, width)` or `(height, width, channels)`.
        patch: side of the squares of pixels that are one place of the largest size.
    """

    embed: tuple[eqx.nn.Linear, eqx.nn.Linear]
    labels: Float[Array, "classes known"] | None
    begin: Convolution
    down: tuple[Block, ...]
    attention: Attention | None
    up: tuple[Block, ...]
    norm: GroupNorm
    end: Convolution
    shape: tuple[int, ...] = eqx.field(static=True)
    patch: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        widths: Sequence[int] = (32, 64),
        patch: int = 1,
        attention: bool = False,
        classes: int = 0,
    ) -> "UNet":
        """An untrained network, its output zeros.

        Args:
            key: random key.
            shape: of a picture, `(height, width)` or `(height, width, channels)`.
            widths: channels at each size, the largest first; each size is half of the one before.
            patch: side of the squares of pixels that are one place; 2 for a quarter of the cost.
            attention: whether places of the smallest size look at each other, with heads of 16
                channels.
            classes: number of classes; 0 for a model without labels.

        Raises:
            ConfigurationError: sizes below 1, a shape of another rank, or whose sides cannot be
                halved so often; attention with channels that are no whole number of heads.
        """
        shapes_of("UNet", widths=widths, shape=shape)
        sizes_of("UNet", patch=patch)
        flags_of("UNet", attention=attention)
        sizes_of("UNet", least=0, classes=classes)
        widths, shape = tuple(widths), tuple(shape)
        if len(shape) not in (2, 3) or not widths:
            raise et.ConfigurationError(
                "UNet: needs a shape (height, width) or (height, width, channels), widths and a "
                f"patch of at least 1; got shape={shape}, widths={widths} and patch={patch}."
            )
        factor = patch * 2 ** (len(widths) - 1)
        if shape[0] % factor or shape[1] % factor:
            raise et.ConfigurationError(
                f"UNet: {len(widths)} sizes with patches of {patch} need sides that are multiples "
                f"of {factor}; got {shape[0]} x {shape[1]}. Give fewer widths, or another patch."
            )
        if attention and widths[-1] % HEAD:
            raise et.ConfigurationError(
                f"UNet: attention has heads of {HEAD} channels; got a last width of {widths[-1]}. "
                f"Give a multiple of {HEAD}, or attention=False."
            )
        known, values = 4 * widths[0], patch * patch * math.prod(shape[2:])
        keys = iter(jax.random.split(key, 2 * len(widths) + 4))
        embed = (
            eqx.nn.Linear(FEATURES, known, key=next(keys)),
            eqx.nn.Linear(known, known, key=next(keys)),
        )
        labels = jax.random.normal(next(keys), (classes, known)) if classes else None
        begin = Convolution(values, widths[0], key=next(keys))
        entering = (widths[0], *widths[:-1])
        down = tuple(
            Block(a, b, known, key=next(keys)) for a, b in zip(entering, widths, strict=True)
        )
        up = tuple(
            Block(a + b, b, known, key=next(keys))
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        end = Convolution(widths[0], values, key=next(keys), gain=0.0)
        looking = Attention(widths[-1], key=jax.random.fold_in(key, 1)) if attention else None
        return cls(embed, labels, begin, down, looking, up, GroupNorm(widths[0]), end, shape, patch)

    def __call__(
        self,
        x: Float[Array, "n *shape"],
        time: Float[Array, " n"],
        labels: Float[Array, "n classes"] | None,
    ) -> Float[Array, "n *shape"]:
        own = 0 if self.labels is None else len(self.labels)
        given = 0 if labels is None else labels.shape[-1]
        if own != given:
            raise et.ConfigurationError(
                f"UNet: it was created with classes={own}, and the model has {given}. Give both "
                "the same number."
            )
        first, second = map(jax.vmap, self.embed)
        known = second(jax.nn.silu(first(time_features(time, FEATURES, 1000.0))))
        if labels is not None and self.labels is not None:
            known = known + labels.astype(x.dtype) @ self.labels
        known = jax.nn.silu(known)
        y, passed = self.begin(self._patches(x)), []
        for number, block in enumerate(self.down):
            if number:
                y = halved(y)
            y = block(y, known)
            passed.append(y)
        passed.pop()
        if self.attention is not None:
            y = self.attention(y)
        for block in self.up:
            y = block(jnp.concatenate([doubled(y), passed.pop()], axis=-1), known)
        return self._pixels(self.end(jax.nn.silu(self.norm(y))))

    def _patches(self, x: Array) -> Array:
        rows, columns = self.shape[0] // self.patch, self.shape[1] // self.patch
        split = x.reshape(len(x), rows, self.patch, columns, self.patch, -1)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(len(x), rows, columns, -1)

    def _pixels(self, y: Array) -> Array:
        count, rows, columns, _ = y.shape
        split = y.reshape(count, rows, columns, self.patch, self.patch, -1)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(count, *self.shape)
