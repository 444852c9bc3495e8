"""Spikes of the bridge: binary, at the right time, and with a gradient."""

from typing import get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from etude.systems.gravitational_waves.spiking import Encoding, FastSigmoid, SpikeBridge
from etude.systems.gravitational_waves.spiking.encodings import latency

ENCODINGS = get_args(Encoding)
SIGNALS = hnp.arrays(np.float32, (12, 2), elements=st.floats(-2, 2, width=32))


def signal(steps: int = 40, features: int = 3):
    return 0.5 * jax.random.normal(jax.random.key(0), (steps, features))


def bridged(bridge: SpikeBridge, x, seed: int = 0):
    return bridge(jnp.asarray(x), key=jax.random.key(seed))


def events(bridge: SpikeBridge, x, *shape: int):
    """The spikes as `(time, features, ON and OFF, *shape)`."""
    spikes = np.asarray(bridged(bridge, x))
    return spikes.reshape(len(spikes), -1, 2, *shape)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(x=SIGNALS, threshold=st.sampled_from([0.01, 0.3, 1.0]))
@settings(max_examples=5)
def test_spikes_are_zero_or_one_and_never_on_and_off_at_once(encoding, x, threshold):
    bridge = SpikeBridge(threshold, encoding, steps=3)
    found = bridged(bridge, x)
    assert np.isin(found, [0.0, 1.0]).all()
    assert found.shape == (12 * bridge.steps, bridge.channels(2))
    if encoding != "rate":  # whose draws are independent
        pairs = events(bridge, x, bridge.channels(2) // 4)
        assert (pairs[:, :, 0] * pairs[:, :, 1]).max() == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_gradient_reaches_every_feature_and_the_threshold(encoding):
    bridge, x = SpikeBridge(0.3, encoding, learnable=True), signal()
    # Unequal weights, since ON and OFF of a rate would cancel.
    weight = jax.random.normal(jax.random.key(1), (40 * bridge.steps, bridge.channels(3)))

    def loss(bridge, x):
        return (bridged(bridge, x) * weight).sum()

    thresholds, features = eqx.filter_jit(jax.grad(loss, (0, 1)))(bridge, x)
    assert np.abs(features).max(0).min() > 0
    assert np.isfinite(features).all()
    assert np.abs(thresholds.threshold.log_ratio).min() > 0


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_higher_threshold_means_fewer_spikes(encoding):
    x = 2 * signal(200)
    assert (
        bridged(SpikeBridge(0.4, encoding), x).sum() < bridged(SpikeBridge(0.1, encoding), x).sum()
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_sample_is_alone_in_its_batch(encoding):
    bridge = SpikeBridge(0.2, encoding)
    x = jnp.stack([signal(), 100 * signal(), -signal()])
    keys = jax.random.split(jax.random.key(2), 3)
    batch = jax.jit(jax.vmap(lambda x, key: bridge(x, key=key)))(x, keys)
    for sample, key, expected in zip(x, keys, batch, strict=True):
        np.testing.assert_array_equal(bridge(sample, key=key), expected)


def test_temporal_contrast_marks_the_changes_beyond_the_threshold():
    x = np.cumsum(np.random.default_rng(0).normal(size=(60, 2)), 0).astype(np.float32)
    change = np.diff(x, axis=0)
    found = events(SpikeBridge(0.5), x)
    assert found[0].sum() == 0
    np.testing.assert_array_equal(found[1:, :, 0], change > 0.5)
    np.testing.assert_array_equal(found[1:, :, 1], change < -0.5)


@given(
    steps=hnp.arrays(np.float32, (30, 2), elements=st.floats(-1, 1, width=32)),
    threshold=st.floats(0.05, 2),
)
@settings(max_examples=5)
def test_delta_modulation_reconstructs_within_a_threshold(steps, threshold):
    x = 3 + np.cumsum(steps * threshold, 0)
    found = events(SpikeBridge(threshold, "delta"), x.astype(np.float32))
    follower = x[0] + threshold * np.cumsum(found[:, :, 0] - found[:, :, 1], 0)
    assert np.abs(x - follower).max() <= threshold * (1 + 1e-3)


def test_the_gradient_through_delta_modulation_does_not_explode():
    x = jnp.cumsum(0.2 * signal(500, 1), 0)
    gradient = eqx.filter_jit(jax.grad(lambda x: bridged(SpikeBridge(0.1, "delta"), x)[-1].sum()))(
        x
    )
    assert np.abs(gradient).max() < 100


def test_the_mean_of_the_rate_is_its_probability():
    x = jnp.tile(jnp.array([[-0.2, 0.0, 0.1, 0.3]]), (500, 1))
    bridge = SpikeBridge(0.1, "rate", steps=8)
    found = bridged(bridge, x).reshape(4000, 4, 2)
    expected = 1 / (1 + np.exp(1 - np.stack([x[0], -x[0]], -1) / 0.1))
    error = np.sqrt(expected * (1 - expected) / 4000)
    assert (np.abs(found.mean(0) - expected) < 5 * error).all()
    assert float(expected[2, 0]) == pytest.approx(0.5)


def test_rates_of_different_keys_and_steps_are_independent():
    x = jnp.full((300, 1), 0.1)
    bridge = SpikeBridge(0.1, "rate", steps=1)
    one, other = bridged(bridge, x, 0)[:, 0], bridged(bridge, x, 1)[:, 0]
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(300)
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 5 / np.sqrt(300)


def test_the_gradient_of_a_rate_is_that_of_its_probability():
    gradient = jax.grad(lambda x: bridged(SpikeBridge(0.5, "rate", steps=1), x)[:, 0].sum())
    p = 1 / (1 + np.exp(1 - 0.7 / 0.5))
    np.testing.assert_allclose(gradient(jnp.full((3, 1), 0.7)), p * (1 - p) / 0.5, rtol=1e-5)


@given(x=st.floats(0.0, 5.0), steps=st.sampled_from([1, 4, 20]))
@settings(max_examples=15)
def test_latency_is_one_spike_at_the_closed_form_step(x, steps):
    when = steps * 0.1 / x if x > 0.1 else np.inf
    if x > 0.1 and abs(when - round(when)) < 1e-4:
        return  # a tie, decided by rounding
    found = events(SpikeBridge(0.1, "latency", steps=steps), np.full((1, 1), x, np.float32))
    on, off = found[:, 0].T
    assert off.sum() == 0
    if x <= 0.1:
        assert on.sum() == 0
    else:
        assert on.sum() == 1
        assert on.argmax() == int(when)


def test_latency_keeps_the_steps_of_the_signal_apart():
    x = np.array([[1.0], [0.0], [-0.15]], np.float32)
    found = events(SpikeBridge(0.1, "latency", steps=4), x)[:, 0]
    np.testing.assert_array_equal(np.argwhere(found), [[0, 0], [10, 1]])


def test_a_stronger_signal_is_earlier_in_the_gradient():
    early = jnp.array([1.0, 0.5, 0.0, -0.5])[:, None, None]

    def earliness(x):
        return (latency(x, jnp.array(0.1), 4, FastSigmoid())[:, :, :1] * early).sum()

    assert eqx.filter_jit(jax.grad(earliness))(jnp.full((1, 1), 0.15))[0, 0] > 0


def test_many_thresholds_keep_time_and_features_apart():
    x = np.array([[0.15, -0.9], [0.5, 0.0], [0.0, 0.05]], np.float32)
    found = events(SpikeBridge(0.1, "multi_threshold", levels=4), x, 4)
    for sign, part in ((1, found[:, :, 0]), (-1, found[:, :, 1])):
        expected = sign * x[:, :, None] > [0.1, 0.2, 0.4, 0.8]
        np.testing.assert_array_equal(part, expected)


def test_learnt_thresholds_stay_in_order():
    bridge = SpikeBridge(0.1, "multi_threshold", levels=5, learnable=True)
    moved = eqx.tree_at(
        lambda b: b.threshold.log_ratio, bridge, jnp.array([3.0, -9.0, 1.0, -4.0, 0.0])
    )
    assert (np.diff(moved.thresholds) > 0).all()
    np.testing.assert_allclose(bridge.thresholds, [0.1, 0.2, 0.4, 0.8, 1.6], rtol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_phase_puts_one_spike_per_cycle_at_the_phase_of_each_level(shift):
    period, cycles = 200, 5
    angle = 2 * np.pi * np.arange(period * cycles) / period - shift
    found = events(SpikeBridge(0.1, "phase", levels=4), np.sin(angle)[:, None].astype("f4"), 4)
    for sign, offset in ((0, 0.0), (1, np.pi)):
        for level, threshold in enumerate([0.1, 0.2, 0.4, 0.8]):
            times = np.flatnonzero(found[:, 0, sign, level])
            assert abs(len(times) - cycles) <= 1
            phases = (angle[times] - offset) % (2 * np.pi)
            np.testing.assert_allclose(phases, np.arcsin(threshold), atol=2 * 2 * np.pi / period)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'temporal_contrast'"):
        SpikeBridge(encoding="temporal-contrast")
    with pytest.raises(ValueError, match=r"threshold=0\.0; expected positive"):
        SpikeBridge(0.0)
    with pytest.raises(ValueError, match="levels=0; expected at least 1"):
        SpikeBridge(encoding="phase", levels=0)
    with pytest.raises(ValueError, match="pass key="):
        SpikeBridge(encoding="rate")(signal())
