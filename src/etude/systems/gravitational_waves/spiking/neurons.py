"""Layers of neurons: what becomes of currents over time.

One sample at a time, `(time, features)`; `jax.vmap` is the caller's. Time constants are in
seconds and `dt` is the length of a step, so a membrane keeps ``exp(-dt / tau)`` of itself from
one step to the next. A current adds to it as it is: `V[t] = decay V[t-1] + I[t]`, which settles
at ``I / (1 - decay)``.

A neuron spikes in the step after its membrane crossed the threshold, and loses one threshold in
that step ("soft" reset): `S[t] = V[t-1] > threshold`,
`V[t] = decay V[t-1] + I[t] - threshold S[t]`. A network of L layers therefore answers L steps
late; in return, all that the backward pass needs is in the membranes.

Membranes are computed in at least float32, whatever the precision of the currents and of the
parameters: half precision keeps 3 digits, and a membrane adds up many small numbers. Spikes, 0 or
1, are exact in any precision and come out in that of the currents.

>>> neurons = LIF(1, dt=0.001, time_constant=0.001 / math.log(2))  # half is kept
>>> neurons(jnp.array([[0.8], [0.8], [0.0], [0.0]]))[:, 0].tolist()
[0.0, 0.0, 1.0, 0.0]
"""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from etude.systems.gravitational_waves.spiking.positive import Positive
from etude.systems.gravitational_waves.spiking.surrogate import AbstractSurrogate, SuperSpike

#: from a state and the currents of a step to the next state and what the neurons send
Advance = Callable[[Any, Array], tuple[Any, Array]]


class AbstractNeurons(eqx.Module):
    """A layer of neurons with a state of their own and no connections."""

    membrane: eqx.AbstractVar[Positive]
    features: eqx.AbstractVar[int]
    dt: eqx.AbstractVar[float]

    @abc.abstractmethod
    def rest(self, dtype: Any = jnp.float32) -> PyTree[Float[Array, "features"]]:
        """The state at rest for currents of this dtype, see `dtype_of_state`."""

    @abc.abstractmethod
    def advance(self, dtype: Any = jnp.float32) -> Advance:
        """One step as a function of state and currents, for currents of this dtype.

        What depends on the parameters only (the decays) is computed here, once, and not in
        every step.
        """

    @abc.abstractmethod
    def gain(self) -> Float[Array, ""]:
        """What neurons send in the long run when a current of 1 per step reaches them.

        In spikes per step, with the leak left out, for those that spike.
        """

    def __call__(self, currents: Float[Array, "time features"]) -> Float[Array, "time features"]:
        """What the neurons send at every step, starting from rest."""
        # The backward pass keeps the states alone; all else follows from them.
        step = jax.checkpoint(self.advance(currents.dtype), prevent_cse=False)
        return jax.lax.scan(step, self.rest(currents.dtype), currents)[1]


class LIF(AbstractNeurons):
    """Leaky integrate-and-fire neurons.

    Args:
        features: number of neurons.
        dt: length of a step in seconds.
        time_constant: seconds in which the membrane forgets; a number, or one per neuron.
        threshold: what the membrane must exceed to spike; a number, or one per neuron.
        learnable: whether time constants and thresholds are learnt, one per neuron.
        surrogate: stands for the derivative of a spike in the backward pass.

    Raises:
        ValueError: there is no neuron, or a time or a threshold is not positive.

    >>> LIF(3, dt=0.001)(jnp.ones((5, 3))).shape
    (5, 3)
    """

    membrane: Positive
    threshold: Positive
    features: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    surrogate: AbstractSurrogate = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        *,
        dt: float,
        time_constant: ArrayLike = 0.02,
        threshold: ArrayLike = 1.0,
        learnable: bool = False,
        surrogate: AbstractSurrogate = SuperSpike(),  # noqa: B008
    ):
        self.features, self.dt, self.surrogate = features, length_of_step(dt), surrogate
        self.membrane, self.threshold = quantities(
            "LIF", features, learnable, time_constant=time_constant, threshold=threshold
        )

    def rest(self, dtype: Any = jnp.float32) -> Float[Array, "features"]:
        return jnp.zeros(self.features, dtype_of_state(dtype))

    def advance(self, dtype: Any = jnp.float32) -> Advance:
        dtype = dtype_of_state(dtype)
        decay = decay_of(self.membrane, self.dt).astype(dtype)
        threshold = self.threshold.value.astype(dtype)

        def step(v: Array, current: Array) -> tuple[Array, Array]:
            spikes = self.surrogate(v - threshold)
            v = decay * v + current.astype(dtype) - threshold * spikes
            return v, spikes.astype(current.dtype)

        return step

    def gain(self) -> Float[Array, ""]:
        return jnp.mean(1 / self.threshold.value)


