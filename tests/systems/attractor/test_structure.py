"""Layer map, state and data: structure, shapes, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.systems.attractor import (
    FullyConnected,
    LayerMap,
    OutputLayer,
    PrototypeData,
    SequentialState,
)


def edge():
    return FullyConnected(2, 2, 1.0, 1.0, jax.random.key(0))


@given(order=st.permutations([1, 2, 3]))
def test_layer_map_sorts_and_round_trips(order):
    rows = {i: {j: OutputLayer() if i == j else edge() for j in (i, i - 1)} for i in order}
    layers = LayerMap.from_dict(rows)
    assert layers.edges == ((1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3))
    assert all(layers[i, j] is rows[i][j] for i, j in layers.edges)
    assert layers.to_dict() == {i: dict(layers[i]) for i in layers.rows}
    leaves, treedef = jax.tree.flatten(layers)
    assert jax.tree.unflatten(treedef, leaves).edges == layers.edges


def test_layer_map_refuses():
    with pytest.raises(ValueError, match=r"row 1 has no layer; add entry \(1, 1\)"):
        LayerMap.from_dict({1: {0: edge()}})
    with pytest.raises(TypeError, match=r"entry \(1, 1\) is a FullyConnected; expected a layer"):
        LayerMap.from_dict({1: {1: edge()}})
    with pytest.raises(ValueError, match="empty"):
        LayerMap.from_dict({})
    with pytest.raises(ValueError, match="from 0"):
        LayerMap.from_dict({1: {-1: edge(), 1: OutputLayer()}})
    with pytest.raises(KeyError, match="no entry"):
        LayerMap.from_dict({1: {1: OutputLayer()}})[1, 0]
    assert (1, 0) in LayerMap.from_dict({1: {0: edge()}}, require_diagonal=False)


def test_state_starts_from_zero_for_each_batch():
    state = SequentialState((2, (2, 3, 1), 4))
    used = state.init(jnp.ones((3, 2))).replace(1, jnp.ones((3, 2, 3, 1)))
    fresh = used.init(jnp.ones((5, 2)), jnp.ones((5, 4)))
    assert fresh[1].shape == (5, 2, 3, 1)
    assert not np.any(fresh[1])
    assert np.all(np.asarray(fresh.readout) == 1)


def test_state_converts_to_its_type():
    state = SequentialState((2, 1), dtype=jnp.bfloat16).init(jnp.ones((1, 2), int))
    assert state[0].dtype == jnp.bfloat16


def test_state_refuses():
    state = SequentialState((2, 3, 4))
    with pytest.raises(ValueError, match=r"layer 0 holds \(5, 2\).* got \(5, 9\)"):
        state.init(jnp.ones((5, 9)))
    with pytest.raises(ValueError, match=r"layer -1 holds \(5, 4\)"):
        state.init(jnp.ones((5, 2)), jnp.ones((4, 4)))
    with pytest.raises(IndexError, match="there is no 3"):
        state[3]
    with pytest.raises(ValueError, match="at least two layers"):
        SequentialState((3,))


def test_prototype_data_has_the_layout_of_the_original():
    """Written out again, key by key; the training stream is then the same bit for bit."""
    key = jax.random.key(7)
    data = PrototypeData(key, num_prototypes=3, dim_prototypes=8, num_data=20, p_noise=0.2)
    prototype_key, data_key = jax.random.split(key)
    prototypes = jax.random.rademacher(prototype_key, (3, 8), jnp.float32)
    shuffle_key, noise_key = jax.random.split(data_key)
    labels = np.repeat(np.arange(3), 7)[:20]
    flips = np.array(jax.random.bernoulli(noise_key, 0.8, (20, 8))) * 2.0 - 1.0
    order = np.array(jax.random.permutation(shuffle_key, 20))
    np.testing.assert_array_equal(data.x, (np.array(prototypes)[labels] * flips)[order])
    np.testing.assert_array_equal(data.y, (2.0 * np.eye(3)[labels] - 1)[order])


def test_batches_of_the_tutorial():
    sizes = [len(x) for x, _ in PrototypeData(jax.random.key(0))]
    assert sizes == [16] * 55 + [15] * 8


def test_noise_and_bayes_limit():
    """Flips at rate p; the nearest prototype is right .987 of the time (Monte Carlo, .0017)."""
    data = PrototypeData(jax.random.key(1))
    x, y = data.sample(jax.random.key(2), 20_000)
    clean = data.prototypes[jnp.argmax(y, -1)]
    assert np.mean(np.asarray(x != clean)) == pytest.approx(0.3, abs=0.002)
    right = jnp.argmax(data.nearest_prototype(x), -1) == jnp.argmax(y, -1)
    assert np.mean(np.asarray(right)) == pytest.approx(0.987, abs=0.006)


@pytest.mark.parametrize(
    "bad", [{"p_noise": 0.5}, {"num_data": 3}, {"batch_size": 1}, {"num_prototypes": 0}]
)
def test_prototype_data_refuses(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PrototypeData(jax.random.key(0), **bad)
