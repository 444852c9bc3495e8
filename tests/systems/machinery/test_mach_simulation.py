"""Simulated recordings show what they say, at the stated noise, and say where they show nothing."""

import numpy as np
import pytest
import scipy.signal

import etude as et
from etude.systems.machinery.bearings import BEARINGS
from etude.systems.machinery.signals import prominence, squared_envelope_spectrum
from etude.systems.machinery.simulation import (
    JOURNAL_CLASSES,
    JOURNAL_FAULTS,
    JournalSimulation,
    RollingSimulation,
    Traces,
    journal_faults,
    run,
    simulate,
)
from etude.systems.machinery.splits import purity

RATE = 20480
SHORT = JournalSimulation(duration=1.0, seed=5)


def of_class(name, count, simulation=SHORT):
    label, classes = simulation.classes.index(name), len(simulation.classes)
    return [simulation.draw(label + classes * turn) for turn in range(count)]


def amplitude(signal, frequency):
    """Of the tone at a frequency, and its phase in turns."""
    time = np.arange(len(signal)) / RATE
    z = 2 * np.mean(signal * np.hanning(len(signal)) * 2 * np.exp(-2j * np.pi * frequency * time))
    return abs(z), np.angle(z) / (2 * np.pi)


def test_a_recording_depends_on_seed_and_index_alone():
    alone = SHORT.draw(17)
    simulated = simulate(SHORT, 2)
    np.testing.assert_array_equal(simulated.records.signals[17], alone.signal)
    np.testing.assert_array_equal(
        simulate(SHORT, 3).records.signals[:22], simulated.records.signals
    )
    assert not np.array_equal(JournalSimulation(duration=1.0, seed=6).draw(17).signal, alone.signal)


def test_classes_severities_and_machines_are_balanced():
    drawn = [JournalSimulation(duration=0.05, machines=3).draw(i) for i in range(11 * 4 * 3)]
    assert np.bincount([one.label for one in drawn]).tolist() == [12] * 11
    assert np.bincount([one.bearing for one in drawn]).tolist() == [44] * 3
    severity = np.array([one.known["severity"] for one in drawn]).reshape(3, 4, 11)
    assert (np.diff(severity.mean((0, 2))) > 0).all()


@pytest.mark.parametrize(
    ("name", "orders"),
    [("misalignment", (2, 3)), ("imbalance", (1,)), ("misalignment+imbalance", (1, 2, 3))],
)
def test_tones_stand_at_multiples_of_the_speed(name, orders):
    healthy = max(
        amplitude(one.signal, k * one.known["speed"])[0]
        for one in of_class("healthy", 4)
        for k in (1, 2, 3)
    )
    for one in of_class(name, 4):
        for k in orders:
            assert amplitude(one.signal, k * one.known["speed"])[0] > healthy / 2
    severe = of_class(name, 4)[3]
    assert amplitude(severe.signal, orders[-1] * severe.known["speed"])[0] > 1.5 * healthy


def test_phases_are_random():
    # In the original the tones of three classes began at phase 0 in every recording.
    phases = [amplitude(one.signal, one.known["speed"])[1] for one in of_class("clearance", 24)]
    phases += [amplitude(one.signal, one.known["speed"])[1] for one in of_class("wear", 24)]
    assert abs(np.exp(2j * np.pi * np.array(phases)).mean()) < 0.4


def test_whirl_comes_with_a_light_load_and_starved_films_with_a_heavy_one():
    whirl, starved = of_class("oil_whirl", 30), of_class("lubrication", 30)
    film = lambda drawn: np.array([one.known["sommerfeld"] for one in drawn])  # noqa: E731
    load = lambda drawn: np.mean([one.known["load"] for one in drawn])  # noqa: E731
    assert film(whirl).min() > 10**-0.5 > film(starved).max()
    assert load(whirl) < 0.6 * load(starved)


def test_windows_without_a_bubble_are_known():
    simulated = simulate(JournalSimulation(seed=2), 12)
    window = RATE
    faulty = simulated.records.labels == JOURNAL_CLASSES.index("cavitation")
    empty = simulated.traces.empty(window)
    assert not empty[np.isin(simulated.records.labels, [0, 1, 2, 4, 6])].any()
    assert 0.2 < empty[faulty].mean() < 0.5
    sos = scipy.signal.butter(4, (1500, 2500), "bandpass", fs=RATE, output="sos")
    band = scipy.signal.sosfilt(sos, simulated.records.signals[faulty])
    loudest = np.abs(band).reshape(-1, 5, window).max(-1)
    assert loudest[empty[faulty]].max() < loudest[~empty[faulty]].min()


