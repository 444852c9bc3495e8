"""Spiking networks in half precision: spikes exact, membranes in float32, and they learn."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.spiking import (
    ALIF,
    LI,
    LIF,
    CuBaLIF,
    Graded,
    SNNClassifier,
    SpikeBridge,
    SuperSpike,
    count,
)
from etude.systems.gravitational_waves.training import create_composite_loss

KINDS = [LIF, ALIF, CuBaLIF, LI, Graded]
HALVES = [jnp.bfloat16, jnp.float16]


def cast(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype), tree, is_leaf=eqx.is_inexact_array)


def currents(*shape, size=0.4, seed=0):
    return size * jax.random.normal(jax.random.key(seed), shape) + 0.1


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("kind", KINDS)
def test_half_currents_give_what_the_same_numbers_give_in_single(kind, half, learnable):
    neurons = kind(5, dt=1e-3, learnable=learnable)
    x = currents(200, 5).astype(half)
    found, expected = neurons(x), neurons(x.astype(jnp.float32))
    if kind in (LIF, ALIF, CuBaLIF):
        assert found.dtype == half
        assert 0 < found.sum() < found.size
        assert set(np.unique(found.astype(np.float32))) == {0.0, 1.0}
    np.testing.assert_array_equal(found, expected.astype(found.dtype))


@pytest.mark.parametrize(
    ("kind", "half"), list(zip(KINDS, [*HALVES, *HALVES, jnp.bfloat16], strict=True))
)
def test_membranes_are_float32_whatever_meets(kind, half):
    """Parameters and currents of any two precisions, forwards and backwards."""
    for neurons_in, currents_in in [(half, half), (half, jnp.float32), (jnp.float32, half)]:
        neurons = cast(kind(3, dt=1e-3, learnable=True), neurons_in)
        x = currents(40, 3).astype(currents_in)
        state, _ = neurons.advance(x.dtype)(neurons.rest(x.dtype), x[0])
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32")}
        slope = eqx.filter_jit(
            jax.grad(lambda both: jnp.sum(both[0](both[1]).astype(jnp.float32)))
        )((neurons, x))
        assert slope[1].dtype == currents_in
        for leaf in jax.tree.leaves(slope):
            assert np.isfinite(np.asarray(leaf, np.float32)).all()


def test_a_decay_of_half_parameters_is_not_rounded_to_half():
    """exp(-dt / tau) is .9990 here, which bfloat16 makes 1: a membrane that never forgets."""
    neurons = cast(LI(1, dt=1e-3, time_constant=1.0), jnp.bfloat16)
    kept = neurons(jnp.zeros((1000, 1), jnp.bfloat16).at[0].set(1.0))[:, 0]
    np.testing.assert_allclose(kept, np.exp(-1e-3 * np.arange(1000)), rtol=1e-4)


@pytest.mark.parametrize(
    ("neurons", "half", "hoisted"),
    [(LIF, jnp.bfloat16, False), (ALIF, jnp.float16, True), (CuBaLIF, jnp.bfloat16, True)],
)
def test_a_classifier_takes_any_mix(neurons, half, hoisted):
    single = SNNClassifier(4, 2, (6, 5), dt=1e-3, neurons=neurons, hoisted=hoisted,
                           key=jax.random.key(0))  # fmt: skip
    x = jax.random.bernoulli(jax.random.key(1), 0.3, (30, 4)).astype(jnp.float32)
    compiled = eqx.filter_jit(lambda snn, x: (snn(x), count(snn, x).synaptic_operations))
    expected, operations = compiled(single, x)
    for weights, spikes in [(half, half), (half, jnp.float32), (jnp.float32, half)]:
        logits, found = compiled(cast(single, weights), x.astype(spikes))
        assert logits.dtype == found.dtype == jnp.float32
        np.testing.assert_allclose(logits, expected, atol=0.1 + 0.1 * np.abs(expected).max())
        assert float(found) == pytest.approx(float(operations), rel=0.1)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    "encoding", ["temporal_contrast", "delta", "rate", "latency", "multi_threshold", "phase"]
)
def test_a_bridge_sends_the_same_spikes_of_the_same_numbers(encoding, half):
    bridge, key = SpikeBridge(0.1, encoding, learnable=True), jax.random.key(3)
    x = jnp.cumsum(currents(50, 2), axis=0).astype(half)
    found = bridge(x, key=key)
    assert found.dtype == half
    assert set(np.unique(found.astype(np.float32))) == {0.0, 1.0}
    np.testing.assert_array_equal(found, bridge(x.astype(jnp.float32), key=key).astype(half))


@pytest.mark.parametrize("half", [jnp.float16, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_the_whole_detector_and_its_losses_in_half(half):
    network = SpikingNetwork.build(8, (4,), filters=2, key=jax.random.key(0))
    windows = jax.random.normal(jax.random.key(1), (4, 1024, 2))
    labels = jnp.array([0, 1, 0, 1])
    loss = eqx.filter_jit(create_composite_loss(0.5, 1.0))
    context = et.Context.at(jax.random.key(2))

    def measured(dtype):
        # So loud that a square is beyond float16.
        batch = ((1000 * windows).astype(dtype), labels)
        return loss(cast(network, dtype), batch, context)

    value, metrics = measured(half)
    expected, _ = measured(jnp.float32)
    assert value.dtype == jnp.float32
    assert all(metric.dtype == jnp.float32 for metric in metrics.values())
    assert float(value) == pytest.approx(float(expected), rel=0.3)


def order_of_two(key):
    """Two channels, one spike each: which came first? The counts are the same in both classes."""
    when, order = jax.random.split(key)
    start = jax.random.randint(when, (), 0, 10)
    label = jax.random.bernoulli(order).astype(jnp.int32)
    x = jnp.zeros((30, 2)).at[start, label].set(1.0).at[start + 8, 1 - label].set(1.0)
    return x, label


def accuracy(precision, neurons, seed):
    """Held-out, after training with the engine in this precision."""
    x, labels = jax.vmap(order_of_two)(jax.random.split(jax.random.key(0), 512))
    neurons = partial(neurons, time_constant=0.01, surrogate=SuperSpike(5.0), learnable=True)
    snn = SNNClassifier(2, 2, (32,), dt=1e-3, neurons=neurons, key=jax.random.key(seed))
    snn = eqx.tree_at(lambda m: m.layers[0].weight, snn, 3 * snn.layers[0].weight)

    def loss(model, batch, context):
        logits = jax.vmap(model)(batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    learner = et.Learner(et.Gradient(loss), optax.adam(1e-2), precision=precision)
    phase = et.Phase("fit", learner, et.ArrayData((x[:256], labels[:256]), 256), et.Steps(40))
    model = et.Trainer(snn, phase, seed=seed, progress=False).fit().model
    return float(jnp.mean(jax.vmap(model)(x[256:]).argmax(1) == labels[256:]))


@pytest.mark.slow
@pytest.mark.parametrize("neurons", [LIF, ALIF, CuBaLIF])
def test_training_in_half_is_as_good_as_in_single(neurons):
    with jax.numpy_dtype_promotion("standard"):  # optax needs it
        single = [accuracy("float32", neurons, seed) for seed in (1, 2)]
        halves = [accuracy(half, neurons, 1) for half in ("bfloat16", "float16")]
    spread = abs(single[0] - single[1])
    assert min(single) > 0.8
    assert min(halves) >= min(single) - max(spread, 0.03)
