"""The envelope rule finds the fault, lets the healthy pass, and refuses what it cannot resolve."""

import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.systems import machinery
from etude.systems.machinery.rule import EnvelopeRule
from etude.systems.machinery.simulation import RollingSimulation

RATE = 20480.0


def recordings(indices, simulation):
    drawn = [simulation.draw(index) for index in indices]
    return (
        np.stack([one.signal for one in drawn]),
        RATE,
        np.array([one.known["speed"] for one in drawn]),
        np.stack([one.known["orders"] for one in drawn]),
    ), np.array([one.label for one in drawn])


@pytest.mark.parametrize("preparation", ["none", "prewhitening", "kurtogram"])
def test_the_rule_diagnoses_bearings_it_has_never_seen(preparation):
    simulation = RollingSimulation(duration=2.0, bearings_per_class=8)
    given, labels = recordings(range(32), simulation)
    found = EnvelopeRule(preparation=preparation)(*given)
    assert np.mean(found == labels) > 0.9
    assert not found[labels == 0].any()


@pytest.mark.slow
def test_one_in_a_hundred_healthy_recordings_at_most_is_called_faulty():
    simulation = RollingSimulation(bearings_per_class=50, seed=1)
    parts = (recordings(range(i, i + 100, 4), simulation)[0] for i in range(0, 2000, 100))
    found = np.concatenate([EnvelopeRule()(*part) for part in parts])
    assert len(found) == 500
    assert np.count_nonzero(found) <= 5


def test_what_cannot_be_resolved_is_refused():
    given, _ = recordings([1], RollingSimulation(duration=0.25))
    with pytest.raises(et.DataError, match=r"5120 samples.*expected 20043 or more"):
        EnvelopeRule()(*given)
    signals, rate, speed, orders = recordings([1], RollingSimulation(duration=1.0))[0]
    with pytest.raises(et.DataError, match="half the sample rate"):
        EnvelopeRule(harmonics=200)(signals, rate, speed, orders)
    with pytest.raises(et.DataError, match=r"speed=0\.0"):
        EnvelopeRule()(signals, rate, 0 * speed, orders)
    with pytest.raises(et.ConfigurationError, match="Did you mean 'BPFO'"):
        EnvelopeRule(faults=("BFPO",))


@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1.0, 1e9, 1e12])
def test_the_unit_of_a_recording_changes_nothing(unit):
    simulation = machinery.RollingSimulation(duration=2.0)
    drawn = [simulation.draw(index) for index in range(3)]
    signals = np.stack([one.signal for one in drawn]) * np.float32(unit)
    speed = np.array([one.known["speed"] for one in drawn], np.float32)
    orders = np.tile([*simulation.orders], (3, 1)).astype(np.float32)
    assert machinery.EnvelopeRule()(signals, 20480.0, speed, orders).tolist() == [0, 1, 2]
    loss = machinery.FrequencyConsistencyLoss(
        {1: ["BPFO"], 2: ["BPFI"]}, 20480, speeds=(10, 40), bearings=[simulation.orders]
    )
    found = np.asarray(loss.penalties(jnp.asarray(signals), jnp.asarray(speed), classes=3))
    assert found.argmin(1).tolist()[1:] == [1, 2]


def test_what_cannot_be_judged_is_not_called_healthy():
    rule = machinery.EnvelopeRule()
    x = np.random.default_rng(0).normal(size=(2, 41_000)).astype(np.float32)
    rest = 20480.0, np.array([25.0, 25.0]), np.tile([0.4, 3.6, 5.4, 2.3], (2, 1))
    for value, words in [(np.nan, "signal 1: 1 of 41000 samples are not finite"), (None, "silent")]:
        bad = x.copy()
        bad[1] = 0 if value is None else x[1]
        bad[1, 5] = 0 if value is None else value
        with pytest.raises(et.DataError, match=words):
            rule.levels(bad, *rest)
    loss = machinery.FrequencyConsistencyLoss(
        {1: [1.0]}, 20480, 0.1, speeds=(20, 30), spectrum="raw"
    )
    bad = x.copy()
    bad[1, 5] = np.nan
    found = np.asarray(
        loss.penalties(jnp.asarray(bad), jnp.asarray(rest[1], jnp.float32), classes=2)
    )
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()