@pytest.mark.parametrize("snr", [20.0, 5.0])
@pytest.mark.parametrize(
    "simulation", [JournalSimulation, RollingSimulation], ids=["journal", "rolling"]
)
def test_the_noise_is_at_the_stated_ratio(simulation, snr):
    for index in (1, 7):
        drawn = simulation(duration=1.0, snr=snr).draw(index)
        clean = simulation(duration=1.0, snr=200.0).draw(index).signal
        noise = drawn.signal - clean
        ratio = 10 * np.log10(np.mean(clean**2) / np.mean(noise**2))
        assert ratio == pytest.approx(snr, abs=0.15)
        assert drawn.noise == pytest.approx(np.mean(noise**2), rel=0.05)


def test_the_ceiling_is_what_a_filter_that_knows_the_wave_reaches():
    rng = np.random.default_rng(0)
    wave, trials = 0.25 * np.sin(np.arange(200)), 20_000
    x = rng.normal(size=(2, trials, 200))
    x[1] += wave
    score = x @ wave
    right = np.mean([score[0] < wave @ wave / 2, score[1] >= wave @ wave / 2])
    energy = np.array([[[np.inf]], [[wave @ wave]]])
    assert Traces(energy, np.ones(2), 200).ceiling(200) == pytest.approx(right, abs=0.01)


def test_the_weaker_component_decides_and_blocks_add_up():
    energy = np.array([[[4.0, 5.0, 0.0, 0.0], [100.0, 0.0, 16.0, 0.0]]])
    traces = Traces(energy, np.array([4.0]), 10)
    np.testing.assert_allclose(traces.detectability(20), [[1.5, 0]])
    with pytest.raises(et.DataError, match="multiple of 10"):
        traces.detectability(15)


def test_labels_of_pairs_are_those_of_both():
    labels = np.arange(len(JOURNAL_CLASSES))
    for row, name in zip(journal_faults(labels), JOURNAL_CLASSES, strict=True):
        found = {fault for fault, there in zip(JOURNAL_FAULTS, row, strict=True) if there}
        assert found == set(name.split("+")) - {"healthy"}


@pytest.mark.parametrize("part", ["outer", "inner", "ball"])
def test_impulses_repeat_at_the_frequency_of_the_part(part):
    simulation = RollingSimulation(duration=2.0, bearings_per_class=4)
    place = {"outer": 1, "inner": 2, "ball": 3}[part]
    for one in of_class(part, 8, simulation):
        spectrum = squared_envelope_spectrum(one.signal, RATE)
        lines = np.array(list(simulation.orders)) * one.known["speed"]
        lines[3] *= 2  # both races
        power, width = spectrum.amplitudes**2, float(spectrum.frequencies[1])
        levels = prominence(power, width, lines.astype(np.float32), 0.025)
        assert levels[place] > 10
        # The cage modulates a ball: a side band at 2 BSF - FTF is that of this bearing at BPFI.
        others = {1: [2, 3], 2: [1, 3], 3: [1]}[place]
        assert levels[place] > levels[np.array(others)].max()


def test_rollers_slip():
    simulation = RollingSimulation(duration=5.0, bearings_per_class=2)
    found = []
    for one in of_class("outer", 12, simulation):
        spectrum = squared_envelope_spectrum(one.signal, RATE)
        expected = simulation.orders.bpfo * one.known["speed"]
        near = np.abs(spectrum.frequencies - expected) < 0.03 * expected
        at = spectrum.frequencies[near][np.argmax(spectrum.amplitudes[near])]
        found.append(at / expected - 1)
    assert 0.005 < np.std(found) < 0.02
    assert np.abs(found).max() < 0.025


