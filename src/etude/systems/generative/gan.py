"""Generative adversarial networks: a generator of examples, and a critic that scores them.

>>> model = GAN.create(jax.random.key(0), (2,), latent=4, hidden=(16,))
>>> model.sample(jax.random.key(1), 3).shape, model.score(jnp.zeros((5, 2))).shape
((3, 2), (5,))
"""

import math
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.generative.backbones import Backbone, backbone
from etude.systems.generative.checks import flags_of, shapes_of, sizes_of, temperature_of
from etude.systems.generative.examples import check_range, read_examples, sample_labels
from etude.systems.generative.perceptron import Perceptron
from etude.systems.generative.space import is_interval
from etude.systems.generative.spectral import SpectralNorm


@final
class GAN(eqx.Module):
    """A generative adversarial network (Goodfellow et al. 2014).

    With classes it is conditional (Mirza and Osindero 2014): labels reach generator and critic.
    `Adversarial` has its objectives. Batches are arrays, `(images, labels)`, or dictionaries with
    "images" and "labels"; examples are real numbers.

    Attributes:
        generator: latents, and one-hot labels -> examples.
        critic: examples, and one-hot labels -> a score, higher for what looks like data.
        norm: spectral normalisation of the critic, or None.
        shape: of an example.
        latent: components of the noise that an example is made of.
        classes: number of classes; 0 for a model without labels.
        bounds: lowest and highest value of an example, or None for the real line.
    """

    generator: Perceptron | Backbone
    critic: Perceptron | Backbone
    norm: SpectralNorm | None
    shape: tuple[int, ...] = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    classes: int = eqx.field(static=True)
    bounds: tuple[float, float] | None = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        latent: int = 16,
        hidden: Sequence[int] | None = None,
        generator: Any = None,
        critic: Any = None,
        classes: int = 0,
        spectral: bool = False,
        bounds: Sequence[float] | None = None,
    ) -> "GAN":
        """An untrained model.

        Args:
            key: random key of the weights.
            shape: of an example.
            latent: components of the noise that an example is made of.
            hidden: widths of the layers of a perceptron that generates, reversed in one that
                scores; (128, 128) if None.
            generator: `(z, labels) -> x` in its place, a `PictureDecoder` or your own; z is a batch
                `(n, latent)`, labels are rows of class probabilities, or None for a model without
                classes, and x is `(n, *shape)`.
            critic: `(x, labels) -> score` likewise, a `PictureEncoder` or your own; x is
                `(n, *shape)`, and the scores are `(n, 1)`.
            classes: number of classes; 0 for a model without labels.
            spectral: whether the weights of the critic are divided by their spectral norms.
            bounds: lowest and highest value of an example, (0, 1) for pictures: the generator ends
                with a sigmoid. None: the real line.

        Raises:
            ConfigurationError: sizes below 1, classes below 0, bounds that are no interval,
                networks of other shapes or classes, widths that no network has, or `spectral` of
                a critic without weights.
        """
        if hidden is not None and generator is not None and critic is not None:
            raise et.ConfigurationError(
                "GAN: hidden has the widths of perceptrons, and both networks are given. Leave it "
                "out."
            )
        hidden = (128, 128) if hidden is None else hidden
        shapes_of("GAN", shape=shape, hidden=hidden)
        sizes_of("GAN", latent=latent)
        sizes_of("GAN", least=0, classes=classes)
        flags_of("GAN", spectral=spectral)
        ends: Any = tuple(bounds) if isinstance(bounds, list) else bounds
        if ends is not None and not is_interval(ends):
            raise et.ConfigurationError(
                f"GAN: bounds are a lower and a higher number, or None; got {bounds!r}."
            )
        first, second, third = jax.random.split(key, 3)
        values, widths, shape = math.prod(shape), tuple(hidden), tuple(shape)
        scorer = (
            Perceptron(values + classes, widths[::-1], 1, key=second)
            if critic is None
            else backbone("GAN", "critic", critic, shape, (1,), classes)
        )
        return cls(
            Perceptron(latent + classes, widths, values, key=first)
            if generator is None
            else backbone("GAN", "generator", generator, (latent,), shape, classes),
            scorer,
            SpectralNorm.create(third, scorer) if spectral else None,
            shape,
            latent,
            classes,
            ends,
        )

    def read(self, batch: Any) -> tuple[Float[Array, "batch values"], Array | None]:
        """Examples as rows of floats, and rows of labels.

        Under jit a row with a value outside of the bounds is NaN.

        Raises:
            DataError: another form, missing labels, examples of integers, or values outside of the
                bounds.
        """
        x, labels = read_examples("GAN", batch, self.shape, self.classes)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise et.DataError(
                f"GAN: examples are real numbers; got {x.dtype}. Give floats, such as intensities "
                "divided by 255."
            )
        x = jnp.asarray(x)
        if self.bounds is not None:
            low, high = self.bounds
            check_range("GAN", x, low, high, "Scale them, or give other bounds.")
            inside = jnp.all((x >= low) & (x <= high), axis=-1, keepdims=True)
            x = jnp.where(inside, x, jnp.nan)
        return x, labels

    def generate(
        self, z: Float[Array, "n latent"], labels: Array | None = None
    ) -> Float[Array, "n values"]:
        """Examples of latents, as rows."""
        x = self.generator(z, labels)
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * jax.nn.sigmoid(x)

    def normalised(self) -> tuple[Perceptron | Backbone, "GAN"]:
        """The critic as it scores, and the model with its normalisation one step further."""
        if self.norm is None:
            return self.critic, self
        critic, norm = self.norm(self.critic)
        return critic, eqx.tree_at(lambda model: model.norm, self, norm)

    def score(self, batch: Any) -> Float[Array, " batch"]:
        """The critic's score of each example."""
        x, labels = self.read(batch)
        critic, _ = self.normalised()
        return critic(x, labels)[..., 0]

    def sample(
        self, key: Key[Array, ""], count: int, labels: Any = None, *, temperature: float = 1.0
    ) -> Float[Array, "count ..."]:
        """Examples drawn from the model.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            temperature: scale of the latents' standard deviation.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: a count below 1, or a temperature below 0.
        """
        temperature_of("GAN.sample", temperature)
        rows = sample_labels("GAN.sample", labels, count, self.classes)
        z = temperature * jax.random.normal(key, (count, self.latent))
        return self.generate(z, rows).reshape(count, *self.shape)
