"""What a decoder's outputs say of data: log p(x | outputs), means and draws, in nats per example.

Probabilities are never formed where their logarithm is wanted: a Bernoulli likelihood takes logits.
"""

import math
from typing import Any, Protocol, final, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.systems.generative.checks import positive_of
from etude.systems.generative.examples import check_range


@runtime_checkable
class Likelihood(Protocol):
    """The distribution of data given the outputs of a decoder, one output for each value."""

    def read(self, owner: str, x: Any) -> Float[Array, "..."]:
        """Data as floats.

        Raises `DataError` for a type that cannot be meant and, where they are seen, such values.
        """
        ...

    def log_prob(
        self, outputs: Float[Array, "*many values"], x: Float[Array, "*fewer values"]
    ) -> Float[Array, "*many"]:
        """Log density, summed over the values of an example; NaN for data outside of the range."""
        ...

    def mean(self, outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """The mean of the data."""
        ...

    def draw(self, key: Key[Array, ""], outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """Data drawn at random."""
        ...


def likelihood_of(owner: str, likelihood: Any) -> Likelihood:
    """A likelihood, Bernoulli if None. Raises `ConfigurationError` for what is none.

    >>> likelihood_of("VAE", "gaussian")
    Traceback (most recent call last):
        ...
    etude.errors.ConfigurationError: VAE: likelihood is Bernoulli(), Gaussian() or an object with \
    read, log_prob, mean and draw; got 'gaussian'.
    """
    if likelihood is None:
        return Bernoulli()
    if isinstance(likelihood, type) or not isinstance(likelihood, Likelihood):
        raise et.ConfigurationError(
            f"{owner}: likelihood is Bernoulli(), Gaussian() or an object with read, log_prob, "
            f"mean and draw; got {likelihood!r}."
        )
    return likelihood


@final
class Bernoulli(eqx.Module):
    """Values from 0 to 1, each the probability of a coin, from logits.

    Values between are taken as probabilities: the cross-entropy against them.

    >>> x = jnp.array([[1.0, 0.0]])
    >>> round(float(Bernoulli().log_prob(jnp.zeros((1, 2)), x)[0]), 4)  # two fair coins
    -1.3863
    """

    def read(self, owner: str, x: Any) -> Float[Array, "..."]:
        """Data as floats.

        Raises `DataError` for integers of more than a bit, for they are not scaled, and for values
        outside of the range.
        """
        if jnp.issubdtype(x.dtype, jnp.bool_):
            return x.astype(jnp.float32)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise et.DataError(
                f"{owner}: a Bernoulli likelihood needs values from 0 to 1; got {x.dtype}. Give "
                "zeros and ones as they are, x.astype('float32'); divide intensities by 255, or "
                "binarise them: (x >= 128).astype('float32')."
            )
        check_range(owner, x, 0, 1, "A Bernoulli likelihood needs probabilities: scale the values.")
        return jnp.asarray(x)

    def log_prob(
        self, outputs: Float[Array, "*many values"], x: Float[Array, "*fewer values"]
    ) -> Float[Array, "*many"]:
        """x log p + (1 - x) log(1 - p), from logits."""
        possible = jnp.all((x >= 0) & (x <= 1), axis=-1)
        each = x * jax.nn.log_sigmoid(outputs) + (1 - x) * jax.nn.log_sigmoid(-outputs)
        return jnp.where(possible, each.sum(-1), jnp.nan)

    def mean(self, outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """The probabilities."""
        return jax.nn.sigmoid(outputs)

    def draw(self, key: Key[Array, ""], outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """Zeros and ones."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(outputs)).astype(outputs.dtype)


@final
class Gaussian(eqx.Module):
    """Real values with one standard deviation, whose means the decoder gives.

    >>> round(float(Gaussian(1.0).log_prob(jnp.zeros((1, 1)), jnp.zeros((1, 1)))[0]), 4)
    -0.9189
    """

    scale: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        positive_of("Gaussian", scale=self.scale)

    def read(self, owner: str, x: Any) -> Float[Array, "..."]:
        """Data as floats; integers are refused, for their unit is not known."""
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise et.DataError(
                f"{owner}: a Gaussian likelihood needs real values; got {x.dtype}. Give floats, "
                "standardised or from 0 to 1."
            )
        return jnp.asarray(x)

    def log_prob(
        self, outputs: Float[Array, "*many values"], x: Float[Array, "*fewer values"]
    ) -> Float[Array, "*many"]:
        """The normal density, with its constant."""
        constant = math.log(self.scale * math.sqrt(2 * math.pi))
        return -(0.5 * ((x - outputs) / self.scale) ** 2 + constant).sum(-1)

    def mean(self, outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """The outputs themselves."""
        return outputs

    def draw(self, key: Key[Array, ""], outputs: Float[Array, "..."]) -> Float[Array, "..."]:
        """With normal noise."""
        return outputs + self.scale * jax.random.normal(key, outputs.shape, outputs.dtype)
