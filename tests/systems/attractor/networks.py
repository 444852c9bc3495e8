"""The network and the compiled training that several tests share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from etude.engine.leaf_roles import Fixed
from etude.systems.attractor import (
    FrozenFullyConnected,
    FullyConnected,
    LayerMap,
    OutputLayer,
    RecurrentDiscrete,
    SequentialOrchestrator,
    SequentialState,
    accuracy,
    local_updates,
    settle,
)

SIZES = (100, 256, 10)


def tutorial_network(key, sizes=SIZES, back=0.3, thresholds=(3.5, 0.5, 3.5), j_d=0.5):
    inputs, hidden, classes = sizes
    keys = jax.random.split(key, 5)
    at_input, at_J, at_output = thresholds
    rows = {
        1: {
            0: FullyConnected(inputs, hidden, 1.0, at_input, keys[0]),
            1: RecurrentDiscrete(hidden, j_d, at_J, keys[1]),
            2: FrozenFullyConnected(classes, hidden, back, 0.0, keys[2]),
        },
        2: {1: FullyConnected(hidden, classes, 1.0, at_output, keys[3]), 2: OutputLayer()},
    }
    return SequentialOrchestrator(layers=LayerMap.from_dict(rows))


def weights(network):
    layers = network.layers
    return layers[1, 0].weight, layers[1, 1].coupling, layers[2, 1].weight


def partition(network):
    """What learns, and the rest: floating arrays that no `Fixed` marks."""

    def learns(node):
        if isinstance(node, Fixed):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    spec = jax.tree.map(learns, network, is_leaf=lambda node: isinstance(node, Fixed))
    return eqx.partition(network, spec)


def batches(n, size):
    """Indices and weights of the ragged batches of `array_split`, padded to `size`."""
    parts = np.array_split(np.arange(n), -(-n // size))
    index, weight = np.zeros((len(parts), size), int), np.zeros((len(parts), size), np.float32)
    for row, part in enumerate(parts):
        index[row, : len(part)], weight[row, : len(part)] = part, 1
    return jnp.asarray(index), jnp.asarray(weight)


@eqx.filter_jit
def train(network, x, y, *, epochs, optimizer, size=16, update=local_updates, **options):
    state = SequentialState((x.shape[1], len(network.layers[1, 1].weight), y.shape[1]), x.dtype)
    trainable, rest = partition(network)
    index, weight = batches(len(x), size)
    weight = weight.astype(x.dtype)

    def step(carry, batch):
        trainable, memory = carry
        rows, w = batch
        network = eqx.combine(trainable, rest)
        updates, metrics = update(network, state, (x[rows], y[rows], w), **options)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes a count with floats
            changes, memory = optimizer.update(partition(updates)[0], memory, trainable)
        return (eqx.apply_updates(trainable, changes), memory), metrics

    def epoch(carry, _):
        return jax.lax.scan(step, carry, (index, weight))

    carry, metrics = jax.lax.scan(epoch, (trainable, optimizer.init(trainable)), length=epochs)
    return eqx.combine(carry[0], rest), metrics


@eqx.filter_jit
def scores(network, x, steps=10, classes=10):
    state = SequentialState((x.shape[1], len(network.layers[1, 1].weight), classes), x.dtype)
    settled = settle(network, state.init(x), steps, messages="forward")
    return network.predict(settled)[0].readout


def evaluate(network, x, y, steps=10):
    return accuracy(y, scores(network, x, steps, y.shape[1])).item()


__all__ = [
    "SIZES",
    "batches",
    "evaluate",
    "partition",
    "scores",
    "train",
    "tutorial_network",
    "weights",
]
