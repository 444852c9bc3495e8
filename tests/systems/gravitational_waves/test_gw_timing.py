"""When a signal merged: the centre of an answer, and its calibration on injections."""

import numpy as np
import pytest

from etude.errors import DataError
from etude.systems.gravitational_waves import Population, noise_curve, simulate_stream
from etude.systems.gravitational_waves.pipeline import Sliding, Timing, Triggers, calibrate, centres
from etude.systems.gravitational_waves.pipeline.triggers import cluster

CURVES = 2 * (noise_curve("aLIGO-O4"),)


def power(windows):
    """The loudest 1/32 s that both detectors share."""
    parts = (windows.reshape(len(windows), -1, 64, 2) ** 2).mean(axis=2)
    return parts.min(axis=2).max(axis=1)


def test_centres_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    every = Triggers(np.arange(400) / 16, rng.gamma(2.0, size=400))
    kept = cluster(every.time, every.statistic, 0.5)
    floor = float(np.median(every.statistic))
    found = centres(every, kept, floor)
    for index, at in enumerate(kept):
        if (peak := every.statistic[at]) <= floor:
            assert found[index] == every.time[at]
            continue
        level, centre = floor + (peak - floor) / 4, every.time[at]
        for _ in range(3):
            moment, mass = 0.0, 0.0
            for time, value in zip(every.time, every.statistic, strict=True):
                if abs(time - centre) <= 0.5 and value > level:
                    moment, mass = moment + (value - level) * time, mass + value - level
            centre = moment / mass
        assert found[index] == pytest.approx(centre, abs=1e-9)


def test_an_answer_that_is_slow_and_long_has_its_merger_at_a_fixed_distance():
    """A plateau is not told by its loudest window, which noise chooses, but by its centre."""
    rng, times = np.random.default_rng(1), np.arange(320) / 16
    late = []
    for _ in range(50):
        merger = rng.uniform(8, 12)
        plateau = 5.0 * (np.abs(times - merger + 0.25) < 0.4)
        every = Triggers(times, plateau + 0.2 * rng.normal(size=len(times)))
        found = Timing(offset=0.25, error=0.0, injections=1).triggers(every, 0.5)
        late.append(found.loudest[0] - merger)
    assert np.abs(late).max() < 0.07


def test_triggers_stay_in_order_of_time():
    times = np.arange(40) / 16
    statistic = np.zeros(40)
    # Two answers that lean towards each other.
    statistic[[10, 11, 12, 13, 14, 15, 16, 17, 18, 19]] = [5, 4, 4, 4, 4, 4, 4, 4, 4, 6]
    found = Timing(0.0, 0.1, 10).triggers(Triggers(times, statistic), 0.5)
    assert np.all(np.diff(found.time) >= 0)
    assert found.loudest[1] == 6


@pytest.fixture(scope="module")
def sliding():
    return Sliding(power, 2048.0, window=0.5, stride=1 / 16, merger=0.0)


def test_the_stated_error_is_that_of_other_injections(sliding):
    """Calibrated in one noise, tested in another with other binaries: no bias, and the error."""
    rng, other = np.random.default_rng(3).spawn(2)
    quiet = simulate_stream(rng, CURVES, 40.0).whitened(CURVES)
    heavy = Population(masses=(25.0, 50.0))
    values = sliding.values(quiet.values)
    timing = calibrate(
        sliding, quiet.values, CURVES, rng, float(np.median(values)), float(values.max()),
        population=heavy, snr=(14.0, 20.0), count=96,
    )  # fmt: skip
    assert timing.injections > 70
    # The window that begins latest and still holds the merger is not the middle one.
    assert 0.2 < timing.offset < 0.3
    assert timing.error < 0.1

    busy = simulate_stream(other, CURVES, 400.0, heavy, snr=(14.0, 20.0), spacing=6.0, window=1.0)
    busy = busy.whitened(CURVES)
    found = timing.triggers(sliding.triggers(busy.values, busy.start), 0.5)
    loud = found[found.statistic > values.max()]
    late = []
    for time in busy.injections.times:
        near = loud[np.abs(loud.time - time) < 1]
        late += [near.loudest[0] - time] if len(near) else []
    assert len(late) > 30
    assert abs(np.median(late)) < 0.02
    assert np.mean(np.abs(late) <= timing.error) > 0.75


def test_a_search_that_finds_nothing_says_so_by_its_error(sliding):
    blind = Sliding(lambda w: w[:, 0, 0], 2048.0, window=0.5, stride=1 / 16, merger=0.0)
    noise = np.random.default_rng(4).normal(size=(8 * 2048, 2))
    timing = calibrate(blind, noise, CURVES, np.random.default_rng(5), 0.0, 99.0, count=32)
    assert timing.injections == 10
    assert timing.error > 0.3


def test_the_calibration_is_a_function_of_its_seed(sliding):
    noise = np.random.default_rng(6).normal(size=(8 * 2048, 2))
    one, same, other = (
        calibrate(sliding, noise, CURVES, np.random.default_rng(k), 1.0, 2.0, count=16)
        for k in (0, 0, 1)
    )
    assert one == same != other


def test_too_little_noise_is_refused(sliding):
    with pytest.raises(DataError, match="Give a longer stretch"):
        calibrate(sliding, np.zeros((3000, 2)), CURVES, np.random.default_rng(0), 0.0, 1.0)