def test_impulses_ring_from_where_they_are_between_the_samples():
    simulation = RollingSimulation(duration=0.25)
    path = simulation._path(1)
    rng = np.random.default_rng(0)
    struck = simulation._impulses(rng, "outer", 25.0, path.poles)
    # The same impulses, as the sum of their waves at all samples after them.
    rng = np.random.default_rng(0)
    rate = simulation.orders.bpfo * 25 * rng.uniform(0.98, 1.02)
    gaps = (1 + 0.01 * rng.standard_normal(int(0.25 * rate * 1.1) + 8)) / rate
    times = np.cumsum(gaps) - rng.uniform() / rate
    times = times[(times >= 0) & (times < 0.25)]
    size = 1 + 0.1 * rng.standard_normal(len(times))
    n = np.arange(simulation.samples)
    expected = np.zeros(len(n))
    for time, loud in zip(times * RATE, size, strict=True):
        after = n >= time
        for pole, gain in zip(path.poles, path.gains, strict=True):
            expected[after] += gain * loud * (pole ** (n[after] - time)).imag
    spectrum = np.fft.fft(struck) * simulation._responses(1)
    np.testing.assert_allclose(simulation._rung(spectrum.sum(0)), expected, atol=2e-4)


def test_each_bearing_has_its_own_way_to_the_sensor():
    simulation = RollingSimulation(duration=1.0, bearings_per_class=3)
    drawn = of_class("outer", 18, simulation)
    spectra = np.array([scipy.signal.welch(one.signal, RATE)[1] for one in drawn])
    alike = np.corrcoef(np.log(spectra))
    bearing = np.array([one.bearing for one in drawn])
    same = bearing[:, None] == bearing
    others = ~np.eye(len(drawn), dtype=bool)
    assert alike[same & others].mean() > alike[~same].mean() + 0.1


def test_bearings_have_one_label_or_all():
    single = simulate(RollingSimulation(duration=0.1), 18).records
    assert purity(single.groups, single.labels).pure == len(set(single.groups.bearing)) == 24
    every = simulate(RollingSimulation(duration=0.1, one_label_each=False), 18).records
    assert purity(every.groups, every.labels).pure == 0
    assert len(set(every.groups.bearing)) == 6
    assert len(set(every.groups.condition)) == 18
    assert every.metadata["orders"].shape == (72, 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: JournalSimulation(duration=0.0), r"duration=0\.0"),
        (lambda: JournalSimulation(duration=0.07), "multiple of 1024"),
        (lambda: JournalSimulation(sample_rate=2000.0), "6000 or"),
        (lambda: JournalSimulation(machines=0), "machines=0"),
        (lambda: JournalSimulation(load=30000.0), "load of 530 to"),
        (lambda: JournalSimulation(load=100.0), "load of 530"),
        (lambda: JournalSimulation(speed=5.0), "speed=5 Hz"),
        (lambda: JournalSimulation(speed=500.0), "speed=500 Hz"),
        (lambda: RollingSimulation(conditions=((0.0, 1.0),)), r"speed=0\.0"),
        (lambda: RollingSimulation(sample_rate=4000.0), "8000 or"),
        (lambda: RollingSimulation(duration=0.12), "multiple of 1024"),
        (lambda: simulate(SHORT, 0), "per_class=0"),
    ],
    ids=[
        "duration",
        "blocks",
        "rate",
        "machines",
        "never-thick",
        "never-thin",
        "slow",
        "fast",
        "speed",
        "rate-rolling",
        "blocks-rolling",
        "none",
    ],
)
def test_simulations_that_cannot_be_are_refused(make, said):
    with pytest.raises(et.DataError, match=said):
        make()


def test_a_file_gives_back_what_was_simulated_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "kept" / "rolling.h5"
    simulation = RollingSimulation(duration=0.1, orders=BEARINGS["6203"].orders)
    made = simulate(simulation, 2, path=path)
    read = simulate(simulation, 2, path=path)
    np.testing.assert_array_equal(read.records.signals, made.records.signals)
    np.testing.assert_array_equal(read.traces.energy, made.traces.energy)
    for level in ("recording", "condition", "bearing"):
        np.testing.assert_array_equal(read.records.groups.at(level), made.records.groups.at(level))
    np.testing.assert_array_equal(read.records.metadata["orders"], made.records.metadata["orders"])
    assert [file.name for file in path.parent.iterdir()] == ["rolling.h5"]
    with pytest.raises(et.DataError, match="per_class: got 2, expected 3"):
        simulate(simulation, 3, path=path)
    with pytest.raises(et.DataError, match="seed: got 0, expected 1"):
        simulate(RollingSimulation(duration=0.1, seed=1), 2, path=path)
    monkeypatch.setattr(run, "_REVISION", 0)
    with pytest.raises(et.DataError, match="revision"):
        simulate(simulation, 2, path=path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(et.DataError, match="cannot be read as HDF5"):
        simulate(simulation, 2, path=path)
