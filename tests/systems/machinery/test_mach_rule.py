"""The envelope rule finds the fault, lets the healthy pass, and refuses what it cannot resolve."""

import numpy as np
import pytest

import etude as et
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
