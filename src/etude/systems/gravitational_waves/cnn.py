"""A convolutional network, the peer of the spiking one: no context, no spikes.

>>> import jax
>>> from etude.systems.gravitational_waves.encoder import CPCEncoder
>>> a, b = jax.random.split(jax.random.key(0))
>>> network = ConvolutionalNetwork(CPCEncoder(16, key=a), key=b)
>>> network.statistic(jnp.zeros((3, 2048, 2))).shape
(3,)
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from etude.nn import CausalConvolution
from etude.systems.gravitational_waves.encoder import CPCEncoder
from etude.systems.gravitational_waves.quadrature import QuadratureFilters


class ConvolutionalNetwork(eqx.Module):
    """Convolutions, then the largest over time of a dense read-out: log-odds of a signal.

    The first layers are those of an encoder, so that they can start from the same chirps.

    Args:
        encoder: an encoder, whose convolutions are copied.
        hidden: channels of the layers after them, one of which sees 1/8 s.
        key: random key of the initial weights.
    """

    filters: QuadratureFilters
    join: CausalConvolution
    mix: CausalConvolution
    longer: CausalConvolution
    dense: CausalConvolution
    readout: eqx.nn.Linear

    def __init__(self, encoder: CPCEncoder, hidden: int = 64, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.filters, self.join, self.mix = encoder.filters, encoder.join, encoder.mix
        self.longer = CausalConvolution(encoder.latent_dim, hidden, taps=8, key=keys[0])
        self.dense = CausalConvolution(hidden, hidden, taps=1, key=keys[1])
        self.readout = eqx.nn.Linear(hidden, 1, key=keys[2])

    def __call__(self, window: Float[Array, "samples detectors"]) -> Float[Array, ""]:
        """The log-odds of one window."""
        x = self.filters(window)
        for layer in (self.join, self.mix, self.longer, self.dense):
            x = jax.nn.relu(layer(x))
        return jnp.max(jax.vmap(self.readout)(x))

    def statistic(self, windows: Float[Array, "batch samples detectors"]) -> Float[Array, " batch"]:
        """What triggers are ranked by: the log-odds."""
        return jax.vmap(self)(windows)
