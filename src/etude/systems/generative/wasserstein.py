"""Wasserstein autoencoders: reconstruction, and latents whose mixture must look like the prior."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et
from etude.systems.generative.checks import model_of, positive_of
from etude.systems.generative.vae import VAE

#: Scales of the kernel, as multiples of the one that the dimension gives.
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class WassersteinMMD:
    """The loss of a WAE-MMD (Tolstikhin et al. 2018): -log p(x|z) + weight * MMD^2(q(z), p(z)).

    q(z) is the mixture of the posteriors of a batch, one draw each; the kernel is a sum of inverse
    multiquadrics C / (C + |a - b|^2), C = 2 d s for the scales s of the reference implementation.

    Attributes:
        weight: of the discrepancy.

    Metrics: `loss`; `reconstruction`, minus log p(x|z) in nats per example; `mmd`, the unbiased
    estimate, which can be below 0.

    Raises:
        ConfigurationError: a weight that is not positive.
        DataError: a batch of one example, which has no pairs.
    """

    weight: float = 100.0

    def __post_init__(self) -> None:
        positive_of("WassersteinMMD", weight=self.weight)

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("WassersteinMMD", model, VAE).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss and its metrics, of a batch."""
        model = model_of("WassersteinMMD", model, VAE)
        x, labels = model.read(batch)
        first, second = jax.random.split(context.key)
        (z,) = model.encode(x, labels).draw(first, 1)
        prior = jax.random.normal(second, z.shape, z.dtype)
        error = -model.likelihood.log_prob(model.decode(z, labels), x).mean()
        mmd = squared_mmd(z, prior)
        return error + self.weight * mmd, {"reconstruction": error, "mmd": mmd}


def squared_mmd(first: Float[Array, "n dim"], second: Float[Array, "n dim"]) -> Float[Array, ""]:
    """The unbiased squared maximum mean discrepancy (Gretton et al. 2012, lemma 6).

    Its mean is 0 for samples of one distribution.

    >>> a, b = jax.random.normal(jax.random.key(0), (2, 500, 3))
    >>> abs(float(squared_mmd(a, b))) < 0.05 < float(squared_mmd(a, b + 1))
    True
    """
    count, dim = first.shape
    if count < 2:
        raise et.DataError("squared_mmd: needs at least two samples of each; got one.")

    def kernel(a: Float[Array, "n dim"], b: Float[Array, "n dim"]) -> Float[Array, "n n"]:
        squares = jnp.sum((a[:, None] - b[None]) ** 2, axis=-1)
        return sum((2 * dim * s / (2 * dim * s + squares) for s in SCALES), jnp.zeros_like(squares))

    def within(a: Float[Array, "n dim"]) -> Float[Array, ""]:
        whole = kernel(a, a)
        return (whole.sum() - jnp.trace(whole)) / (count * (count - 1))

    return within(first) + within(second) - 2 * kernel(first, second).mean()
