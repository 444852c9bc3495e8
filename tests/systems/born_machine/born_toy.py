"""A machine whose densities are normal: what a `BornMachine` answers, in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class NormalMachine(eqx.Module):
    """p(x|c) is normal around a mean, p(c) is given; the weights are off by a common factor."""

    means: Array
    log_priors: Array
    std: float = 0.25
    log_factor: float = 3.0

    def log_weights(self, x):
        squares = jnp.sum((x[:, None] - self.means) ** 2, axis=-1)
        return self.log_factor + self.log_priors - squares / (2 * self.std**2)

    def class_log_partition(self):
        sites = self.means.shape[1]
        return self.log_factor + self.log_priors + 0.5 * sites * np.log(2 * np.pi * self.std**2)

    def log_marginal(self, x):
        total = jax.nn.logsumexp(self.class_log_partition())
        return jax.nn.logsumexp(self.log_weights(x), axis=-1) - total


def machine(means=((-0.5, 0.0), (0.5, 0.2)), priors=(0.3, 0.7), std=0.25):
    return NormalMachine(jnp.asarray(means), jnp.log(jnp.asarray(priors)), std)


def sampler(machine, key, label, count):
    noise = jax.random.normal(key, (count, machine.means.shape[1]))
    return jnp.clip(machine.means[label] + machine.std * noise, -1, 1)
