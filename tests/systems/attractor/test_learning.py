"""What connections learn, against sums written out; and what must never move."""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etude.engine.leaf_roles import Role, roles
from etude.engine.rule import Context
from etude.systems.attractor import (
    Conv2D,
    FrozenFullyConnected,
    FullyConnected,
    LayerMap,
    Local,
    LocalRule,
    OutputLayer,
    PrototypeData,
    RecurrentConv2D,
    RecurrentDiscrete,
    SequentialOrchestrator,
    SequentialState,
    SparseFullyConnected,
    contrastive_updates,
    field_perceptron,
    hebbian,
    local_updates,
    own_message_perceptron,
    settle,
    softmax_cross_entropy,
    tanh_delta,
)

sys.path.insert(0, str(Path(__file__).parent))
from networks import evaluate, partition, train, tutorial_network, weights
from reference import Reference
from test_dynamics import random_state

SIZES = (10, 20, 3)


def local(target, field, message=None, threshold=1.0):
    field = jnp.asarray(field)
    message = field if message is None else jnp.asarray(message)
    return Local(jnp.asarray(target), message, field, jnp.asarray(threshold), False)


@pytest.mark.parametrize("plasticity", [own_message_perceptron, field_perceptron])
def test_a_margin_met_exactly_is_a_mistake(plasticity):
    target = [[1.0, 1.0, -1.0, -1.0, 1.0]]
    signal = plasticity(local(target, [[1.0, 1.1, -1.0, -1.1, -3.0]]))
    assert signal.tolist() == [[1.0, 0.0, -1.0, 0.0, 1.0]]


@pytest.mark.parametrize("own_message", [True, False])
def test_updates_of_the_perceptron_rules(own_message):
    plasticity = own_message_perceptron if own_message else field_perceptron
    network = tutorial_network(jax.random.key(0), SIZES)
    state = random_state(jax.random.key(1), batch=6, sizes=SIZES)
    state = settle(network, state, 4)
    updates = network.backward(state, hidden=plasticity, readout=plasticity)
    w_in, _, w_out = weights(network)
    loop = Reference(
        w_in, network.layers[1, 1].weight, network.layers[1, 2].weight.value, w_out,
        thresholds=(3.5, 0.5, 3.5), j_d=0.5, back=0.3,
    )  # fmt: skip
    x, s, y = (np.array(b) for b in state.buffers)
    expected = loop.pseudo_gradients(x, s, y, own_message)
    got = (updates.layers[i, j].weight for i, j in ((1, 0), (1, 1), (2, 1)))
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(partition(updates)[1]))


def test_softmax_read_out_is_the_gradient_of_the_cross_entropy():
    network = tutorial_network(jax.random.key(0), SIZES)
    state = settle(network, random_state(jax.random.key(1), sizes=SIZES), 4)
    updates = network.backward(state, readout=softmax_cross_entropy)

    def loss(w):
        labels = (state.readout + 1) / 2
        return optax.losses.softmax_cross_entropy(state[1] @ w, labels).mean()

    expected = jax.grad(loss)(network.layers[2, 1].weight)
    np.testing.assert_allclose(updates.layers[2, 1].weight, expected, atol=1e-6)


def test_tanh_delta_is_the_gradient_of_the_squared_error():
    target, field = jnp.array([[1.0, -1.0, 1.0]]), jnp.array([[0.3, 0.2, 4.0]])
    expected = -jax.grad(lambda h: 0.5 * jnp.sum((target - jnp.tanh(h)) ** 2))(field)
    np.testing.assert_allclose(tanh_delta()(local(target, field)), expected, atol=1e-6)
    assert tanh_delta(tolerance=0.5)(local(target, field))[0, 2] == 0
    with pytest.raises(ValueError, match="tolerance"):
        tanh_delta(tolerance=-1.0)


