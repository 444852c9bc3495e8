"""Numbers about predictions and about the state of an attractor network."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.inputs import real_floats
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.sweep import local_field


def batch_accuracy(
    y_true: Float[Array, "batch classes"], y_pred: Float[Array, "batch classes"]
) -> float:
    """Fraction of the batch whose largest score is at the label's largest entry.

    >>> batch_accuracy(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), jnp.array([[2.0, 1.0], [2.0, 1.0]]))
    0.5
    """
    return float(accuracy(y_true, y_pred))


def accuracy(
    y_true: Float[Array, "batch classes"],
    y_pred: Float[Array, "batch classes"],
    weight: Float[Array, " batch"] | None = None,
) -> Float[Array, ""]:
    """`batch_accuracy` as an array, for use inside compiled code; samples may be weighted.

    Computed in float32 or wider; NaN if a score of a sample that counts is NaN.

    >>> scores, weight = jnp.array([[2.0, 1.0], [2.0, 1.0]]), jnp.array([1.0, 0.0])
    >>> accuracy(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), scores, weight).item()
    1.0
    """
    scores = real_floats("accuracy", "y_pred", y_pred)
    right = (jnp.argmax(y_true, -1) == jnp.argmax(scores, -1)).astype(scores.dtype)
    right = jnp.where(jnp.isnan(scores).any(-1), jnp.nan, right)
    if weight is None:
        return jnp.mean(right)
    return jnp.average(jnp.where(weight == 0, 0, right), weights=weight.astype(right.dtype))


def overlap(
    activity: Float[Array, "batch units"], patterns: Float[Array, "patterns units"]
) -> Float[Array, "batch patterns"]:
    """Overlap ``m = s . xi / N`` of ±1 activity with ±1 patterns: 1 for equal, 0 for unrelated.

    >>> overlap(jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 1.0], [1.0, -1.0]])).tolist()
    [[1.0, 0.0]]
    """
    return activity @ patterns.T / patterns.shape[-1]


def flipped(before: Float[Array, ...], after: Float[Array, ...]) -> Float[Array, ""]:
    """Fraction of units whose activity differs.

    >>> flipped(jnp.array([1.0, 1.0]), jnp.array([1.0, -1.0])).item()
    0.5
    """
    return jnp.mean((before != after).astype(jnp.float32))


def stability(
    network: SequentialOrchestrator, state: SequentialState, row: int
) -> Float[Array, "batch ..."]:
    """``s_i h_i`` of every unit of a row, without backward messages.

    A state of binary units is a fixed point of the free dynamics where it is positive; the rules
    with a margin push it above their threshold.

    >>> import jax
    >>> from etude.systems.attractor import FullyConnected, LayerMap, OutputLayer
    >>> connection = FullyConnected(4, 2, 1.0, 1.0, jax.random.key(0))
    >>> network = SequentialOrchestrator(LayerMap.from_dict({1: {0: connection, 1: OutputLayer()}}))
    >>> state = SequentialState((4, 2)).init(jnp.ones((3, 4)), -jnp.ones((3, 2)))
    >>> bool(jnp.all(stability(network, state, 1) == -connection(state[0])))
    True
    """
    return state[row] * local_field(network.layers, state, row, "forward")
