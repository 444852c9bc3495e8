"""A critic, which tells samples of a Born machine from data; and what both of them minimise.

>>> import jax
>>> critic = Critic(2, 3, CriticConfig(hidden_multipliers=(4,)), key=jax.random.key(0))
>>> critic(jnp.zeros((5, 3, 2))).shape  # five samples of each of three classes
(5, 3)
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from etude.systems.born_machine.config_methods import CriticConfig

#: Samples of all classes, side by side.
Samples = Float[Array, "n classes sites"]
#: Another number of such samples.
Others = Float[Array, "m classes sites"]


class Critic(eqx.Module):
    """A multilayer perceptron with one head for each class, or one for all.

    Args:
        sites: numbers in a sample.
        classes: number of classes.
        config: widths of the layers in units of the sites, activation, kind of head.
        key: seed of the initial weights.
    """

    layers: list[eqx.nn.Linear]
    head: eqx.nn.Linear
    slope: float = eqx.field(static=True)
    aware: bool = eqx.field(static=True)

    def __init__(self, sites: int, classes: int, config: CriticConfig, *, key: Key[Array, ""]):
        widths = [sites, *(math.ceil(m * sites) for m in config.hidden_multipliers)]
        *keys, last = jax.random.split(key, len(widths))
        self.layers = [
            eqx.nn.Linear(a, b, key=k)
            for a, b, k in zip(widths[:-1], widths[1:], keys, strict=True)
        ]
        self.aware = config.head == "aware"
        self.head = eqx.nn.Linear(widths[-1], classes if self.aware else 1, key=last)
        self.slope = config.negative_slope if config.activation == "leaky_relu" else 0.0

    def __call__(self, samples: Samples) -> Float[Array, "n classes"]:
        """A score of each sample, higher for what looks like data."""
        per_class = jax.vmap(self._score, in_axes=(0, 0))
        return jax.vmap(per_class, in_axes=(0, None))(samples, jnp.arange(samples.shape[1]))

    def _score(self, x: Float[Array, " sites"], label: Array) -> Float[Array, ""]:
        for layer in self.layers:
            x = jax.nn.leaky_relu(layer(x), self.slope)
        return self.head(x)[label if self.aware else 0]


def critic_loss(
    critic: Critic, real: Samples, fake: Others, config: CriticConfig, key: Key[Array, ""]
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """What the critic minimises: cross-entropy, or the Wasserstein distance with a penalty.

    `bce`: ``-log s(D(real)) - log(1 - s(D(fake)))`` (Goodfellow et al., arXiv:1406.2661).
    `wgan-gp`: ``E D(fake) - E D(real) + lamb E (1 - |grad D|)^2``, the gradient of each sample by
    itself, at points between real and synthetic ones (Gulrajani et al., arXiv:1704.00028).
    """
    scores, others = critic(real), critic(fake)
    metrics = {"d_real": scores.mean(), "d_fake": others.mean()}
    if config.criterion == "bce":
        return jax.nn.softplus(-scores).mean() + jax.nn.softplus(others).mean(), metrics
    penalty = gradient_penalty(critic, real, fake, key)
    loss = others.mean() - scores.mean() + config.lamb * penalty
    return loss, {**metrics, "penalty": penalty}


def generator_loss(critic: Critic, fake: Samples, config: CriticConfig) -> Float[Array, ""]:
    """What the machine minimises: that the critic finds out its samples."""
    scores = critic(fake)
    if config.criterion == "wgan-gp":
        return -scores.mean()
    # -log D has a gradient where the critic is sure; log(1 - D) is the one of the zero-sum game.
    return jax.nn.softplus(-scores).mean() if config.swapped else -jax.nn.softplus(scores).mean()


def gradient_penalty(
    critic: Callable[[Array], Array], real: Samples, fake: Others, key: Key[Array, ""]
) -> Float[Array, ""]:
    """``E (1 - |grad D(x)|_2)^2`` over points x on the lines from real to synthetic samples.

    Real and synthetic samples are paired in their order, as many as there are of both.

    >>> import jax
    >>> steep = lambda x: 3 * x[..., 0]
    >>> zeros = jnp.zeros((4, 2, 2))
    >>> float(gradient_penalty(steep, zeros, zeros + 1, jax.random.key(0)))
    4.0
    """
    n = min(len(real), len(fake))
    share = jax.random.uniform(key, (n, real.shape[1], 1), real.dtype)
    between = share * real[:n] + (1 - share) * fake[:n]
    # A score depends on its own sample alone: the gradient of the sum has one row for each.
    gradients = jax.grad(lambda x: critic(x).sum())(between)
    squares = jnp.sum(gradients**2, axis=-1)
    # The root has no derivative at zero, where a penalty must still be able to act.
    norms = jnp.sqrt(jnp.maximum(squares, jnp.finfo(squares.dtype).tiny))
    return jnp.mean((1 - norms) ** 2)