def test_contrastive_updates_are_free_minus_clamped_correlations():
    network = tutorial_network(jax.random.key(0), SIZES, back=3.0)
    drawn = random_state(jax.random.key(1), batch=6, sizes=SIZES)
    x, y = drawn[0], drawn.readout
    updates, _ = contrastive_updates(network, drawn, (x, y), clamped_steps=3, free_steps=4)
    free = settle(network, drawn.init(x), 4, messages="forward")[1]
    taught = settle(network, drawn.replace(1, free), 3)[1]
    difference = np.array(free.T @ free - taught.T @ taught) / 6
    np.fill_diagonal(difference, 0)
    np.testing.assert_allclose(updates.layers[1, 1].weight, difference, atol=1e-6)
    difference = np.array(x.T @ (free - taught)) / 6
    np.testing.assert_allclose(updates.layers[1, 0].weight, difference, atol=1e-6)
    read_out = network.backward(drawn.replace(1, free)).layers[2, 1].weight
    np.testing.assert_allclose(updates.layers[2, 1].weight, read_out, atol=1e-6)


def test_read_out_learns_where_predictions_start():
    network = tutorial_network(jax.random.key(0), SIZES, back=3.0, j_d=2.0)
    drawn = random_state(jax.random.key(1), batch=6, sizes=SIZES)
    x, y = drawn[0], drawn.readout
    taught, _ = local_updates(network, drawn, (x, y))
    blank, metrics = local_updates(network, drawn, (x, y), readout_from="blank")
    for edge in ((1, 0), (1, 1)):
        np.testing.assert_array_equal(blank.layers[edge].weight, taught.layers[edge].weight)
    settled = settle(network, drawn.init(x), 10, messages="forward").replace(-1, y)
    expected = network.backward(settled).layers[2, 1].weight
    np.testing.assert_array_equal(blank.layers[2, 1].weight, expected)
    assert metrics["accuracy"] == pytest.approx(evaluate(network, x, y))


@pytest.mark.parametrize("update", [local_updates, contrastive_updates])
def test_rule_proposes_updates_for_what_is_trainable_only(update):
    network = tutorial_network(jax.random.key(0), SIZES)
    drawn = random_state(jax.random.key(1), batch=6, sizes=SIZES)
    batch = drawn[0], drawn.readout
    trainable, rest = eqx.partition(network, partition_by_role(network))
    trainable = eqx.tree_at(lambda n: n.layers.modules[1].weight, trainable, None)  # frozen J
    rest = eqx.tree_at(
        lambda n: n.layers.modules[1].weight,
        rest,
        network.layers[1, 1].weight,
        is_leaf=lambda node: node is None,
    )
    proposal = LocalRule(SIZES, update)(trainable, rest, batch, Context.at(jax.random.key(0)))
    assert jax.tree.structure(proposal.updates) == jax.tree.structure(trainable)
    expected, metrics = update(network, drawn, batch)
    for edge in ((1, 0), (2, 1)):
        np.testing.assert_array_equal(
            proposal.updates.layers[edge].weight, expected.layers[edge].weight
        )
    assert proposal.metrics.keys() == metrics.keys()


def partition_by_role(network):
    """The engine's own idea of what learns."""
    learns = [role is Role.PARAMETER for role in roles(network)]
    return jax.tree.unflatten(jax.tree.structure(network), learns)


