"""Streams: signals peak where the table says, parts have nothing in common, spans agree."""

from itertools import pairwise

import numpy as np
import pytest
from gw_files import strain_of
from hypothesis import given, strategies as st

from etude.errors import DataError
from etude.systems.gravitational_waves import (
    H1,
    L1,
    Injections,
    Parameters,
    Population,
    Strain,
    Stream,
    gmst,
    inject,
    injection_times,
    noise_curve,
    project,
    simulate_stream,
    split_by_time,
)

CURVES = (noise_curve("aLIGO-O4"), noise_curve("aLIGO-O3"))
START = 1262304018.0


def quiet(seconds, start=START):
    silence = np.zeros(int(seconds * 2048))
    return tuple(Strain(silence, 2048.0, start, name) for name in ("H1", "L1"))


@pytest.fixture(scope="module")
def signals():
    """Injections into silence."""
    rng = np.random.default_rng(0)
    times = injection_times(rng, START, START + 200)
    binaries = Population(masses=(20.0, 50.0)).draw(rng, len(times))
    return inject(quiet(200), CURVES, binaries, times)


def test_a_signal_peaks_at_its_time_in_the_table_plus_the_way_to_the_detector(signals):
    white = signals.whitened(CURVES)
    table = white.injections
    assert len(table.times) >= 5
    grid = white.strains[0].times
    for i, time in enumerate(table.times):
        binary = table.parameters[np.array([i])]
        for d, detector in enumerate((H1, L1)):
            delay = detector.delay(binary.right_ascension, binary.declination, gmst(time))[0]
            power = white.values[:, d] ** 2 * (np.abs(grid - time) < 3)
            peak = grid[power.argmax()]
            # the loudest sample is within a cycle or two of the merger
            assert peak == pytest.approx(time + delay, abs=0.03), (i, detector.name)


def test_the_table_holds_the_signal_to_noise_ratio_of_what_was_injected(signals):
    white = signals.whitened(CURVES)
    grid = white.strains[0].times
    for i, time in enumerate(white.injections.times):
        around = np.abs(grid - time) < 11
        measured = np.sqrt(np.sum(white.values[around] ** 2, axis=0))
        np.testing.assert_allclose(measured, white.injections.snr[i], rtol=0.03)


def test_the_earth_has_turned_at_the_time_of_a_merger():
    binary, time = Population().draw(np.random.default_rng(6), 1), np.array([START + 7000.0])
    stream = inject(quiet(32, time[0] - 25), CURVES, binary, time)
    expected = project(binary, (H1, L1), 2048.0, 24.0, 22.0, gmst(time))[0]
    np.testing.assert_array_equal(stream.values[3 * 2048 : 27 * 2048], expected)


def test_injections_are_added_and_nothing_else_is_touched():
    rng = np.random.default_rng(1)
    noise = simulate_stream(rng, CURVES, 64.0, start=START)
    binary, time = Parameters.of(30.0, 20.0), np.array([START + 31.123456])
    loud = inject(noise.strains, CURVES, binary, time, network_snr=np.array([17.0]))
    alone = inject(quiet(64), CURVES, binary, time, network_snr=np.array([17.0]))
    scale = np.abs(noise.values).max()
    np.testing.assert_allclose(loud.values - noise.values, alone.values, atol=1e-12 * scale)
    assert loud.injections.network_snr[0] == pytest.approx(17.0)
    assert noise.injections is None
    white = alone.whitened(CURVES).values
    assert np.sqrt(np.sum(white**2)) == pytest.approx(17.0, rel=0.02)
    # the distance in the table is the one at which it is as loud
    again = inject(quiet(64), CURVES, loud.injections.parameters, time)
    np.testing.assert_allclose(again.values, alone.values, rtol=1e-6, atol=1e-30)


def test_a_signal_at_either_end_is_cut_off_there():
    binaries = Population(masses=(20.0, 30.0)).draw(np.random.default_rng(2), 2)
    inside = inject(quiet(60), CURVES, binaries, START + np.array([20.0, 50.0]))
    cut = inject(quiet(40, START + 15), CURVES, binaries, START + np.array([20.0, 50.0]))
    np.testing.assert_allclose(cut.values, inside.values[15 * 2048 : 55 * 2048], rtol=0, atol=1e-30)
    # a time between samples is no rounded time
    late = inject(quiet(60), CURVES, binaries, START + np.array([20.0, 50.0]) + 0.5 / 2048)
    assert np.abs(late.values - inside.values).max() > 0.1 * np.abs(inside.values).max()


def test_injections_come_in_any_order_and_the_table_is_sorted():
    binaries = Population().draw(np.random.default_rng(3), 3)
    times = START + np.array([70.0, 40.0, 100.0])
    one, other = (
        inject(quiet(130), CURVES, binaries[order], times[order])
        for order in (np.array([0, 1, 2]), np.array([2, 0, 1]))
    )
    np.testing.assert_array_equal(one.injections.times, np.sort(times))
    np.testing.assert_array_equal(one.injections.parameters.mass_1, binaries.mass_1[[1, 0, 2]])
    np.testing.assert_allclose(one.values, other.values, atol=1e-30)


