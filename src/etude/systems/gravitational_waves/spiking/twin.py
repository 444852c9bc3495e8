"""The twin of a spiking classifier: the same sizes and time constants, but no spikes.

What a comparison with it says is what spiking itself costs or gains.

>>> spiking = SNNClassifier(16, 2, (32, 8), dt=0.001, key=jax.random.key(0))
>>> twin = ann_twin(spiking, key=jax.random.key(1))
>>> twin(jnp.ones((50, 16))).shape, twin.layers[0].weight.shape
((2,), (16, 32))
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from etude.systems.gravitational_waves.spiking.classifier import Layer, SNNClassifier
from etude.systems.gravitational_waves.spiking.neurons import (
    AbstractNeurons,
    Advance,
    decay_of,
    dtype_of_state,
    length_of_step,
    quantities,
)
from etude.systems.gravitational_waves.spiking.positive import Positive


class Graded(AbstractNeurons):
    """Neurons that send how far the membrane is above zero, and are not reset.

    `S[t] = relu(V[t-1])`, `V[t] = decay V[t-1] + I[t]`: LIF neurons that send a number in every
    step instead of a spike in some.

    Args:
        features, dt, time_constant, learnable: as in `LIF`.

    Raises:
        ValueError: there is no neuron, or a time is not positive.

    >>> Graded(1, dt=0.001)(jnp.array([[1.0], [-2.0], [0.0]]))[:, 0].tolist()
    [0.0, 1.0, 0.0]
    """

    membrane: Positive
    features: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        *,
        dt: float,
        time_constant: ArrayLike = 0.02,
        learnable: bool = False,
    ):
        self.features, self.dt = features, length_of_step(dt)
        (self.membrane,) = quantities("Graded", features, learnable, time_constant=time_constant)

    def rest(self, dtype: Any = jnp.float32) -> Float[Array, "features"]:
        return jnp.zeros(self.features, dtype_of_state(dtype))

    def advance(self, dtype: Any = jnp.float32) -> Advance:
        dtype = dtype_of_state(dtype)
        decay = decay_of(self.membrane, self.dt).astype(dtype)

        def step(v: Array, current: Array) -> tuple[Array, Array]:
            return decay * v + current.astype(dtype), jax.nn.relu(v).astype(current.dtype)

        return step

    def gain(self) -> Float[Array, ""]:
        return jnp.mean(1 / (1 - decay_of(self.membrane, self.dt)))


def ann_twin(classifier: SNNClassifier, *, key: PRNGKeyArray) -> SNNClassifier:
    """A classifier of the same sizes and time constants, with `Graded` neurons and new weights.

    It takes what the spiking one takes; or, since nothing in it needs spikes, features, with as
    many channels.
    """
    *keys, last = jax.random.split(key, len(classifier.layers) + 1)
    layers = []
    for layer, k in zip(classifier.layers, keys, strict=True):
        old = layer.neurons
        new = Graded(old.features, dt=old.dt)
        new = eqx.tree_at(lambda neurons: neurons.membrane, new, old.membrane)
        layers.append(Layer(layer.weight.shape[0], new, key=k))
    integrators = classifier.readout.neurons
    readout = Layer(layers[-1].weight.shape[1], integrators, key=last)
    return eqx.tree_at(lambda c: (c.layers, c.readout), classifier, (tuple(layers), readout))
