"""Variational autoencoders: an encoder q(z|x), a decoder p(x|z), a normal prior p(z).

>>> model = VAE.create(jax.random.key(0), (8, 8), latent=4, hidden=(16,))
>>> model.sample(jax.random.key(1), 3).shape
(3, 8, 8)
>>> batch = jnp.zeros((5, 8, 8))
>>> model.log_weights(batch, jax.random.key(2), 7).shape
(7, 5)
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.generative.backbones import Backbone, backbone
from etude.systems.generative.checks import shapes_of, sizes_of, temperature_of, weights_of
from etude.systems.generative.examples import read_examples, sample_labels
from etude.systems.generative.likelihoods import Likelihood, likelihood_of
from etude.systems.generative.perceptron import Perceptron

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Posterior(NamedTuple):
    """A normal distribution of latents with independent components, q(z|x).

    Attributes:
        mean: of each component.
        log_scale: log standard deviation of each component.
    """

    mean: Float[Array, "batch latent"]
    log_scale: Float[Array, "batch latent"]

    def draw(self, key: Key[Array, ""], count: int) -> Float[Array, "count batch latent"]:
        """Draws whose gradient reaches mean and scale (reparametrised)."""
        noise = jax.random.normal(key, (count, *self.mean.shape), self.mean.dtype)
        return self.mean + jnp.exp(self.log_scale) * noise

    def log_prob(self, z: Float[Array, "*many latent"]) -> Float[Array, "*many"]:
        """Log density of latents."""
        standard = (z - self.mean) * jnp.exp(-self.log_scale)
        return -(0.5 * standard**2 + self.log_scale + HALF_LOG_TAU).sum(-1)

    def kl(self) -> Float[Array, " batch"]:
        """KL(q || p) to the standard normal prior, in nats (Kingma and Welling 2014)."""
        squares = self.mean**2 + jnp.exp(2 * self.log_scale)
        return 0.5 * (squares - 1 - 2 * self.log_scale).sum(-1)


@final
class VAE(eqx.Module):
    """A variational autoencoder (Kingma and Welling 2014); with classes, a conditional one.

    Labels of a conditional model (Sohn et al. 2015) reach encoder and decoder. Batches are arrays,
    `(images, labels)`, or dictionaries with "images" and "labels".

    Attributes:
        encoder: examples, and one-hot labels -> means and log standard deviations of latents.
        decoder: latents, and one-hot labels -> the outputs that the likelihood reads.
        likelihood: p(x | outputs).
        shape: of an example.
        latent: the number of latent components.
        classes: number of classes; 0 for a model without labels.
        beta: weight of the KL term where the model's own objective is minimised, as
            `generative.Trainer` does; `Bound` has a weight of its own.
    """

    encoder: Perceptron | Backbone
    decoder: Perceptron | Backbone
    likelihood: Likelihood
    shape: tuple[int, ...] = eqx.field(static=True)
    latent: int = eqx.field(static=True)
    classes: int = eqx.field(static=True)
    beta: float = eqx.field(static=True, default=1.0)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        latent: int = 20,
        hidden: Sequence[int] | None = None,
        encoder: Any = None,
        decoder: Any = None,
        classes: int = 0,
        likelihood: Any = None,
        beta: float = 1.0,
    ) -> "VAE":
        """An untrained model.

        Args:
            key: random key of the weights.
            shape: of an example.
            latent: the number of latent components.
            hidden: widths of the layers of a perceptron that encodes, reversed in one that
                decodes; (500,) if None.
            encoder: `(x, labels) -> y` in its place, a `PictureEncoder` or your own; x is a batch
                `(n, *shape)`, labels are rows of class probabilities, or None for a model without
                classes, and y is `(n, 2 * latent)`: means, and log standard deviations.
            decoder: `(z, labels) -> outputs` likewise, a `PictureDecoder` or your own; z is
                `(n, latent)`, and the outputs are `(n, *shape)`.
            classes: number of classes; 0 for a model without labels.
            likelihood: p(x | outputs); None: Bernoulli.
            beta: weight of the KL term in the model's own objective.

        Raises:
            ConfigurationError: sizes below 1, classes or beta below 0, networks of other shapes or
                classes, or widths that no network has.
        """
        if hidden is not None and encoder is not None and decoder is not None:
            raise et.ConfigurationError(
                "VAE: hidden has the widths of perceptrons, and both networks are given. Leave it "
                "out."
            )
        hidden = (500,) if hidden is None else hidden
        shapes_of("VAE", shape=shape, hidden=hidden)
        sizes_of("VAE", latent=latent)
        sizes_of("VAE", least=0, classes=classes)
        weights_of("VAE", beta=beta)
        first, second = jax.random.split(key)
        values, widths, shape = math.prod(shape), tuple(hidden), tuple(shape)
        return cls(
            Perceptron(values + classes, widths, 2 * latent, key=first)
            if encoder is None
            else backbone("VAE", "encoder", encoder, shape, (2 * latent,), classes),
            Perceptron(latent + classes, widths[::-1], values, key=second)
            if decoder is None
            else backbone("VAE", "decoder", decoder, (latent,), shape, classes),
            likelihood_of("VAE", likelihood),
            shape,
            latent,
            classes,
            float(beta),
        )

    def read(self, batch: Any) -> tuple[Float[Array, "batch values"], Array | None]:
        """Examples as rows of floats, and rows of labels. Raises `DataError` for what cannot be."""
        x, labels = read_examples("VAE", batch, self.shape, self.classes)
        return self.likelihood.read("VAE", x), labels

    def encode(self, x: Float[Array, "batch values"], labels: Array | None = None) -> Posterior:
        """q(z|x), of rows as `read` gives them."""
        mean, log_scale = jnp.split(self.encoder(x, labels), 2, axis=-1)
        return Posterior(mean, log_scale)

    def decode(
        self, z: Float[Array, "*many latent"], labels: Array | None = None
    ) -> Float[Array, "*many values"]:
        """Outputs for the likelihood."""
        return self.decoder(z, labels)

    def log_weights(self, batch: Any, key: Key[Array, ""], count: int) -> Float[Array, "count n"]:
        """log p(x|z) + log p(z) - log q(z|x) of `count` draws from q for each example, in nats.

        Their mean is the evidence lower bound, the logarithm of the mean of their exponentials the
        importance-weighted one (Burda et al. 2016).
        """
        x, labels = self.read(batch)
        posterior = self.encode(x, labels)
        z = posterior.draw(key, count)
        prior = -(0.5 * z**2 + HALF_LOG_TAU).sum(-1)
        return self.likelihood.log_prob(self.decode(z, labels), x) + prior - posterior.log_prob(z)

    def sample(
        self,
        key: Key[Array, ""],
        count: int,
        labels: Any = None,
        *,
        temperature: float = 1.0,
        noise: bool = True,
    ) -> Float[Array, "count ..."]:
        """Examples drawn from the model.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            temperature: scale of the prior's standard deviation; below 1, more typical examples.
            noise: whether the likelihood is drawn from; without, its mean, as figures show it.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: a count below 1, or a temperature below 0.
        """
        temperature_of("VAE.sample", temperature)
        rows = sample_labels("VAE.sample", labels, count, self.classes)
        first, second = jax.random.split(key)
        z = temperature * jax.random.normal(first, (count, self.latent))
        outputs = self.decode(z, rows)
        x = self.likelihood.draw(second, outputs) if noise else self.likelihood.mean(outputs)
        return x.reshape(count, *self.shape)