@given(
    seed=st.integers(0, 1000),
    duration=st.floats(0, 2000),
    spacing=st.floats(5, 50),
    window=st.floats(0, 20),
)
def test_injections_keep_their_distance(seed, duration, spacing, window):
    times = injection_times(
        np.random.default_rng(seed), START, START + duration, spacing, window, margin=30.0
    )
    assert np.all((times >= START + 30 - 1e-6) & (times < START + duration - 30))
    gaps = np.diff(times)
    assert np.all((gaps >= spacing - 1e-6) & (gaps <= spacing + window + 1e-6))
    # and no room is left unused
    assert len(times) >= int((duration - 60) / (spacing + window)) - 1


@given(
    shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
    gap=st.floats(0, 30),
    merged=st.lists(st.floats(0.0, 399.0), max_size=20),
)
def test_parts_have_no_sample_and_no_signal_in_common(shares, gap, merged):
    count = np.arange(400.0 * 64)  # each sample is told from any other
    strains = tuple(Strain(count, 64.0, START, name) for name in ("H1", "L1"))
    times = START + np.sort(np.array(merged, np.float64))
    drawn = Population().draw(np.random.default_rng(0), len(times))
    stream = Stream(strains, Injections(times, drawn, np.ones((len(times), 2))))
    names = [f"part{i}" for i in range(len(shares))]
    parts = list(split_by_time(stream, dict(zip(names, shares, strict=True)), gap).values())
    left = 400 - gap * (len(shares) - 1)
    for share, part in zip(shares, parts, strict=True):
        assert part.end - part.start == pytest.approx(left * share / sum(shares), abs=0.04)
        inside = part.injections.times
        assert np.all((inside >= part.start) & (inside < part.end))
    for before, after in pairwise(parts):
        assert before.values[-1, 0] < after.values[0, 0]
        assert after.start - before.end >= gap - 0.04
    for strain in (part.strains[0] for part in parts):  # times belong to their samples
        assert strain.start == pytest.approx(START + strain.values[0] / 64)


def test_noise_is_independent_between_detectors_and_between_spawned_generators():
    left, right = (
        simulate_stream(rng, CURVES[:1] * 2, 32.0) for rng in np.random.default_rng(4).spawn(2)
    )
    columns = [s.whitened(CURVES[:1] * 2).values[:, d] for s in (left, right) for d in (0, 1)]
    correlation = np.corrcoef(columns) - np.eye(4)
    assert np.abs(correlation).max() < 4 / np.sqrt(28 * 2048)
    again = simulate_stream(np.random.default_rng(4).spawn(2)[0], CURVES[:1] * 2, 32.0)
    np.testing.assert_array_equal(again.values, left.values)


def test_the_noise_does_not_change_with_the_injections():
    # foreground and background of a search differ by the signals alone
    make = lambda population: simulate_stream(  # noqa: E731
        np.random.default_rng(5), CURVES, 100.0, population, snr=(10.0, 12.0)
    )
    bare, full = make(None), make(Population())
    difference = full.values - bare.values
    assert np.abs(difference[: 6 * 2048]).max() == 0
    assert np.abs(difference).max() > 0
    assert np.all((full.injections.network_snr >= 10) & (full.injections.network_snr <= 12))


def test_signals_go_into_real_strain():
    strains = tuple(strain_of(name, 2048.0) for name in ("H1", "L1"))
    psds = [strain.psd() for strain in strains]
    time = np.array([strains[0].start + 24.0])
    stream = inject(strains, psds, Parameters.of(36.0, 29.0), time, network_snr=np.array([30.0]))
    white, bare = stream.whitened(psds), Stream(strains).whitened(psds)
    energy = np.sum((white.values - bare.values) ** 2)
    assert np.sqrt(energy) == pytest.approx(30.0, rel=0.03)


def test_what_does_not_fit_is_refused():
    one, other = quiet(8)
    late = Strain(other.values, 2048.0, START + 1, "L1")
    with pytest.raises(DataError, match=r"one start, sample rate and length.*GPS 1262304019"):
        Stream((one, late))
    with pytest.raises(DataError, match="got none"):
        Stream(())
    binary = Parameters.of(30.0, 30.0)
    with pytest.raises(DataError, match="bring them in order"):
        inject((other, one), CURVES, binary, np.array([START + 4]))
    with pytest.raises(DataError, match="inside 1262304018 to 1262304026"):
        inject((one, other), CURVES, binary, np.array([START + 9]))
    with pytest.raises(DataError, match="1 spectra for 2 detectors"):
        inject((one, other), CURVES[:1], binary, np.array([START + 4]))
    with pytest.raises(DataError, match="longer stream or smaller gaps"):
        split_by_time(Stream((one, other)), {"train": 0.8, "test": 0.2})
