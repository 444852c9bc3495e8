"""MADE: log p(x) of pictures of zeros and ones, each pixel given those before it.

>>> model = MADE.create(jax.random.key(0), (4, 4), hidden=(16,))
>>> model.log_prob(jnp.ones((5, 4, 4))).shape, model.sample(jax.random.key(1), 3).shape
((5,), (3, 4, 4))
"""

import math
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.generative.checks import shapes_of, sizes_of, temperature_of
from etude.systems.generative.examples import check_range, read_examples, sample_labels
from etude.systems.generative.likelihoods import Bernoulli
from etude.systems.generative.masked import MaskedPerceptron


@final
class MADE(eqx.Module):
    """A masked autoencoder for distribution estimation (Germain et al. 2015).

    One pass gives log p(x); a sample takes a pass for each pixel. With classes, labels reach every
    pixel.

    Attributes:
        net: pixels, and one-hot labels -> the logit of each pixel.
        shape: of an example.
        classes: number of classes; 0 for a model without labels.
    """

    net: MaskedPerceptron
    shape: tuple[int, ...] = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        hidden: Sequence[int] = (500,),
        order: Sequence[int] | None = None,
        classes: int = 0,
    ) -> "MADE":
        """An untrained model.

        Args:
            key: random key of the weights.
            shape: of an example.
            hidden: widths of the layers.
            order: the place of each pixel in the order, counted from 0; None: as they are read.
            classes: of a conditional model.

        Raises:
            ConfigurationError: sizes below 1, classes below 0, or an order that is not one.
        """
        shapes_of("MADE", shape=shape, hidden=hidden)
        sizes_of("MADE", least=0, classes=classes)
        values = math.prod(shape)
        if order is not None and len(order) != values:
            raise et.ConfigurationError(f"MADE: order has {len(order)} places for {values} pixels.")
        places = range(values) if order is None else order
        net = MaskedPerceptron(places, hidden, 1, context=classes, key=key)
        return cls(net, tuple(shape), classes)

    def read(self, batch: Any) -> tuple[Float[Array, "batch values"], Array | None]:
        """Examples as rows of floats, and rows of labels. Raises `DataError` for what cannot be."""
        x, labels = read_examples("MADE", batch, self.shape, self.classes)
        x = Bernoulli().read("MADE", x)
        check_range("MADE", x, 0, 1, "Binarise them: (x >= 0.5).astype('float32').", whole=True)
        return x, labels

    def logits(
        self, x: Float[Array, "batch values"], labels: Array | None = None
    ) -> Float[Array, "batch values"]:
        """Of each pixel, given those before it."""
        return self.net(x, labels)[..., 0]

    def log_prob(self, batch: Any) -> Float[Array, " n"]:
        """log p(x) of each example, in nats; under jit, NaN for pixels that are neither 0 nor 1.

        Raises:
            DataError: what is no example.
        """
        x, labels = self.read(batch)
        logs = Bernoulli().log_prob(self.logits(x, labels), x)
        return jnp.where(jnp.all((x == 0) | (x == 1), axis=1), logs, jnp.nan)

    def sample(
        self, key: Key[Array, ""], count: int, labels: Any = None, *, temperature: float = 1.0
    ) -> Float[Array, "count ..."]:
        """Pictures of zeros and ones, one pixel after the other.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            temperature: what logits are divided by; below 1, likelier pixels.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: a count below 1, or a temperature that is not above 0.
        """
        temperature_of("MADE.sample", temperature, above=True)
        rows = sample_labels("MADE.sample", labels, count, self.classes)
        order = jnp.asarray(self.net.order)

        def one(place: Array, x: Array) -> Array:
            logits = self.logits(x, rows) / temperature
            drawn = Bernoulli().draw(jax.random.fold_in(key, place), logits)
            return jnp.where(order == place, drawn, x)

        x = jax.lax.fori_loop(0, len(order), one, jnp.zeros((count, len(order))))
        return x.reshape(count, *self.shape)
