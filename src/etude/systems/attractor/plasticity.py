"""Local rules: what each connection learns from the activity at its two ends.

A rule is a function from what a connection can see, a `Local`, to the signal that its receiver
sends back. The update is the correlation of the sender's activity with that signal, averaged over
the batch. Write your own the same way.

>>> def hebbian(local):
...     return local.target
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et
from etude.systems.attractor.layer_map import LayerMap
from etude.systems.attractor.modules import AbstractConnection
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.sweep import counts


class Local(NamedTuple):
    """What one connection sees of a settled network."""

    target: Float[Array, "batch ..."]
    """Activity of the receiver: where it settled, or the clamped label."""
    message: Float[Array, "batch ..."]
    """What this connection alone sends."""
    field: Float[Array, "batch ..."]
    """What all connections of the receiver send, backward ones excepted."""
    threshold: Array
    """Stability asked for, in units of the field."""
    recurrent: bool
    """Whether the connection is a layer's to itself."""


Plasticity: TypeAlias = Callable[[Local], Float[Array, "batch ..."]]


def own_message_perceptron(local: Local) -> Float[Array, "batch ..."]:
    """The perceptron rule with margin, tested on the connection's own message.

    The target where ``target * message <= threshold``, else zero; equality is a mistake. Couplings
    within a layer test the whole field instead. (Rosenblatt 1958; margin: Krauth and Mézard 1987.)

    >>> tested = [jnp.array([[3.0, 1.0]]), jnp.array([[9.0, 9.0]])]
    >>> own_message_perceptron(Local(jnp.ones((1, 2)), *tested, jnp.array(1.0), False)).tolist()
    [[0.0, 1.0]]
    """
    return _mistaken(local, local.field if local.recurrent else local.message)


def field_perceptron(local: Local) -> Float[Array, "batch ..."]:
    """The perceptron rule with margin, tested on the whole field of the receiver.

    >>> tested = [jnp.array([[9.0, 9.0]]), jnp.array([[3.0, 1.0]])]
    >>> field_perceptron(Local(jnp.ones((1, 2)), *tested, jnp.array(1.0), False)).tolist()
    [[0.0, 1.0]]
    """
    return _mistaken(local, local.field)


def tanh_delta(tolerance: float = 0.0) -> Plasticity:
    """The delta rule of a tanh unit: ``(target - a) (1 - a^2)`` with ``a = tanh(field)``.

    Args:
        tolerance: errors smaller than this are left alone.

    Raises:
        ValueError: negative tolerance.

    >>> zero = jnp.zeros((1, 1))
    >>> tanh_delta()(Local(jnp.ones((1, 1)), zero, zero, jnp.array(0.0), False)).tolist()
    [[1.0]]
    """
    if tolerance < 0:
        raise ValueError(f"tanh_delta: tolerance={tolerance}; expected zero or more.")

    def rule(local: Local) -> Float[Array, "batch ..."]:
        response = jnp.tanh(local.field)
        error = local.target - response
        return jnp.where(jnp.abs(error) >= tolerance, error * (1 - response**2), 0)

    return rule


def hebbian(local: Local) -> Float[Array, "batch ..."]:
    """Hebb's rule: the activity of the receiver itself.

    >>> hebbian(Local(-jnp.ones((1, 1)), *[jnp.zeros((1, 1))] * 2, jnp.array(0.0), True)).tolist()
    [[-1.0]]
    """
    return local.target


def softmax_cross_entropy(local: Local) -> Float[Array, "batch classes"]:
    """The delta rule of a softmax read-out: one-hot target minus probabilities.

    It is minus the gradient of the cross-entropy in the scores, which is local: the read-out is
    the last layer. Any two-valued coding of the labels serves: the positive entry is the class.

    >>> scores = jnp.zeros((1, 2))
    >>> local = Local(jnp.array([[1.0, -1.0]]), scores, scores, jnp.array(0.0), False)
    >>> softmax_cross_entropy(local).tolist()
    [[0.5, -0.5]]
    """
    one_hot = jnp.where(local.target > 0, jnp.ones_like(local.field), 0)
    return one_hot - jax.nn.softmax(local.field)


def no_learning(local: Local) -> Float[Array, "batch ..."]:
    """No learning: for training the read-out alone.

    >>> no_learning(Local(jnp.ones((1, 1)), *[jnp.zeros((1, 1))] * 2, jnp.array(0.0), True)).item()
    0.0
    """
    return jnp.zeros_like(local.target)


def propose(
    layers: LayerMap,
    state: SequentialState,
    hidden: Plasticity,
    readout: Plasticity,
    weight: Float[Array, " batch"] | None = None,
) -> LayerMap:
    """Minus the weighted mean of (activity before) x (signal after), for every connection."""
    batch = state[0].shape[0]
    weight = jnp.ones(batch) if weight is None else et.widened(weight)
    total = jnp.maximum(weight.sum(), 1)
    updates: list[AbstractConnection] = []
    sent = {edge: module(state[edge[1]]) for edge, module in layers.items()}
    for row in layers.rows:
        heard = [sent[row, j] for j in layers.senders(row) if counts(layers, row, j, "forward")]
        field = layers[row, row].reduce(heard)
        rule = readout if row == layers.rows[-1] else hidden
        for sender, module in layers[row].items():
            local = Local(
                state[row], sent[row, sender], field, module.threshold.value, row == sender
            )
            signal = rule(local)
            share = (weight / -total).astype(signal.dtype).reshape(batch, *[1] * (signal.ndim - 1))
            updates.append(module.correlate(state[sender], signal * share))
    return LayerMap(tuple(updates), layers.edges)


def _mistaken(local: Local, tested: Array) -> Array:
    return jnp.where(local.target * tested <= local.threshold, local.target, 0)
