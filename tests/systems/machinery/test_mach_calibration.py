"""The phase that finds a temperature, and the network that sees rates of impulses alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.systems.machinery import (
    CNN1D,
    EnvelopeNetwork,
    calibration,
    temperature_of,
)
from etude.systems.machinery.models.envelope import envelope_lines


@pytest.fixture(scope="module")
def sharp():
    """A network that is far too sure, and windows on which it is sometimes wrong."""
    network = CNN1D(3, (4,), kernels=5, strides=4, dropout=0.0, hidden=(), key=jax.random.key(0))
    network = eqx.tree_at(
        lambda net: net.head.layers[0].weight, network, replace_fn=lambda w: 90 * w
    )
    signals = jax.random.normal(jax.random.key(1), (60, 64))
    labels = jnp.where(jnp.arange(60) % 3 > 0, network(signals).argmax(1), jnp.arange(60) % 2)
    return network, {"signal": signals, "label": labels.astype(jnp.int32)}


def test_the_phase_finds_the_temperature_of_the_report_and_moves_nothing_else(sharp):
    network, held_out = sharp
    found = et.Trainer(network, calibration(held_out), progress=False).fit().model
    wanted = temperature_of(network(held_out["signal"]), np.asarray(held_out["label"]))
    assert wanted > 2
    assert float(found.head.temperature.value) == pytest.approx(wanted, rel=1e-3)
    back = eqx.tree_at(lambda net: net.head.temperature, found, network.head.temperature)
    assert eqx.tree_equal(back, network)
    np.testing.assert_allclose(
        found.probabilities(held_out["signal"]),
        jax.nn.softmax(network(held_out["signal"]) / wanted),
        rtol=1e-2,
        atol=1e-6,
    )


def test_a_network_that_is_always_right_keeps_its_temperature(sharp):
    network, held_out = sharp
    right = {**held_out, "label": network(held_out["signal"]).argmax(1).astype(jnp.int32)}
    found = et.Trainer(network, calibration(right), progress=False).fit().model
    assert float(found.head.temperature.value) == 1.0


def test_labels_and_heads_without_a_temperature_are_refused(sharp):
    network, held_out = sharp
    for wrong in (held_out["label"] - 1, held_out["label"].astype(jnp.float32)):
        with pytest.raises(et.DataError, match="calibration: got labels of"):
            calibration({**held_out, "label": wrong})
    beyond = calibration({**held_out, "label": held_out["label"].at[0].set(3)})
    with pytest.raises(et.DataError, match="a label of 3 for a network of 3 classes"):
        et.Trainer(network, beyond, progress=False).fit()
    several = CNN1D(3, (4,), kernels=5, strides=4, multi_label=True, key=jax.random.key(0))
    with pytest.raises(et.ConfigurationError, match="a network of several labels"):
        et.Trainer(several, calibration(held_out), progress=False).fit()


def test_the_lines_are_those_of_the_impulses_whatever_carries_them():
    """The same impulses through two structures look alike; other impulses do not."""
    rate, samples = 8192, 4096
    rng = np.random.default_rng(0)

    def struck(frequency, resonance, loudness):
        time = np.arange(samples) / rate
        train = np.zeros(samples)
        train[(np.arange(0, 0.5, 1 / frequency) * rate).astype(int)] = 1
        ringing = np.exp(-600 * time) * np.sin(2 * np.pi * resonance * time)
        signal = np.convolve(train, ringing)[:samples] + 0.005 * rng.normal(size=samples)
        return (loudness * signal).astype(np.float32)

    signals = np.stack([struck(40, 2300, 1), struck(40, 3400, 50), struck(58, 2300, 1)])
    lines = np.asarray(envelope_lines(jnp.asarray(signals), 8, 40))
    # Lines are 2 Hz apart, the first at 2 Hz.
    assert [2 * (1 + int(row.argmax())) for row in lines] == [40, 40, 58]
    np.testing.assert_allclose(np.mean(lines**2, axis=1), 1, rtol=1e-4)  # whatever the bands hold
    near = np.corrcoef(lines)
    assert near[0, 1] > 0.9 > 0.5 > near[0, 2]


def test_signals_too_short_for_the_lines_are_refused():
    network = EnvelopeNetwork(2, bands=4, lines=20, key=jax.random.key(0))
    assert network(jnp.ones((1, 168))).shape == (1, 2)  # silence has no lines, and is no NaN
    assert np.isfinite(network(jnp.ones((1, 168)))).all()
    with pytest.raises(et.DataError, match="expected at least 168"):
        network(jnp.zeros((1, 167)))
    with pytest.raises(et.ModelError, match="sizes"):
        EnvelopeNetwork(2, bands=0, key=jax.random.key(0))