@pytest.mark.parametrize("update", [local_updates, contrastive_updates])
def test_samples_of_weight_zero_do_not_exist(update):
    network = tutorial_network(jax.random.key(0), SIZES)
    drawn = random_state(jax.random.key(1), batch=6, sizes=SIZES)
    x, y = drawn[0], drawn.readout
    weight = jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    padded, short = update(network, drawn, (x, y, weight)), update(network, drawn, (x[:4], y[:4]))
    for a, b in zip(weights(padded[0]), weights(short[0]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(padded[1]["accuracy"], short[1]["accuracy"], atol=1e-6)


def correlations(operator_weight, connection, x, signal):
    """The update by differentiating <signal, message>: linear, so exact."""

    def inner(w):
        changed = eqx.tree_at(operator_weight, connection, w)
        return jnp.sum(changed(x) * signal)

    return jax.grad(inner)(operator_weight(connection))


def test_convolution_correlates_before_and_after():
    keys = jax.random.split(jax.random.key(0), 5)
    conv = Conv2D(2, 3, 3, 1.0, 0.5, keys[0], stride=2)
    x = jax.random.normal(keys[1], (4, 6, 6, 2))
    signal = jax.random.normal(keys[2], (4, 3, 3, 3))
    expected = correlations(lambda m: m.kernel, conv, x, signal)
    np.testing.assert_allclose(conv.correlate(x, signal).kernel, expected, atol=1e-4)
    # And the forward map as a sum over taps; "SAME" pads an even size on the far side only.
    padded = np.pad(np.array(x), ((0, 0), (0, 1), (0, 1), (0, 0)))
    by_hand = np.zeros((4, 3, 3, 3))
    for i in range(3):
        for j in range(3):
            patch = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            by_hand[:, i, j] = np.einsum("bhwc,hwco->bo", patch, np.array(conv.kernel))
    np.testing.assert_allclose(conv(x), by_hand, atol=1e-5)

    layer = RecurrentConv2D(3, 3, 0.5, 1.0, keys[3])
    grid = jax.random.normal(keys[4], (4, 5, 5, 3))
    update = layer.correlate(grid, grid).kernel
    expected = np.array(correlations(lambda m: m.kernel, layer, grid, grid))
    np.testing.assert_allclose(update, expected, atol=1e-4)
    assert np.all(np.diag(update[1, 1]) == 0)
    assert layer.activation(jnp.zeros((1, 1, 1, 3))).tolist() == [[[[1.0, 1.0, 1.0]]]]


def test_sparse_connections():
    sparse = SparseFullyConnected(400, 300, 1.0, 0.5, density=0.1, key=jax.random.key(0))
    assert sparse.mask.mean() == pytest.approx(0.1, abs=0.01)
    x = jax.random.rademacher(jax.random.key(1), (200, 400), jnp.float32)
    assert jnp.var(sparse(x)).item() == pytest.approx(1.0, abs=0.1)
    update = sparse.correlate(x, jnp.ones((200, 300))).weight
    np.testing.assert_allclose(update, np.where(sparse.mask, x.T @ jnp.ones((200, 300)), 0))


def mixed_network(key):
    """Convolution, sparse and dense connections, two hidden layers."""
    k = jax.random.split(key, 8)
    grid = (4, 4, 3)
    return SequentialOrchestrator(
        LayerMap.from_dict(
            {
                1: {
                    0: Conv2D(1, 3, 3, 1.0, 1.0, k[0], stride=2),
                    1: RecurrentConv2D(3, 3, 0.5, 1.0, k[1]),
                    3: FrozenFullyConnected(2, grid, 0.5, 0.0, k[2]),
                },
                2: {
                    1: SparseFullyConnected(48, 20, 1.0, 1.0, 0.5, k[3]),
                    2: RecurrentDiscrete(20, 0.5, 1.0, k[4]),
                    3: FrozenFullyConnected(2, 20, 0.5, 0.0, k[5]),
                },
                3: {2: FullyConnected(20, 2, 1.0, 1.0, k[6]), 3: OutputLayer()},
            }
        )
    )


def test_only_what_learns_moves_under_weight_decay():
    network = mixed_network(jax.random.key(0))
    state = SequentialState(((8, 8, 1), (4, 4, 3), 20, 2))
    x = jax.random.normal(jax.random.key(1), (6, 8, 8, 1))
    y = jnp.array([[1.0, -1.0], [-1.0, 1.0]] * 3)
    trainable, rest = partition(network)
    optimizer = optax.adamw(1e-2, weight_decay=0.5)
    memory = optimizer.init(trainable)

    @jax.jit
    def step(trainable, memory):
        updates, _ = local_updates(eqx.combine(trainable, rest), state, (x, y))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes a count with floats
            changes, memory = optimizer.update(partition(updates)[0], memory, trainable)
        return eqx.apply_updates(trainable, changes), memory

    for _ in range(20):
        trainable, memory = step(trainable, memory)
    trained = eqx.combine(trainable, rest)
    assert len(jax.tree.leaves(trainable)) == 5  # two kernels, sparse, J, read-out
    for before, after in zip(
        jax.tree.leaves(partition(network)[0]), jax.tree.leaves(trainable), strict=True
    ):
        assert np.any(np.asarray(before != after))
    couplings = trained.layers[2, 2]
    np.testing.assert_array_equal(np.diag(couplings.coupling), np.float32(0.5))
    np.testing.assert_array_equal(np.diag(couplings.weight), 0)
    np.testing.assert_array_equal(np.diag(trained.layers[1, 1].coupling[1, 1]), np.float32(0.5))
    sparse = trained.layers[2, 1]
    np.testing.assert_array_equal(np.where(sparse.mask, 0, sparse.weight), 0)


def test_the_diagonal_is_not_read_from_the_trained_leaf():
    """Even an optimizer that adds noise to every entry cannot change a self-coupling."""
    layer = RecurrentDiscrete(5, 0.5, 1.0, jax.random.key(0))
    shaken = eqx.tree_at(lambda m: m.weight, layer, layer.weight + 7)
    np.testing.assert_array_equal(np.diag(shaken.coupling), np.float32(0.5))
    x = jnp.eye(5)
    np.testing.assert_array_equal(np.diag(shaken(x)), np.float32(0.5))


def test_hyper_parameters_per_unit_and_their_refusal():
    key = jax.random.key(0)
    strength = jnp.array([1.0, 2.0, 3.0])
    plain, scaled = FullyConnected(4, 3, 1.0, 0.0, key), FullyConnected(4, 3, strength, 0.0, key)
    x = jnp.ones((2, 4))
    np.testing.assert_allclose(scaled(x), plain(x) * strength, rtol=1e-6)
    np.testing.assert_array_equal(
        scaled.correlate(x, x[:, :3]).weight, plain.correlate(x, x[:, :3]).weight
    )
    with pytest.raises(ValueError, match=r"strength has shape \(2,\); expected a scalar or \(3,\)"):
        FullyConnected(4, 3, jnp.ones(2), 0.0, key)
    with pytest.raises(ValueError, match="j_d has shape"):
        RecurrentDiscrete(4, jnp.ones(3), 0.0, key)
    with pytest.raises(ValueError, match="no centre"):
        RecurrentConv2D(4, 2, 0.5, 0.0, key)
    with pytest.raises(ValueError, match="density=0"):
        SparseFullyConnected(4, 4, 1.0, 1.0, 0.0, key)


def test_every_plasticity_learns_prototypes():
    """An easy task (10 % flips); the plain Hebb rule has no error signal and is left out."""
    data = PrototypeData(jax.random.key(2), dim_prototypes=60, num_data=480, p_noise=0.1)
    sizes = (60, 80, 10)
    network = tutorial_network(jax.random.key(1), sizes, back=3.0, j_d=2.0)
    uncoupled = tutorial_network(jax.random.key(1), sizes, back=3.0, j_d=0.0)
    zeros = jnp.zeros((80, 80))
    uncoupled = eqx.tree_at(lambda n: n.layers[1, 1].weight, uncoupled, zeros)
    fresh = data.sample(jax.random.key(3), 500)
    for options in (
        {"hidden": own_message_perceptron},
        {"hidden": field_perceptron},
        {"hidden": tanh_delta()},
        {"readout": softmax_cross_entropy, "readout_from": "blank"},
        {"update": contrastive_updates},
    ):
        start = uncoupled if "update" in options else network
        trained, metrics = train(
            start, data.x, data.y, epochs=4, optimizer=optax.adam(3e-3), **options
        )
        assert evaluate(trained, *fresh) > 0.8, options
        assert metrics["accuracy"].shape == (4, 30)
    assert hebbian(local([[1.0]], [[5.0]])).tolist() == [[1.0]]
