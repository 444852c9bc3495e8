"""Encodings: what becomes of a feature over time, as spikes.

Each is a function of one signal `(time, features)`, of a threshold and of a spike function (a
surrogate of `surrogate.py`), and returns events of both signs apart: an array
`(time, features, 2, ...)` of exact zeros and ones, where index 0 of the third axis is ON (rising,
positive) and 1 is OFF. What is compared with a threshold is compared relative to it,
`spike(x / threshold - 1)`, so that the width of the surrogate follows the threshold.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Spike = Callable[[Array], Array]
Signal = Float[Array, "time features"]


def temporal_contrast(x: Signal, threshold: Array, spike: Spike) -> Array:
    """Spikes where a signal changed by more than a threshold since the step before.

    The output is `(time, features, 2)`; the first step is silent.

    >>> x = jnp.array([[0.0], [0.3], [0.3], [-0.5]])
    >>> temporal_contrast(x, jnp.array(0.1), lambda v: jnp.where(v > 0, 1.0, 0.0))[:, 0].T.tolist()
    [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    change = jnp.diff(x, axis=0, prepend=x[:1])
    return spike(_both(change) / threshold - 1)


def delta(x: Signal, threshold: Array, spike: Spike) -> Array:
    """Delta modulation: every spike moves a running reconstruction by one threshold.

    The reconstruction starts at `x[0]` and follows the signal within a threshold as long as the
    signal changes by at most a threshold per step. The output is `(time, features, 2)`.

    >>> x = jnp.array([[0.0], [0.6], [0.6], [1.3], [0.0]])
    >>> delta(x, jnp.array(0.5), lambda v: jnp.where(v > 0, 1.0, 0.0))[:, 0].T.tolist()
    [[0.0, 1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]]
    """

    def step(follower: Array, sample: Array) -> tuple[Array, Array]:
        events = spike(_both(sample - follower) / threshold - 1)
        return follower + threshold * (events[..., 0] - events[..., 1]), events

    return jax.lax.scan(step, x[0], x)[1]


def rate(x: Signal, threshold: Array, steps: int, key: PRNGKeyArray) -> Array:
    """Independent spikes, each with probability ``sigmoid(x / threshold - 1)``: one half at it.

    Every step of the signal becomes `steps` steps: `(time steps, features, 2)`. The gradient is
    that of the probability.

    >>> x = jnp.array([[0.1], [10.0]])
    >>> rate(x, jnp.array(0.1), 3, jax.random.key(0))[3:, 0, 0].tolist()
    [1.0, 1.0, 1.0]
    """
    probability = jnp.repeat(jax.nn.sigmoid(_both(x) / threshold - 1), steps, axis=0)
    draws = jax.random.uniform(key, probability.shape, probability.dtype)
    spikes = (draws < probability).astype(probability.dtype)
    # The difference is zero exactly: the spikes stay spikes, and the gradient passes.
    return spikes + (probability - jax.lax.stop_gradient(probability))


def latency(x: Signal, threshold: Array, steps: int, spike: Spike) -> Array:
    """Time to first spike: each step of the signal becomes `steps` steps with one spike at most.

    A perfect integrator that is fed ``x / steps`` per step fires when it passes the threshold:
    in step ``floor(steps threshold / x)``, and never for ``x <= threshold``. The output is
    `(time steps, features, 2)`.

    >>> x = jnp.array([[0.5], [0.15], [0.05]])
    >>> spikes = latency(x, jnp.array(0.1), 4, lambda v: jnp.where(v > 0, 1.0, 0.0))
    >>> spikes[:, 0, 0].reshape(3, 4).astype(int).tolist()
    [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    """
    share = jnp.arange(1, steps + 1, dtype=x.dtype) / steps
    charge = _both(x)[:, None] * share[:, None, None]
    fired = spike(charge / threshold - 1)
    # The charge never falls where it can reach the threshold: the difference is 0 or 1.
    first = jnp.diff(fired, axis=1, prepend=jnp.zeros_like(fired[:, :1]))
    return first.reshape(-1, *first.shape[2:])


def multi_threshold(x: Signal, thresholds: Float[Array, "levels"], spike: Spike) -> Array:
    """Spikes at every step at which a signal is above a level: `(time, features, 2, levels)`.

    >>> x = jnp.array([[0.15], [0.5]])
    >>> levels = jnp.array([0.1, 0.2])
    >>> multi_threshold(x, levels, lambda v: jnp.where(v > 0, 1.0, 0.0))[:, 0, 0].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return spike(_both(x)[..., None] / thresholds - 1)


def phase(x: Signal, thresholds: Float[Array, "levels"], spike: Spike) -> Array:
    """Spikes at the steps at which a signal passes a level outwards: `(time, features, 2, levels)`.

    An oscillation of amplitude A spikes once per cycle and level, at the phase
    ``arcsin(level / A)``, so that the phase of the signal is in the time of the spikes. The first
    step is silent.

    >>> x = jnp.array([[0.0], [0.15], [0.5], [0.0]])
    >>> levels = jnp.array([0.1, 0.2])
    >>> phase(x, levels, lambda v: jnp.where(v > 0, 1.0, 0.0))[:, 0, 0].T.tolist()
    [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """
    above = multi_threshold(x, thresholds, spike)
    before = jnp.concatenate([jnp.ones_like(above[:1]), above[:-1]])
    return above * (1 - before)


def _both(x: Array) -> Array:
    return jnp.stack([x, -x], axis=-1)
