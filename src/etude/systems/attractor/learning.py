"""One learning step of an attractor network: settle, then let every connection learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

import etude as et
from etude.systems.attractor.metrics import accuracy, flipped
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.plasticity import (
    Local,
    Plasticity,
    hebbian,
    no_learning,
    own_message_perceptron,
)
from etude.systems.attractor.settling import settle
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.sweep import Messages

Batch: TypeAlias = tuple[Array, Array] | tuple[Array, Array, Array]
"""Inputs ``(batch, *in)``, targets of ±1 ``(batch, classes)`` and perhaps weights ``(batch,)``."""


class LocalRule(eqx.Module):
    """A learning rule for `etude.Trainer`: no gradient, and nothing else is special about it.

    Args:
        sizes: features of each layer, as for `SequentialState`.
        update: `local_updates` or `contrastive_updates`, with what you choose bound by
            `functools.partial`; or your own function of (network, state, batch).

    >>> from functools import partial
    >>> rule = LocalRule((100, 256, 10), partial(local_updates, clamped_steps=5, early_stop=True))
    """

    sizes: tuple = eqx.field(static=True)
    update: Callable[..., Any] = eqx.field(static=True)

    def __init__(self, sizes: tuple | list, update: Callable[..., Any] | None = None):
        self.sizes = tuple(sizes)
        self.update = local_updates if update is None else update

    def __call__(
        self, trainable: PyTree, rest: PyTree, batch: PyTree, context: et.Context
    ) -> et.Proposal:
        network = eqx.combine(trainable, rest)
        updates, metrics = self.update(network, SequentialState(self.sizes), batch)
        kept = jax.tree.map(
            lambda part, update: None if part is None else update,
            trainable,
            updates,
            is_leaf=lambda node: node is None,
        )
        return et.Proposal(kept, metrics)


def local_updates(
    network: SequentialOrchestrator,
    state: SequentialState,
    batch: Batch,
    *,
    hidden: Plasticity = own_message_perceptron,
    readout: Plasticity = own_message_perceptron,
    clamped_steps: int = 10,
    free_steps: int = 10,
    free_messages: Messages = "forward",
    early_stop: bool = False,
    readout_from: Literal["taught", "blank"] = "taught",
) -> tuple[SequentialOrchestrator, dict[str, Float[Array, ""]]]:
    """Updates that make the network keep, unsupervised, the state it found under supervision.

    Settle with the labels clamped and heard; settle on without their messages; then every
    connection learns by its rule from the state that remains.

    Args:
        network: the network.
        state: any state of the right sizes; its activity is not used.
        batch: inputs, targets and perhaps weights.
        hidden: rule of the connections into hidden layers.
        readout: rule of the connections into the output.
        clamped_steps: sweeps that hear the labels' messages.
        free_steps: sweeps after these, without the labels' messages.
        free_messages: what is heard in the free phase.
        early_stop: end each phase at a fixed point; same result.
        readout_from: where the read-out learns. ``"taught"`` is the state that remains of the
            teaching, as in the tutorial; it still remembers the label where self-couplings or
            teaching are strong. ``"blank"`` is the state that a prediction starts from: settled
            from zero, without any label, at the cost of one more free phase.

    Returns:
        A network-shaped tree for optax, and the metrics ``accuracy`` (of the read-out where it
        learns) and ``moved`` (fraction of hidden units that the free phase flipped).
    """
    x, y, weight = weighted(batch)
    taught = settle(network, state.init(x, y), clamped_steps, early_stop=early_stop)
    free = settle(network, taught, free_steps, messages=free_messages, early_stop=early_stop)
    if readout_from == "taught":
        updates = network.backward(free, hidden=hidden, readout=readout, weight=weight)
        return updates, _metrics(network, taught, free, free, weight)
    blank = settle(
        network, state.init(x), free_steps, messages=free_messages, early_stop=early_stop
    ).replace(-1, y)
    within = network.backward(free, hidden=hidden, readout=no_learning, weight=weight)
    out = network.backward(blank, hidden=no_learning, readout=readout, weight=weight)
    return _add(within, out), _metrics(network, taught, free, blank, weight)


def contrastive_updates(
    network: SequentialOrchestrator,
    state: SequentialState,
    batch: Batch,
    *,
    readout: Plasticity = own_message_perceptron,
    clamped_steps: int = 10,
    free_steps: int = 10,
    free_messages: Messages = "forward",
    early_stop: bool = False,
    teaching: Literal["label", "error"] = "label",
) -> tuple[SequentialOrchestrator, dict[str, Float[Array, ""]]]:
    """Contrastive Hebbian updates: free minus clamped correlations in the hidden layers.

    The free phase starts from nothing and hears no label; the clamped phase starts from where it
    ended. The read-out learns from the free state, by its own rule. (Movellan 1991.) The theory
    asks for symmetric couplings; the updates are symmetric, so start from symmetric ones, or zero.

    With ``teaching="label"`` the output is clamped to the label. With ``"error"`` it is clamped to
    the one-hot label minus the probabilities of the network's own prediction, and is silent in the
    free phase, so that teaching ends where nothing is left to teach. A backward connection that
    learns then receives the transpose of what the read-out receives (with a softmax read-out, up
    to the few units that the teaching flips), and weight decay makes the two alike. (Kolen and
    Pollack 1994.)

    Other arguments and results as in `local_updates`.
    """
    x, y, weight = weighted(batch)
    blank = state.init(x)
    free = settle(network, blank, free_steps, messages=free_messages, early_stop=early_stop)
    labelled = free.replace(-1, y)
    if teaching == "error":
        scores = network.predict(free)[0].readout
        clamped = free.replace(-1, (y > 0).astype(scores.dtype) - jax.nn.softmax(scores))
    else:
        free = clamped = labelled
    taught = settle(network, clamped, clamped_steps, early_stop=early_stop)
    parts = (
        network.backward(taught, hidden=hebbian, readout=no_learning, weight=weight),
        network.backward(free, hidden=_unlearning, readout=no_learning, weight=weight),
        network.backward(labelled, hidden=no_learning, readout=readout, weight=weight),
    )
    return _add(_add(parts[0], parts[1]), parts[2]), _metrics(
        network, taught, labelled, labelled, weight
    )


def _unlearning(local: Local) -> Float[Array, "batch ..."]:
    return -hebbian(local)


def _add(left: SequentialOrchestrator, right: SequentialOrchestrator) -> SequentialOrchestrator:
    return jax.tree.map(lambda a, b: a + b if eqx.is_inexact_array(a) else a, left, right)


def weighted(batch: Batch) -> tuple[Array, Array, Array]:
    """Inputs, targets and weights of a batch; the weights are one where it has none."""
    x, y = batch[:2]
    return x, y, batch[2] if len(batch) == 3 else jnp.ones(x.shape[0], x.dtype)


def _metrics(
    network: SequentialOrchestrator,
    taught: SequentialState,
    free: SequentialState,
    read: SequentialState,
    weight: Array,
) -> dict[str, Float[Array, ""]]:
    scores = network.predict(read)[0].readout
    rows = network.layers.rows[:-1]
    flips = [flipped(taught[row], free[row]) for row in rows]
    return {
        "accuracy": accuracy(read.readout, scores, weight),
        "moved": jnp.mean(jnp.stack(flips)) if flips else jnp.zeros(()),
    }
