"""The spiking classifier, its twin, and what it costs."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etude.systems.gravitational_waves.spiking import (
    ALIF,
    LIF,
    CuBaLIF,
    Graded,
    SNNClassifier,
    SuperSpike,
    Triangular,
    ann_twin,
    count,
)

DT = 1e-3


def classifier(**settings) -> SNNClassifier:
    return SNNClassifier(6, 3, (16, 8), **{"dt": DT, "key": jax.random.key(0)} | settings)


def raster(*shape: int, rate: float = 0.1, seed: int = 1):
    return jax.random.bernoulli(jax.random.key(seed), rate, shape).astype(jnp.float32)


# Loss, kernel gradient of the first layer, bias gradient of the second, and the gradients by the
# two decays: computed once with spyx 1.0.0, nnx.Linear and spyx.nn.LIF and LI of these values.
SPYX = {
    "superspike": (
        SuperSpike(5.0),
        [
            [0.470887, -0.690567, 0.339202, -0.408480],
            [0.771045, -1.106870, 0.520623, -0.631222],
            [0.391402, -0.508178, 0.254314, -0.299906],
        ],
        [8.340159, -1.521618, -2.007593],
        [-0.773688, 2.270381],
    ),
    "triangular": (
        Triangular(0.5),
        [
            [0.048634, 0.286542, -0.345843, 0.330240],
            [0.171725, 0.367834, -0.469309, 0.566794],
            [-0.005392, 0.183914, -0.234207, 0.099030],
        ],
        [4.959937, -1.978096, -4.102378],
        [0.552147, -0.612902],
    ),
}


@pytest.mark.parametrize("hoisted", [False, True])
@pytest.mark.parametrize("name", SPYX)
def test_gradients_are_those_of_spyx(name, hoisted):
    surrogate, first, second, decays = SPYX[name]
    tau = DT / -np.log(0.8)
    snn = SNNClassifier(
        3,
        2,
        (4, 3),
        dt=DT,
        neurons=partial(LIF, time_constant=tau, surrogate=surrogate, learnable=True),
        readout_time_constant=DT / -np.log(0.9),
        hoisted=hoisted,
        key=jax.random.key(0),
    )

    def fill(layer):
        count = layer.weight.size
        weight = jnp.asarray(np.sin(1.0 + np.arange(count)), jnp.float32)
        layer = eqx.tree_at(lambda m: m.weight, layer, weight.reshape(layer.weight.shape))
        return eqx.tree_at(lambda m: m.bias, layer, jnp.full_like(layer.bias, 0.3))

    parts = [fill(layer) for layer in (*snn.layers, snn.readout)]
    snn = eqx.tree_at(lambda m: (*m.layers, m.readout), snn, parts)
    x = jnp.asarray(np.cos(0.7 * np.arange(60)).reshape(20, 3) > 0.2, jnp.float32)
    weight = jnp.asarray(np.cos(np.arange(40)).reshape(20, 2), jnp.float32)
    loss, gradient = eqx.filter_jit(
        jax.value_and_grad(lambda m: (m.activity(x).readout * weight).sum())
    )(snn)
    assert float(loss) == pytest.approx(5.890515, rel=1e-5)
    np.testing.assert_allclose(gradient.layers[0].weight, first, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient.layers[1].bias, second, rtol=1e-4, atol=1e-5)
    for layer, expected in zip(gradient.layers, decays, strict=True):
        # d decay / d ln tau = decay dt / tau
        found = layer.neurons.membrane.log_ratio.sum() / (0.8 * DT / tau)
        assert float(found) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("neurons", [LIF, ALIF, CuBaLIF, Graded])
def test_both_ways_through_time_agree(neurons):
    x = raster(30, 6)

    def results(hoisted):
        snn = classifier(hoisted=hoisted, neurons=neurons)
        return eqx.filter_jit(jax.value_and_grad(lambda both: both[0](both[1])[0]))((snn, x))

    for one, other in zip(*map(jax.tree.leaves, (results(True), results(False))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_activity_is_binary_and_explains_the_logits():
    snn, x = classifier(), raster(80, 6, rate=0.3)
    found = snn.activity(x)
    for spikes, size in zip(found.spikes, (16, 8), strict=True):
        assert spikes.shape == (80, size)
        assert set(np.unique(spikes)) == {0.0, 1.0}
    np.testing.assert_allclose(found.readout.mean(0), found.logits, rtol=1e-5)
    np.testing.assert_allclose(snn(x), found.logits, rtol=1e-5)


@pytest.mark.parametrize(
    ("decision", "expected"),
    [("mean", lambda r: r.mean(0)), ("max", lambda r: r.max(0)), ("last", lambda r: r[-1])],
)
def test_the_decision_is_as_asked(decision, expected):
    found = classifier(decision=decision).activity(raster(80, 6, rate=0.3))
    np.testing.assert_allclose(found.logits, expected(found.readout), rtol=1e-5)


def test_a_sample_is_alone_in_its_batch():
    x = raster(4, 50, 6, rate=0.3)
    snn = classifier()
    batch = jax.jit(jax.vmap(snn))(x)
    np.testing.assert_allclose(snn(x[2]), batch[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("neurons", [LIF, CuBaLIF, partial(LIF, time_constant=0.2)])
@pytest.mark.parametrize("dt", [1e-3, 4e-3])
def test_new_networks_are_neither_silent_nor_flooded(neurons, dt):
    snn = SNNClassifier(64, 2, (128, 64, 32), dt=dt, neurons=neurons, key=jax.random.key(3))
    for spikes in snn.activity(raster(300, 64)).spikes:
        assert 0.01 < float(spikes.mean()) < 0.4


def test_it_learns_what_only_the_order_of_spikes_tells():
    # Two channels, one spike each: which came first? The counts are the same in both classes.
    def sample(key):
        when, order = jax.random.split(key)
        start = jax.random.randint(when, (), 0, 10)
        label = jax.random.bernoulli(order).astype(jnp.int32)
        x = jnp.zeros((30, 2)).at[start, label].set(1.0).at[start + 8, 1 - label].set(1.0)
        return x, label

    x, labels = jax.vmap(sample)(jax.random.split(jax.random.key(0), 256))
    neurons = partial(LIF, time_constant=0.01, surrogate=SuperSpike(5.0))
    snn = SNNClassifier(2, 2, (32,), dt=DT, neurons=neurons, key=jax.random.key(1))
    snn = eqx.tree_at(lambda m: m.layers[0].weight, snn, 3 * snn.layers[0].weight)
    optimizer = optax.adam(1e-2)
    learnt, fixed = eqx.partition(snn, lambda a: eqx.is_inexact_array(a) and a.ndim > 0)

    def loss(learnt):
        logits = jax.vmap(eqx.combine(learnt, fixed))(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def train(learnt):
        def step(carry, _):
            learnt, memory = carry
            value, gradient = eqx.filter_jit(jax.value_and_grad(loss))(learnt)
            updates, memory = optimizer.update(gradient, memory)
            return (optax.apply_updates(learnt, updates), memory), value

        return jax.lax.scan(step, (learnt, optimizer.init(learnt)), length=150)

    with jax.numpy_dtype_promotion("standard"):  # optax needs it
        (learnt, _), losses = train(learnt)
    accuracy = (jax.vmap(eqx.combine(learnt, fixed))(x).argmax(1) == labels).mean()
    assert losses[-1] < 0.3
    assert accuracy > 0.95


def test_the_twin_has_the_same_weights_and_no_spikes():
    snn = classifier()
    twin = ann_twin(snn, key=jax.random.key(1))
    shapes = [a.shape for a in jax.tree.leaves(snn) if a.ndim]
    assert sorted(a.shape for a in jax.tree.leaves(twin) if a.ndim) == sorted(shapes)
    sent = np.concatenate([s.ravel() for s in twin.activity(raster(40, 6, rate=0.3)).spikes])
    assert len(np.unique(sent)) > 50
    # Nothing is reset: it is linear as long as all membranes stay positive.
    positive = jax.tree.map(abs, twin)
    np.testing.assert_allclose(
        positive(2 * raster(40, 6)) - positive(0 * raster(40, 6)),
        2 * (positive(raster(40, 6)) - positive(0 * raster(40, 6))),
        rtol=1e-4,
    )


def test_counts_are_those_of_a_loop():
    snn, x = classifier(), raster(80, 6, rate=0.3)
    found, rasters = count(snn, x), snn.activity(x).spikes
    operations = 0
    for sent, fan_out in ((x, 16), (rasters[0], 8), (rasters[1], 3)):
        operations += fan_out * np.count_nonzero(sent)
    assert int(found.synaptic_operations) == operations
    assert found.dense_operations == 80 * (6 * 16 + 16 * 8 + 8 * 3)
    np.testing.assert_allclose(found.rates, [np.sum(r) / r.shape[1] / 0.08 for r in rasters], 1e-5)
    np.testing.assert_allclose(found.silent, [(np.sum(r, 0) == 0).mean() for r in rasters])


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="one hidden layer or more"):
        SNNClassifier(6, 2, (), dt=DT, key=jax.random.key(0))
    with pytest.raises(ValueError, match="decision='sum'; expected one of"):
        classifier(decision="sum")
