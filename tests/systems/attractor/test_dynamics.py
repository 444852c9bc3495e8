"""Sweeps, settling and prediction against loops written out in NumPy."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from etude.systems.attractor import (
    FrozenFullyConnected,
    FullyConnected,
    LayerMap,
    OutputLayer,
    RecurrentDiscrete,
    RecurrentTanh,
    SequentialOrchestrator,
    SequentialState,
    settle,
    trace,
)

sys.path.insert(0, str(Path(__file__).parent))
from networks import tutorial_network

SIZES = (7, 12, 9, 3)
EDGES = {1: (0, 2, 3), 2: (0, 1, 3), 3: (1, 2)}


def deep_network(key, layer=RecurrentDiscrete):
    """Two hidden layers that hear each other, the input and the label."""
    rows = {}
    for i, senders in EDGES.items():
        rows[i] = {}
        for j in senders:
            key, edge_key = jax.random.split(key)
            kind = FrozenFullyConnected if j == 3 else FullyConnected
            rows[i][j] = kind(SIZES[j], SIZES[i], 0.5 + j, 1.0, edge_key)
        key, layer_key = jax.random.split(key)
        rows[i][i] = OutputLayer() if i == 3 else layer(SIZES[i], 0.7, 1.0, layer_key)
    return SequentialOrchestrator(LayerMap.from_dict(rows))


def random_state(key, batch=5, sizes=SIZES):
    x_key, y_key = jax.random.split(key)
    x = jax.random.rademacher(x_key, (batch, sizes[0]), jnp.float32)
    y = 2 * jax.nn.one_hot(jax.random.randint(y_key, (batch,), 0, sizes[-1]), sizes[-1]) - 1
    return SequentialState(sizes).init(x, y)


def numpy_sweeps(network, state, steps, hears, respond=lambda h: np.where(h >= 0, 1, -1)):
    """Row after row, each from the newest activity: messages[i] = sum over j of s_j W_ij."""
    s = [np.array(b, float) for b in state.buffers]
    for _ in range(steps):
        for i in (1, 2):
            layer = network.layers[i, i]
            field = s[i] @ np.array(layer.coupling, float)
            for j in EDGES[i]:
                if hears(i, j):
                    edge = network.layers[i, j]
                    weight = edge.weight.value if j == 3 else edge.weight
                    field = field + (s[j] @ np.array(weight, float)) * (0.5 + j)
            s[i] = respond(field)
    return s


HEARS = {
    "all": lambda i, j: True,
    "forward": lambda i, j: j <= i,
    "unsupervised": lambda i, j: j != 3,
}


@pytest.mark.parametrize("messages", HEARS)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**31), steps=st.integers(0, 4))
def test_sweeps_of_two_hidden_layers(messages, seed, steps):
    key = jax.random.key(seed)
    network, state = deep_network(key), random_state(jax.random.fold_in(key, 1))
    expected = numpy_sweeps(network, state, steps, HEARS[messages])
    settled = settle(network, state, steps, messages=messages)
    for i in range(4):
        np.testing.assert_array_equal(settled[i], expected[i])
    stepped = state
    for _ in range(steps):
        stepped, _ = network.step(stepped, messages=messages)
    for i in range(4):
        np.testing.assert_array_equal(settled[i], stepped[i])


@pytest.mark.parametrize("layer", [RecurrentDiscrete, RecurrentTanh])
def test_early_stop_changes_no_bit(layer):
    @jax.jit
    def both(seed):
        key = jax.random.key(seed)
        network, state = deep_network(key, layer), random_state(jax.random.fold_in(key, 1))
        return [
            settle(network, state, steps, messages=messages, early_stop=early).buffers
            for messages, steps in (("all", 1), ("forward", 30), ("unsupervised", 0))
            for early in (False, True)
        ]

    for seed in range(30):
        results = both(seed)
        for full, early in zip(results[::2], results[1::2], strict=True):
            for a, b in zip(full, early, strict=True):
                tolerance = 0 if layer is RecurrentDiscrete else 1e-4
                np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=tolerance)


def test_early_stop_stops():
    """A fixed point found at once must not cost the sweeps that are left."""
    network = tutorial_network(jax.random.key(0), sizes=(10, 20, 2), j_d=50.0)
    state = random_state(jax.random.key(1), sizes=(10, 20, 2))
    settled = settle(network, state, 2_000_000_000, early_stop=True)  # hours, if it did not stop
    again, _ = network.step(settled)
    np.testing.assert_array_equal(settled[1], again[1])


def test_trace_holds_every_sweep():
    network, state = deep_network(jax.random.key(0)), random_state(jax.random.key(1))
    path = trace(network, state, 4, messages="all")
    for n in range(1, 5):
        settled = settle(network, state, n)
        for row in (1, 2):
            np.testing.assert_array_equal(path[row][n - 1], settled[row])


def test_prediction_reads_all_senders_and_leaves_the_rest():
    network, state = deep_network(jax.random.key(0)), random_state(jax.random.key(1))
    state = settle(network, state, 3)
    predicted, _ = network.predict(state)
    expected = sum(
        (state[j] @ network.layers[3, j].weight) * network.layers[3, j].strength.value
        for j in (1, 2)
    )
    np.testing.assert_allclose(predicted.readout, expected, rtol=1e-5)
    for i in range(3):
        np.testing.assert_array_equal(predicted[i], state[i])


def test_a_tie_is_plus_one():
    """Zero weights and input: every field is exactly zero."""
    network = tutorial_network(jax.random.key(0), sizes=(4, 6, 2))
    network = jax.tree.map(jnp.zeros_like, network)
    state, _ = network.step(SequentialState((4, 6, 2)).init(jnp.ones((3, 4))))
    assert np.all(np.asarray(state[1]) == 1)


def test_the_label_is_heard_in_step_and_not_in_inference():
    network = tutorial_network(jax.random.key(0), sizes=(4, 64, 2), back=100.0)
    x, y = jnp.ones((1, 4)), jnp.array([[1.0, -1.0]])
    state = SequentialState((4, 64, 2))
    taught = [network.step(state.init(x, sign * y))[0][1] for sign in (1, -1)]
    free = [network.step_inference(state.init(x, sign * y))[0][1] for sign in (1, -1)]
    np.testing.assert_array_equal(taught[0], -taught[1])
    np.testing.assert_array_equal(free[0], free[1])


def test_the_loop_compiles_once_whatever_the_number_of_sweeps():
    """The original unrolled its loops: compile time grew with the number of sweeps."""
    network = tutorial_network(jax.random.key(0), sizes=(4, 6, 2))
    state = random_state(jax.random.key(1), sizes=(4, 6, 2))
    sizes = [
        len(str(jax.make_jaxpr(lambda s, n=n: settle(network, s, n).buffers)(state)))
        for n in (10, 99)
    ]
    assert sizes[0] == sizes[1]


def test_a_key_is_handed_back():
    network = tutorial_network(jax.random.key(0), sizes=(4, 6, 2))
    key = jax.random.key(3)
    state = random_state(jax.random.key(1), sizes=(4, 6, 2))
    for method in (network.step, network.step_inference, network.predict):
        assert method(state, key)[1] is key


def test_misfits_are_refused():
    network = tutorial_network(jax.random.key(0), sizes=(4, 6, 2))
    state = SequentialState((4, 6, 2))
    with pytest.raises(ValueError, match="has 2 layers"):
        network.step(SequentialState((4, 2)))
    with pytest.raises(ValueError, match="steps=-1"):
        settle(network, state, -1)
