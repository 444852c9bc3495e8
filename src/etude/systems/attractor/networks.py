"""The usual network: one hidden layer between the input and the output."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from etude.systems.attractor.layer_map import LayerMap
from etude.systems.attractor.modules import (
    FrozenFullyConnected,
    FullyConnected,
    OutputLayer,
    RecurrentDiscrete,
    Uncoupled,
    sign,
)
from etude.systems.attractor.orchestrator import SequentialOrchestrator


def one_hidden_layer(
    key: PRNGKeyArray,
    sizes: tuple[int, int, int] = (100, 256, 10),
    *,
    forth: float = 1.0,
    back: float = 0.3,
    j_d: float = 0.5,
    thresholds: tuple[float, float, float] = (3.5, 0.5, 3.5),
    coupled: bool = True,
    symmetric: bool = False,
    response: Callable[[Array], Array] = sign,
) -> SequentialOrchestrator:
    """A network of one hidden layer; as it stands, the tutorial's.

    Args:
        key: random key of all weights.
        sizes: inputs, hidden units, classes.
        forth: strength of the input's message.
        back: strength of the label's message: its root mean square at a hidden unit before any
            training, for labels of ±1, whatever the sizes.
        j_d: self-coupling of the hidden units.
        thresholds: stability asked for of the input's message, the couplings, the read-out.
        coupled: whether hidden units are coupled to each other.
        response: activity of an uncoupled unit at its field; coupled units take the sign.
        symmetric: whether the backward connection starts as the transpose of the read-out and
            learns, as contrastive learning wants it; else it is random and frozen. The transpose
            has weights of variance ``1 / units``, random ones ``1 / classes``; so that `back`
            means the same in both, its connection has the strength
            ``back * sqrt(units / classes)``.

    >>> network = one_hidden_layer(jax.random.key(0), (4, 8, 2), coupled=False)
    >>> network.layers.edges
    ((1, 0), (1, 1), (1, 2), (2, 1), (2, 2))
    """
    inputs, units, classes = sizes
    keys = jax.random.split(key, 5)
    at_input, at_couplings, at_output = thresholds
    layer = RecurrentDiscrete(units, j_d, at_couplings, keys[1])
    teach = FrozenFullyConnected(classes, units, back, 0.0, keys[2])
    read = FullyConnected(units, classes, 1.0, at_output, keys[3])
    if symmetric:
        strength = back * (units / classes) ** 0.5
        free = FullyConnected(classes, units, strength, 0.0, keys[2])
        teach = eqx.tree_at(lambda m: m.weight, free, read.weight.T)
    hidden = {
        0: FullyConnected(inputs, units, forth, at_input, keys[0]),
        1: layer if coupled else Uncoupled(units, j_d, response),
        2: teach,
    }
    return SequentialOrchestrator(LayerMap.from_dict({1: hidden, 2: {1: read, 2: OutputLayer()}}))
