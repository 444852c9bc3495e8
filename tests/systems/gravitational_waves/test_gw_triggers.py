"""Clustering, false-alarm rates and time slides, against brute force."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.systems.gravitational_waves.pipeline import (
    Background,
    Triggers,
    away_from,
    cluster,
    lags,
    loudest_near,
    merged,
    slid,
)

events = st.lists(
    st.tuples(st.integers(0, 300).map(lambda t: t / 16), st.integers(0, 9).map(float)), max_size=60
).map(sorted)
windows = st.integers(0, 48).map(lambda t: t / 16)


def columns(listed):
    table = np.array(listed, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(events, windows)
def test_the_kept_are_apart_and_every_dropped_one_has_a_louder_neighbour(listed, window):
    time, statistic = columns(listed)
    kept = cluster(time, statistic, window)
    assert np.all(np.diff(time[kept]) > window)
    for index in range(len(time)):
        near = kept[np.abs(time[kept] - time[index]) <= window]
        assert np.any(statistic[near] >= statistic[index])
    if len(time):
        assert statistic[kept].max() == statistic.max()


@given(events, windows)
def test_clustering_twice_is_clustering_once(listed, window):
    once = Triggers(*columns(listed)).clustered(window)
    assert np.array_equal(once.clustered(window).time, once.time)


@given(events, st.lists(st.integers(0, 300).map(lambda t: t / 16 + 1 / 32), max_size=9), windows)
def test_near_and_away_agree_with_brute_force(listed, times, tolerance):
    time, statistic = columns(listed)
    triggers, times = Triggers(time, statistic), np.array(times, np.float64)
    close = np.abs(time[:, None] - times) <= tolerance
    expected = [statistic[column].max(initial=-np.inf) for column in close.T]
    np.testing.assert_array_equal(loudest_near(triggers, times, tolerance), expected)
    np.testing.assert_array_equal(away_from(triggers, times, tolerance), ~close.any(axis=1))


def test_triggers_out_of_order_are_refused_and_merged_in_order():
    with pytest.raises(ValueError, match="sort both arrays"):
        Triggers(np.array([2.0, 1.0]), np.zeros(2))
    with pytest.raises(ValueError, match="there are none"):
        Triggers(np.zeros(0), np.zeros(0)).loudest  # noqa: B018
    one, two = Triggers(np.array([1.0, 4.0]), np.ones(2)), Triggers(np.array([2.0]), np.ones(1))
    assert merged([one, two]).time.tolist() == [1.0, 2.0, 4.0]
    assert len(merged([])) == 0


@given(
    st.lists(st.integers(0, 20).map(float), max_size=30),
    st.lists(st.integers(-1, 21).map(float), min_size=1, max_size=10),
    st.floats(1.0, 1e6),
)
def test_false_alarm_rate_counts(background, statistics, duration):
    found = Background(np.sort(np.array(background, np.float64)), duration)
    expected = [(1 + sum(b >= s for b in background)) / duration for s in statistics]
    np.testing.assert_allclose(found.false_alarm_rate(np.array(statistics)), expected, rtol=1e-12)


@given(st.lists(st.integers(0, 20).map(float), max_size=30), st.integers(1, 40))
def test_above_the_threshold_is_exactly_what_has_the_rate(background, allowed):
    found = Background(np.sort(np.array(background, np.float64)), duration=977.0)
    threshold = found.threshold(allowed / 977.0)
    statistics = np.arange(-0.5, 22.0, 0.5)
    by_rate = found.false_alarm_rate(statistics) * 977 <= allowed + 1e-6
    np.testing.assert_array_equal(statistics > threshold, by_rate)


def test_rates_below_the_resolution_are_refused():
    with pytest.raises(ValueError, match=r"below the resolution of 0\.01 Hz"):
        Background(np.array([1.0]), 100.0).threshold(0.009)


@given(st.integers(2, 400), st.integers(1, 40), st.one_of(st.none(), st.integers(1, 50)))
def test_lags_never_include_zero_lag_on_the_circle(duration, tenths, count):
    step = tenths / 10
    if duration / step < 2:
        with pytest.raises(ValueError, match="no slide"):
            lags(float(duration), step, count)
        return
    chosen = lags(float(duration), step, count)
    assert count is None or len(chosen) <= count
    away = np.minimum(chosen % duration, duration - chosen % duration)
    assert np.all(away >= step - 1e-9)
    assert len(np.unique(chosen.round(6))) == len(chosen)


def test_lags_too_short_to_separate_are_refused():
    with pytest.raises(ValueError, match="do not separate"):
        lags(32.0, 0.01)


@given(st.integers(2, 50), st.integers(1, 49))
def test_slides_keep_the_data_of_each_detector(samples, shift):
    stream = np.random.default_rng(samples).normal(size=(samples, 3))
    moved = slid(stream, lag=shift / 4, sample_rate=4.0)
    np.testing.assert_array_equal(moved[:, 0], stream[:, 0])
    for k in (1, 2):
        indices = (np.arange(samples) - k * shift) % samples
        np.testing.assert_array_equal(moved[:, k], stream[indices, k])


def test_time_slides_remove_what_only_coincidence_makes_loud():
    """The maximum of a product of two detectors that share a click is lost in every slide."""
    rng = np.random.default_rng(0)
    stream = rng.normal(size=(4000, 2))
    stream[1234] += 20.0
    statistic = stream.prod(axis=1)
    louder = [
        slid(stream, lag, 100.0).prod(axis=1).max() >= statistic.max() for lag in lags(40.0, 1.0)
    ]
    assert not any(louder)
    assert len(louder) == 39
