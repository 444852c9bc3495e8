"""Convolutional networks of pictures, and what they are made of.

>>> encoder = PictureEncoder.create(jax.random.key(0), (8, 8), 3, widths=(4, 8))
>>> encoder(jnp.zeros((5, 8, 8)), None).shape
(5, 3)
>>> decoder = PictureDecoder.create(jax.random.key(0), (8, 8), 3, widths=(4, 8))
>>> decoder(jnp.zeros((5, 3)), None).shape
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
from etude.systems.generative.checks import shapes_of, sizes_of
from etude.systems.generative.examples import with_labels
from etude.systems.generative.perceptron import Perceptron

GROUPS = 8


@final
class Convolution(eqx.Module):
    """A convolution that keeps the size, as one matrix product.

    On a CPU that is several times faster than XLA's convolution, forward and backward.
    """

    weight: Float[Array, "patch outputs"]
    bias: Float[Array, " outputs"]
    taps: int = eqx.field(static=True)

    def __init__(
        self, inputs: int, outputs: int, taps: int = 3, *, key: Key[Array, ""], gain: float = 1.0
    ):
        patch = taps * taps * inputs
        self.weight = gain / math.sqrt(patch) * jax.random.normal(key, (patch, outputs))
        self.bias = jnp.zeros(outputs)
        self.taps = taps

    def __call__(
        self, x: Float[Array, "n height width inputs"]
    ) -> Float[Array, "n height width outputs"]:
        if self.taps > 1:
            _, height, width, _ = x.shape
            around, taps = self.taps // 2, range(self.taps)
            padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
            x = jnp.concatenate(
                [padded[:, i : i + height, j : j + width] for i in taps for j in taps], axis=-1
            )
        return x @ self.weight + self.bias


@final
class GroupNorm(eqx.Module):
    """Normalises groups of channels of each picture (Wu and He 2018)."""

    scale: Float[Array, " channels"]
    bias: Float[Array, " channels"]
    groups: int = eqx.field(static=True)

    def __init__(self, channels: int):
        self.scale, self.bias = jnp.ones(channels), jnp.zeros(channels)
        self.groups = math.gcd(GROUPS, channels)

    def __call__(
        self, x: Float[Array, "n height width channels"]
    ) -> Float[Array, "n height width channels"]:
        grouped = x.reshape(*x.shape[:-1], self.groups, -1)
        mean = grouped.mean((1, 2, 4), keepdims=True)
        variance = jnp.square(grouped - mean).mean((1, 2, 4), keepdims=True)
        standard = (grouped - mean) * jax.lax.rsqrt(variance + 1e-5)
        return standard.reshape(x.shape) * self.scale + self.bias


def halved(x: Float[Array, "n height width c"]) -> Float[Array, "n rows columns c"]:
    """Means of squares of four."""
    count, height, width, channels = x.shape
    return x.reshape(count, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def doubled(x: Float[Array, "n height width c"]) -> Float[Array, "n rows columns c"]:
    """Each place four times."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


@final
class PictureEncoder(eqx.Module):
    """Pictures to features: convolutions at several sizes, and a perceptron of all places.

    As the encoder of a `VAE` and the critic of a `GAN`. A label adds numbers of its class to each
    channel of the first convolution.

    Attributes:
        labels: these numbers; None without classes.
        convolutions: one for each size, the largest first.
        perceptron: of all channels at all places of the smallest size.
        shape: of a picture, `(height, width)` or `(height, width, channels)`.
    """

    labels: Float[Array, "classes channels"] | None
    convolutions: tuple[Convolution, ...]
    perceptron: Perceptron
    shape: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        outputs: int,
        *,
        widths: Sequence[int] = (16, 32),
        hidden: Sequence[int] = (),
        classes: int = 0,
    ) -> "PictureEncoder":
        """An untrained network.

        Args:
            key: random key.
            shape: of a picture, `(height, width)` or `(height, width, channels)`.
            outputs: features; 2 `latent` for a `VAE`, 1 for the critic of a `GAN`.
            widths: channels at each size, the largest first; each size is half of the one before.
            hidden: widths of the perceptron's layers.
            classes: number of classes; 0 for a model without labels.

        Raises:
            ConfigurationError: sizes below 1, a shape of another rank, or whose sides cannot be
                halved so often.
        """
        sizes_of("PictureEncoder", outputs=outputs)
        rows, columns = _smallest("PictureEncoder", shape, widths, hidden, classes)
        first, second, *keys = jax.random.split(key, 2 + len(widths))
        entering = (math.prod(shape[2:]), *widths[:-1])
        return cls(
            jax.random.normal(first, (classes, widths[0])) if classes else None,
            _convolutions(entering, widths, keys),
            Perceptron(rows * columns * widths[-1], tuple(hidden), outputs, key=second),
            tuple(shape),
        )

    def __call__(
        self, x: Float[Array, "n *shape"], labels: Float[Array, "n classes"] | None
    ) -> Float[Array, "n outputs"]:
        _same_classes("PictureEncoder", 0 if self.labels is None else len(self.labels), labels)
        if x.shape[1:] != self.shape:  # as many values in another order would be another picture
            raise et.ConfigurationError(
                f"PictureEncoder: it was created with shape={self.shape}, and got pictures of "
                f"shape {x.shape[1:]}. Give both the same shape."
            )
        y = x.reshape(len(x), *self.shape[:2], -1)
        for number, convolution in enumerate(self.convolutions):
            y = convolution(halved(y) if number else y)
            if number == 0 and labels is not None and self.labels is not None:
                y = y + (labels.astype(y.dtype) @ self.labels)[:, None, None]
            y = jax.nn.gelu(y)
        return self.perceptron(y.reshape(len(y), -1))


