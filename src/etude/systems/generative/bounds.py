"""Objectives of variational autoencoders: bounds of log p(x) in nats per example, and one without.

One objective has the bounds of the field (Rainforth et al. 2018, section 4), with K draws in each
logarithm and M logarithms in a mean:

| K | M | beta | partial | |
|---|---|---|---|---|
| 1 | 1 | | | evidence lower bound (ELBO), its KL in closed form |
| K | 1 | 0 | | IWAE (Burda et al. 2016) |
| K | M | 0 | | MIWAE |
| K | 1 | beta | | CIWAE: beta of the ELBO and the rest of IWAE |
| K | M | 0 | yes | PIWAE: the decoder follows IWAE of M K draws, the encoder MIWAE |
"""

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

import etude as et
from etude.systems.generative.backbones import still
from etude.systems.generative.checks import finite_of, model_of, sizes_of, weights_of
from etude.systems.generative.vae import VAE


@dataclass(frozen=True)
class Bound:
    """The loss of a VAE for `et.Gradient`: minus a bound of log p(x), in nats per example.

    Attributes:
        draws: K, draws in one logarithm.
        groups: M, logarithms in the mean.
        beta: share of the ELBO beside the importance-weighted bound (CIWAE).
        partial: whether encoder and decoder follow bounds of their own (PIWAE).
        kl_weight: weight of the KL term (beta-VAE, Higgins et al. 2017); for one draw.
        warm_up: share of the training in which the weight of the KL term rises from 0; for one
            draw.

    Metrics: `loss`, what is minimised; `elbo`, unweighted; for one draw `reconstruction`, minus
    log p(x|z), and `kl`.

    Raises:
        ConfigurationError: settings that would have no effect, or are out of range.

    >>> model = VAE.create(jax.random.key(0), (8,), latent=2, hidden=(4,))
    >>> loss, metrics = Bound(draws=5)(model, jnp.zeros((3, 8)), et.Context.at(jax.random.key(1)))
    >>> bool(-loss >= metrics["elbo"])
    True
    """

    draws: int = 1
    groups: int = 1
    beta: float = 0.0
    partial: bool = False
    kl_weight: float = 1.0
    warm_up: float = 0.0

    def __post_init__(self) -> None:
        sizes_of("Bound", draws=self.draws, groups=self.groups)
        finite_of("Bound", beta=self.beta, warm_up=self.warm_up)
        weights_of("Bound", kl_weight=self.kl_weight)
        one = self.draws == self.groups == 1
        checks = {
            f"beta is a share from 0 to 1; got {self.beta}": 0 <= self.beta <= 1,
            f"warm_up is a share of the training from 0 to 1; got {self.warm_up}": (
                0 <= self.warm_up <= 1
            ),
            "beta mixes the ELBO with a bound of several draws: give draws": (
                not self.beta or self.draws > 1
            ),
            "partial needs groups and draws of at least 2, or both bounds are one": (
                not self.partial or (self.groups > 1 and self.draws > 1)
            ),
            "beta and partial are different mixtures: give one": not (self.beta and self.partial),
            "kl_weight and warm_up are for one draw: several have no KL term": (
                one or (self.kl_weight == 1 and self.warm_up == 0)
            ),
        }
        problems = [problem for problem, good in checks.items() if not good]
        if problems:
            raise et.ConfigurationError("\n".join(f"Bound: {problem}." for problem in problems))

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("Bound", model, VAE).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss and its metrics, of a batch."""
        model = model_of("Bound", model, VAE)
        if self.draws == self.groups == 1:
            return self._evidence(model, batch, context)
        count = self.groups * self.draws
        weights = model.log_weights(batch, context.key, count)
        bound = self.beta * weights.mean(0) + (1 - self.beta) * self._grouped(weights)
        if self.partial:
            # The value is IWAE's; the encoder's gradient is that of the mean of logarithms.
            joint = _still(model, "encoder").log_weights(batch, context.key, count)
            own = _still(model, "decoder").log_weights(batch, context.key, count)
            apart = self._grouped(own)
            bound = log_mean_exp(joint) + apart - jax.lax.stop_gradient(apart)
        return -bound.mean(), {"elbo": weights.mean()}

    def _evidence(
        self, model: VAE, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        x, labels = model.read(batch)
        posterior = model.encode(x, labels)
        (z,) = posterior.draw(context.key, 1)
        error = -model.likelihood.log_prob(model.decode(z, labels), x).mean()
        kl = posterior.kl().mean()
        weight = self.kl_weight
        if self.warm_up:
            weight = weight * jnp.minimum(context.progress / self.warm_up, 1.0)
        metrics = {"elbo": -error - kl, "reconstruction": error, "kl": kl}
        return error + weight * kl, metrics

    def _grouped(self, weights: Float[Array, "count n"]) -> Float[Array, " n"]:
        """The mean of M logarithms of K draws each."""
        return log_mean_exp(weights.reshape(self.groups, self.draws, -1), axis=1).mean(0)


def log_mean_exp(values: Shaped[Array, "..."], axis: int = 0) -> Shaped[Array, "..."]:
    """The logarithm of a mean of exponentials.

    >>> float(log_mean_exp(jnp.array([3.0, 3.0])))
    3.0
    """
    return jax.nn.logsumexp(values, axis=axis) - math.log(values.shape[axis])


def log_likelihood(
    model: VAE, batch: Any, key: Key[Array, ""], draws: int = 500, *, at_once: int = 50
) -> Float[Array, " n"]:
    """The importance-weighted bound of log p(x) of each example, in nats (Burda et al. 2016).

    Args:
        model: the model.
        batch: examples, with labels where the model has classes.
        key: random key.
        draws: K; the bound rises with it, towards log p(x).
        at_once: draws in memory at one time; a divisor of `draws`.

    Raises:
        ConfigurationError: numbers of draws below 1, or `at_once` that does not divide `draws`.
    """
    sizes_of("log_likelihood", draws=draws, at_once=at_once)
    if draws % at_once:
        raise et.ConfigurationError(
            f"log_likelihood: at_once must divide draws; got {at_once} and {draws}."
        )
    keys = jax.random.split(key, draws // at_once)
    parts = jax.lax.map(lambda k: log_mean_exp(model.log_weights(batch, k, at_once)), keys)
    return log_mean_exp(parts)


def _still(model: VAE, part: str) -> VAE:
    """The model, without a gradient to one of its parts."""
    where = (lambda m: m.encoder) if part == "encoder" else (lambda m: m.decoder)
    return eqx.tree_at(where, model, replace_fn=still)
