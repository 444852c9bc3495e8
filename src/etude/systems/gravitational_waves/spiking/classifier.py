"""A spiking classifier: layers of spiking neurons, and leaky integrators that read them out.

>>> classifier = SNNClassifier(16, 2, (32, 8), dt=0.001, key=jax.random.key(0))
>>> spikes = jnp.ones((50, 16))
>>> classifier(spikes).shape
(2,)
>>> [raster.shape for raster in classifier.activity(spikes).spikes]
[(50, 32), (50, 8)]
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from etude.systems.gravitational_waves.spiking.neurons import LI, LIF, AbstractNeurons

Decision = Literal["mean", "max", "last"]


@runtime_checkable
class MakeNeurons(Protocol):
    """Makes a layer of neurons, as `LIF` does, or `partial(LIF, time_constant=0.01)`."""

    def __call__(self, features: int, /, *, dt: float) -> AbstractNeurons: ...


class Activity(NamedTuple):
    """All that a classifier did with one sample."""

    #: what each hidden layer sent: 0 or 1, `(time, features)`
    spikes: tuple[Float[Array, "time features"], ...]
    #: the membranes of the read-out, `(time, classes)`
    readout: Float[Array, "time classes"]
    #: `(classes,)`
    logits: Float[Array, "classes"]


class Layer(eqx.Module):
    """A dense connection and the neurons it feeds.

    The weights are normal, of the size at which a layer sends about as much as reaches it, from a
    raster with spikes in a tenth of the steps through several layers: neither silence nor a flood.
    It is that of He et al. (ICCV 2015) for the rates of neurons that do not leak, and half as much
    more for the leak.

    >>> layer = Layer(4, LIF(3, dt=0.001), key=jax.random.key(0))
    >>> layer.weight.shape, layer.bias.shape
    ((4, 3), (3,))
    """

    weight: Float[Array, "inputs features"]
    bias: Float[Array, "features"]
    neurons: AbstractNeurons

    def __init__(self, inputs: int, neurons: AbstractNeurons, *, key: PRNGKeyArray):
        size = 1.5 * math.sqrt(2 / inputs) / neurons.gain()
        self.weight = size * jax.random.normal(key, (inputs, neurons.features))
        self.bias = jnp.zeros(neurons.features)
        self.neurons = neurons

    def currents(self, x: Float[Array, "... inputs"]) -> Float[Array, "... features"]:
        """What flows into the neurons, in the precision of the weights."""
        return x.astype(self.weight.dtype) @ self.weight + self.bias.astype(self.weight.dtype)


class SNNClassifier(eqx.Module):
    """Spikes over time `(time, in_features)` to logits `(num_classes,)`; one sample, so `vmap` it.

    Args:
        in_features: channels of the spikes that come in.
        num_classes: number of logits.
        hidden_sizes: number of neurons of each spiking layer.
        dt: length of a step in seconds.
        neurons: makes the neurons of a hidden layer, `LIF` or `partial(ALIF, jump=0.2)`.
        readout_time_constant: seconds in which the leaky integrators forget.
        decision: the logits are the `mean` over time, the `max` or the `last` of the read-out.
        hoisted: how time is run through; the result is the same. True: layer by layer, one large
            product for all steps and then a scan without products. False: all layers within one
            scan. None: as is fastest where this is made, False on a CPU (where the currents of
            all steps would not stay in the cache) and True elsewhere.
        key: random key of the initial weights.

    Raises:
        ValueError: a size, the decision or a time is out of range.
    """

    layers: tuple[Layer, ...]
    readout: Layer
    decision: str = eqx.field(static=True)
    hoisted: bool = eqx.field(static=True)

    def __init__(
        self,
        in_features: int,
        num_classes: int = 2,
        hidden_sizes: Sequence[int] = (512, 256, 128),
        *,
        dt: float,
        neurons: MakeNeurons = LIF,
        readout_time_constant: float = 0.05,
        decision: Decision | str = "mean",
        hoisted: bool | None = None,
        key: PRNGKeyArray,
    ):
        sizes = [in_features, *hidden_sizes, num_classes]
        if min(sizes) < 1 or len(sizes) < 3:
            raise ValueError(
                f"SNNClassifier: sizes {sizes}, from in_features through hidden_sizes to "
                "num_classes; expected one hidden layer or more, and each size at least 1."
            )
        if decision not in get_args(Decision):
            raise ValueError(
                f"SNNClassifier: decision={decision!r}; expected one of {get_args(Decision)}."
            )
        *keys, last = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            Layer(inputs, neurons(size, dt=dt), key=k)
            for inputs, size, k in zip(sizes[:-2], sizes[1:-1], keys, strict=True)
        )
        integrators = LI(num_classes, dt=dt, time_constant=readout_time_constant)
        self.readout = Layer(sizes[-2], integrators, key=last)
        self.decision = decision
        self.hoisted = jax.default_backend() != "cpu" if hoisted is None else hoisted

    def __call__(self, spikes: Float[Array, "time inputs"]) -> Float[Array, "classes"]:
        """The logits."""
        return self._decide(self._run(spikes)[-1])

    def activity(self, spikes: Float[Array, "time inputs"]) -> Activity:
        """The logits and how they came about: spikes and read-out over time."""
        *rasters, readout = self._run(spikes)
        return Activity(tuple(rasters), readout, self._decide(readout))

    def _run(self, spikes: Array) -> list[Array]:
        """What every layer sends over time. What is not used of it is never stored."""
        layers = (*self.layers, self.readout)
        if self.hoisted:
            sent = [spikes]
            for layer in layers:
                sent.append(layer.neurons(layer.currents(sent[-1])))
            return sent[1:]
        # Currents are in the precision of the weights, see `Layer.currents`.
        advances = [layer.neurons.advance(layer.weight.dtype) for layer in layers]

        def step(states: list[PyTree], x: Array) -> tuple[list[PyTree], list[Array]]:
            after, sent = [], []
            for layer, advance, state in zip(layers, advances, states, strict=True):
                state, x = advance(state, layer.currents(x))
                after.append(state)
                sent.append(x)
            return after, sent

        # Spikes and surrogates follow from the states before the step, so that the backward pass
        # keeps these alone; the products are not done again, since it does not need them.
        step = jax.checkpoint(step, prevent_cse=False)
        rest = [layer.neurons.rest(layer.weight.dtype) for layer in layers]
        return jax.lax.scan(step, rest, spikes)[1]

    def _decide(self, readout: Array) -> Array:
        match self.decision:
            case "mean":
                return jnp.mean(readout, axis=0)
            case "max":
                return jnp.max(readout, axis=0)
            case _:
                return readout[-1]