@final
class PictureDecoder(eqx.Module):
    """Vectors to pictures: a perceptron, and convolutions at several sizes.

    As the decoder of a `VAE` and the generator of a `GAN`. Labels enter the perceptron.

    Attributes:
        perceptron: to all channels at all places of the smallest size.
        convolutions: one for each size, the smallest first.
        end: channels to values.
        shape: of a picture, `(height, width)` or `(height, width, channels)`.
        classes: number of classes; 0 for a model without labels.
    """

    perceptron: Perceptron
    convolutions: tuple[Convolution, ...]
    end: Convolution
    shape: tuple[int, ...] = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        inputs: int,
        *,
        widths: Sequence[int] = (16, 32),
        hidden: Sequence[int] = (),
        classes: int = 0,
    ) -> "PictureDecoder":
        """An untrained network, the mirror image of a `PictureEncoder` with the same settings.

        Args:
            key: random key.
            shape: of a picture, `(height, width)` or `(height, width, channels)`.
            inputs: components of a vector, `latent` of a `VAE` or a `GAN`.
            widths: channels at each size, the largest first; each size is half of the one before.
            hidden: widths of the layers of an encoder's perceptron; here they are reversed.
            classes: number of classes; 0 for a model without labels.

        Raises:
            ConfigurationError: sizes below 1, a shape of another rank, or whose sides cannot be
                halved so often.
        """
        sizes_of("PictureDecoder", inputs=inputs)
        rows, columns = _smallest("PictureDecoder", shape, widths, hidden, classes)
        first, second, *keys = jax.random.split(key, 2 + len(widths))
        upward = tuple(widths)[::-1]
        entering = (upward[0], *upward[:-1])
        return cls(
            Perceptron(
                inputs + classes, tuple(hidden)[::-1], rows * columns * upward[0], key=first
            ),
            _convolutions(entering, upward, keys),
            Convolution(upward[-1], math.prod(shape[2:]), key=second),
            tuple(shape),
            classes,
        )

    def __call__(
        self, z: Float[Array, "n inputs"], labels: Float[Array, "n classes"] | None
    ) -> Float[Array, "n *shape"]:
        _same_classes("PictureDecoder", self.classes, labels)
        y = jax.nn.gelu(self.perceptron(with_labels(z, labels)))
        factor = 2 ** (len(self.convolutions) - 1)
        y = y.reshape(len(z), self.shape[0] // factor, self.shape[1] // factor, -1)
        for number, convolution in enumerate(self.convolutions):
            y = jax.nn.gelu(convolution(doubled(y) if number else y))
        return self.end(y).reshape(len(z), *self.shape)


def _convolutions(
    inputs: Sequence[int], outputs: Sequence[int], keys: Sequence[Key[Array, ""]]
) -> tuple[Convolution, ...]:
    return tuple(
        Convolution(a, b, key=key) for a, b, key in zip(inputs, outputs, keys, strict=True)
    )


def _smallest(
    owner: str, shape: Sequence[int], widths: Sequence[int], hidden: Sequence[int], classes: int
) -> tuple[int, int]:
    """Sides of the smallest size. Raises `ConfigurationError` for settings that cannot be."""
    shapes_of(owner, shape=shape, widths=widths, hidden=hidden)
    sizes_of(owner, least=0, classes=classes)
    if len(shape) not in (2, 3) or not widths:
        raise et.ConfigurationError(
            f"{owner}: needs a shape (height, width) or (height, width, channels), and widths; got "
            f"shape={tuple(shape)} and widths={tuple(widths)}."
        )
    factor = 2 ** (len(widths) - 1)
    if shape[0] % factor or shape[1] % factor:
        raise et.ConfigurationError(
            f"{owner}: {len(widths)} sizes need sides that are multiples of {factor}; got "
            f"{shape[0]} x {shape[1]}. Give fewer widths."
        )
    return shape[0] // factor, shape[1] // factor


def _same_classes(owner: str, own: int, labels: Array | None) -> None:
    given = 0 if labels is None else labels.shape[-1]
    if own != given:
        raise et.ConfigurationError(
            f"{owner}: it was created with classes={own}, and the model has {given}. Give both the "
            "same number."
        )