class ALIF(AbstractNeurons):
    """Adaptive LIF neurons: every spike raises the threshold for a while.

    `S[t] = V[t-1] > threshold + jump A[t-1]`, `A[t] = decay_A A[t-1] + S[t]`; the reset is by the
    resting threshold (Bellec et al., Nature Communications 2020).

    Args:
        adaptation_time_constant: seconds in which the raised threshold falls back.
        jump: how much a spike raises the threshold.
        features, dt, time_constant, threshold, learnable, surrogate: as in `LIF`.

    Raises:
        ValueError: there is no neuron, or a time or a threshold is not positive.

    >>> currents = jnp.full((200, 1), 0.2)
    >>> float(ALIF(1, dt=0.001)(currents).sum()) < float(LIF(1, dt=0.001)(currents).sum())
    True
    """

    membrane: Positive
    adaptation: Positive
    threshold: Positive
    jump: float = eqx.field(static=True)
    features: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    surrogate: AbstractSurrogate = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        *,
        dt: float,
        time_constant: ArrayLike = 0.02,
        adaptation_time_constant: ArrayLike = 0.1,
        jump: float = 0.1,
        threshold: ArrayLike = 1.0,
        learnable: bool = False,
        surrogate: AbstractSurrogate = SuperSpike(),  # noqa: B008
    ):
        self.features, self.dt, self.surrogate = features, length_of_step(dt), surrogate
        self.jump = jump
        self.membrane, self.adaptation, self.threshold = quantities(
            "ALIF",
            features,
            learnable,
            time_constant=time_constant,
            adaptation_time_constant=adaptation_time_constant,
            threshold=threshold,
        )

    def rest(self, dtype: Any = jnp.float32) -> tuple[Array, Array]:
        zeros = jnp.zeros(self.features, dtype_of_state(dtype))
        return zeros, zeros

    def advance(self, dtype: Any = jnp.float32) -> Advance:
        dtype = dtype_of_state(dtype)
        decay = decay_of(self.membrane, self.dt).astype(dtype)
        slow = decay_of(self.adaptation, self.dt).astype(dtype)
        threshold = self.threshold.value.astype(dtype)

        def step(state: tuple[Array, Array], current: Array) -> tuple[tuple[Array, Array], Array]:
            v, raised = state
            spikes = self.surrogate(v - threshold - self.jump * raised)
            v = decay * v + current.astype(dtype) - threshold * spikes
            return (v, slow * raised + spikes), spikes.astype(current.dtype)

        return step

    def gain(self) -> Float[Array, ""]:
        return jnp.mean(1 / self.threshold.value)


class CuBaLIF(AbstractNeurons):
    """Current-based LIF neurons: a synaptic current that decays feeds the membrane.

    `J[t] = decay_J J[t-1] + I[t]`, `V[t] = decay V[t-1] + J[t] - threshold S[t]`: the response to
    an impulse is a difference of two exponentials.

    Args:
        synaptic_time_constant: seconds in which the synaptic current decays.
        features, dt, time_constant, threshold, learnable, surrogate: as in `LIF`.

    Raises:
        ValueError: there is no neuron, or a time or a threshold is not positive.

    >>> CuBaLIF(3, dt=0.001)(jnp.ones((5, 3))).shape
    (5, 3)
    """

    membrane: Positive
    synapse: Positive
    threshold: Positive
    features: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    surrogate: AbstractSurrogate = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        *,
        dt: float,
        time_constant: ArrayLike = 0.02,
        synaptic_time_constant: ArrayLike = 0.005,
        threshold: ArrayLike = 1.0,
        learnable: bool = False,
        surrogate: AbstractSurrogate = SuperSpike(),  # noqa: B008
    ):
        self.features, self.dt, self.surrogate = features, length_of_step(dt), surrogate
        self.membrane, self.synapse, self.threshold = quantities(
            "CuBaLIF",
            features,
            learnable,
            time_constant=time_constant,
            synaptic_time_constant=synaptic_time_constant,
            threshold=threshold,
        )

    def rest(self, dtype: Any = jnp.float32) -> tuple[Array, Array]:
        zeros = jnp.zeros(self.features, dtype_of_state(dtype))
        return zeros, zeros

    def advance(self, dtype: Any = jnp.float32) -> Advance:
        dtype = dtype_of_state(dtype)
        decay = decay_of(self.membrane, self.dt).astype(dtype)
        fast = decay_of(self.synapse, self.dt).astype(dtype)
        threshold = self.threshold.value.astype(dtype)

        def step(state: tuple[Array, Array], current: Array) -> tuple[tuple[Array, Array], Array]:
            v, j = state
            spikes = self.surrogate(v - threshold)
            j = fast * j + current.astype(dtype)
            return (decay * v + j - threshold * spikes, j), spikes.astype(current.dtype)

        return step

    def gain(self) -> Float[Array, ""]:
        return jnp.mean(1 / (1 - decay_of(self.synapse, self.dt)) / self.threshold.value)


class LI(AbstractNeurons):
    """Leaky integrators, which never spike: the read-out of a spiking network.

    They send their membrane, `V[t] = decay V[t-1] + I[t]`, in its own precision, at least float32.

    Args:
        features, dt, time_constant, learnable: as in `LIF`.

    Raises:
        ValueError: there is no neuron, or a time is not positive.

    >>> half = LI(1, dt=0.001, time_constant=0.001 / math.log(2))
    >>> jnp.round(half(jnp.array([[1.0], [0.0], [0.0]]))[:, 0], 4).tolist()
    [1.0, 0.5, 0.25]
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
        (self.membrane,) = quantities("LI", features, learnable, time_constant=time_constant)

    def rest(self, dtype: Any = jnp.float32) -> Float[Array, "features"]:
        return jnp.zeros(self.features, dtype_of_state(dtype))

    def advance(self, dtype: Any = jnp.float32) -> Advance:
        dtype = dtype_of_state(dtype)
        decay = decay_of(self.membrane, self.dt).astype(dtype)

        def step(v: Array, current: Array) -> tuple[Array, Array]:
            v = decay * v + current.astype(dtype)
            return v, v

        return step

    def gain(self) -> Float[Array, ""]:
        return jnp.mean(1 / (1 - decay_of(self.membrane, self.dt)))


def quantities(
    owner: str, features: int, learnable: bool, /, **initial: ArrayLike
) -> tuple[Positive, ...]:
    """The time constants and thresholds of a layer: what all constructors of neurons share.

    Args:
        owner: name of the neurons in errors.
        features: number of neurons.
        learnable: whether they are learnt, one value per neuron.
        initial: initial values by name; each a number, or one per neuron.

    Raises:
        ValueError: there is no neuron, or an initial value is not positive or of another shape.

    >>> membrane, threshold = quantities("LIF", 3, False, time_constant=0.02, threshold=1.0)
    >>> float(threshold.value)
    1.0
    """
    if features < 1:
        raise ValueError(f"{owner}: features={features}; expected at least 1 neuron.")
    return tuple(
        Positive(f"{owner}: {name}", value, (features,), learnable)
        for name, value in initial.items()
    )


def decay_of(time_constant: Positive, dt: float) -> Float[Array, "..."]:
    """What is left after a step: ``exp(-dt / tau)``.

    >>> tau = Positive("tau", 0.02, ())
    >>> round(float(decay_of(tau, 0.001)), 4)
    0.9512
    """
    return jnp.exp(-dt / time_constant.value)


def dtype_of_state(currents: Any) -> Any:
    """The dtype of membranes for currents of a dtype: at least float32.

    >>> dtype_of_state(jnp.bfloat16)
    dtype('float32')
    """
    return jnp.dtype(jnp.float32 if jnp.dtype(currents).itemsize < 4 else currents)


def length_of_step(dt: float) -> float:
    """dt, if it is the length of a step.

    >>> length_of_step(0)
    Traceback (most recent call last):
    ValueError: dt=0; expected the length of a step in seconds, above zero.
    """
    if not 0 < dt < math.inf:
        raise ValueError(f"dt={dt}; expected the length of a step in seconds, above zero.")
    return float(dt)
