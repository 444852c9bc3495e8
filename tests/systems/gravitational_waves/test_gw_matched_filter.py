"""The matched filter against closed forms, brute force and GW150914."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from etude.systems.gravitational_waves import (
    Parameters,
    noise_curve,
    whitened_signals,
    whitening_filter,
)
from etude.systems.gravitational_waves.pipeline import (
    DetectorTriggers,
    MatchedFilter,
    TemplateBank,
    coincidences,
    fitting_factors,
    slide_background,
    template_bank,
)

sys.path.insert(0, str(Path(__file__).parent))
from gw_files import strain_of

CURVE = noise_curve("aLIGO-O4")
BANK = TemplateBank(
    np.array([36.0, 20.0, 48.0]), np.array([29.0, 15.0, 10.0]), np.array([0.0, 0.1, -0.1])
)
RATE = 2048


@pytest.fixture(scope="module")
def searcher():
    return MatchedFilter(BANK, CURVE, block=16)


def injection(template, distance, merger=20.3, duration=40.0):
    """Whitened stream of a template's own signal, without noise; SNR of each detector."""
    binary = Parameters.of(
        BANK.mass_1[template],
        BANK.mass_2[template],
        distance,
        spin_1z=BANK.spin[template],
        spin_2z=BANK.spin[template],
        right_ascension=1.0,
        declination=0.5,
        inclination=0.7,
        phase=1.1,
    )
    signals, snr = whitened_signals(binary, [CURVE, CURVE], duration=duration, merger=merger)
    return signals[0], snr[0]


@pytest.mark.parametrize("template", [0, 1, 2])
def test_snr_of_a_signal_without_noise_is_the_optimal_one(searcher, template):
    stream, snr = injection(template, 800.0)
    for detector in (0, 1):
        found = searcher.triggers(stream[:, detector], 1000.0, threshold=0.5 * snr[detector])
        loudest = np.argmax(found.snr)
        assert found.snr[loudest] == pytest.approx(snr[detector], rel=1e-3)
        assert found.template[loudest] == template
        # Up to 21 ms of travel from the geocentre.
        assert found.time[loudest] == pytest.approx(1020.3, abs=0.022)


def test_the_merger_is_found_wherever_blocks_join(searcher):
    """Every moment belongs to one block: nothing is lost or doubled at the seams."""
    for merger in np.arange(10.0, 26.0, 1.61):
        stream, snr = injection(0, 800.0, merger)
        found = searcher.triggers(stream[:, 0], 0.0, threshold=0.9 * snr[0])
        assert found.snr.max() == pytest.approx(snr[0], rel=1e-3)
        best = found.snr > 0.99 * snr[0]
        assert np.count_nonzero(best & (found.template == 0)) == 1


def test_output_is_the_correlation_in_the_time_domain(searcher):
    """Against a sum over samples with the template's own whitened signal."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=30 * RATE).astype(np.float32)
    output = searcher.output(noise, 0)
    length = 8 * RATE
    bins = np.arange(15 * 8, 1024 * 8)
    response = np.abs(np.fft.rfft(whitening_filter(CURVE, RATE), length))[bins]
    padded = np.zeros(length, complex)
    padded[bins] = BANK.spectra(bins / 8, response)[0]
    wave = np.fft.ifft(padded) * np.sqrt(2 * length)  # real and imaginary parts of unit norm
    assert np.linalg.norm(wave.real) == pytest.approx(1, abs=1e-6)
    ahead, behind = 5 * RATE, 3 * RATE
    kernel = np.concatenate([wave[-ahead:], wave[:behind]])
    for at in (6000, 20001, 26000):
        piece = noise[2 * at - ahead : 2 * at + behind]
        assert abs(np.vdot(kernel, piece)) == pytest.approx(abs(output[at]), abs=0.01)


def test_noise_gives_a_chi_squared_with_two_degrees_of_freedom(searcher):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=600 * RATE).astype(np.float32)
    for template in (0, 1):
        output = searcher.output(noise, template)
        assert len(output) == len(noise) // 2
        power = np.abs(output) ** 2
        assert power.mean() == pytest.approx(2, rel=0.02)
        assert output.real.var() == pytest.approx(1, rel=0.02)
        # Independent moments: 0.1 s apart.
        assert kstest(power[:: RATE // 20], "chi2", (2,)).pvalue > 1e-3


def test_triggers_are_the_peaks_of_the_output(searcher):
    rng = np.random.default_rng(2)
    noise = rng.normal(size=40 * RATE).astype(np.float32)
    found = searcher.triggers(noise, 0.0, threshold=3.0)
    assert np.all(np.diff(found.time) >= 0)
    for template in range(3):
        snr = np.abs(searcher.output(noise, template))
        mine = found.template == template
        expected = []
        for first in range(0, len(snr), 16):
            at = first + int(np.argmax(snr[first : first + 16]))
            if 0 < at < len(snr) - 1 and snr[at] > 3 and snr[at] >= max(snr[at - 1], snr[at + 1]):
                expected.append(at)
        at = found.time[mine] * RATE / 2
        gaps = np.abs(np.array(expected)[:, None] - at).min(axis=1)
        assert gaps.max() <= 0.5
        # The others rise over the threshold between samples.
        lifted = np.abs(at[:, None] - np.array(expected)).min(axis=1) > 0.5
        assert np.all(found.snr[mine][lifted] < 3.3)


def test_a_template_too_long_for_a_block_is_refused():
    light = TemplateBank(*np.array([[5.0], [5.0], [0.0]]))
    with pytest.raises(ValueError, match="take `block=64`"):
        MatchedFilter(light, CURVE, block=32)
    with pytest.raises(ValueError, match="must rise"):
        MatchedFilter(BANK, CURVE, band=(20.0, 2048.0))


def pairs(first, second, span, lag, window):
    """Brute force: (time, network SNR) of all pairs."""
    start, end = span
    found = []
    for a in range(len(first)):
        for b in range(len(second)):
            moved = start + (second.time[b] - start + lag) % (end - start)
            near = abs(first.time[a] - moved) <= window
            if near and first.template[a] == second.template[b]:
                louder = first.time[a] if first.snr[a] >= second.snr[b] else moved
                found.append((louder, np.hypot(first.snr[a], second.snr[b])))
    return np.array(sorted(found)).reshape(-1, 2)


@pytest.mark.parametrize("lag", [0.0, 3.0, 7.5])
def test_coincidences_against_brute_force(lag):
    rng = np.random.default_rng(3)

    def random():
        order = np.sort(rng.uniform(100, 110, 300))
        return DetectorTriggers(order, rng.uniform(4, 9, 300), rng.integers(0, 4, 300))

    first, second = random(), random()
    span = (100.0, 110.0)
    found = coincidences(first, second, span, lag, window=0.01, cluster_window=0.0)
    expected = pairs(first, second, span, lag, 0.01)
    assert len(expected) > 30
    # With a window of zero only pairs of one moment are clustered: the louder one stays.
    best = dict(expected)
    np.testing.assert_allclose(found.time, sorted(best), atol=1e-9)
    np.testing.assert_allclose(found.statistic, [best[t] for t in sorted(best)])
    np.testing.assert_allclose(np.hypot(*found.snr.T), found.statistic)


def test_slides_of_a_shared_click_never_pair_it_with_itself():
    click = DetectorTriggers(np.array([50.0]), np.array([20.0]), np.array([0]))
    assert len(coincidences(click, click, (0.0, 100.0))) == 1
    background = slide_background(click, click, (0.0, 100.0), step=1.0, count=None)
    assert len(background.statistics) == 0
    assert background.duration == 99 * 100


def test_bank_covers_what_it_promises():
    rng = np.random.default_rng(4)
    bank = template_bank(CURVE, rng, mass=(25.0, 50.0), minimal_match=0.95, coverage=0.95)
    masses = np.sort(rng.uniform(25, 50, (2, 200)), axis=0)
    signals = Parameters.of(masses[1], masses[0])
    factors = fitting_factors(bank, signals, CURVE)
    assert np.mean(factors > 0.95) > 0.9
    assert factors.max() <= 1 + 1e-5
    assert len(bank) < 60
    own = Parameters.of(bank.mass_1, bank.mass_2, spin_1z=bank.spin, spin_2z=bank.spin)
    np.testing.assert_allclose(fitting_factors(bank, own, CURVE), 1, atol=1e-5)


def test_fitting_factor_is_the_snr_that_the_filter_recovers(searcher):
    """The coarse grid of the bank against the filter over a stream."""
    binary = Parameters.of(32.0, 30.0, spin_1z=0.05)
    stream, snr = whitened_signals(binary, [CURVE, CURVE], duration=40.0, merger=20.0)
    found = searcher.triggers(stream[0, :, 0], 0.0, threshold=5.0)
    recovered = found.snr.max() / snr[0, 0]
    assert recovered < 0.999
    assert fitting_factors(BANK, binary, CURVE)[0] == pytest.approx(recovered, abs=3e-3)


def test_gw150914():
    """H1 near 19, L1 near 13, at the times of the reference; above every time slide."""
    bank = TemplateBank(*np.array([[36 * 1.09], [29 * 1.09], [0.0]]))
    found, whole = {}, {}
    for detector in ("H1", "L1"):
        strain = strain_of(detector, RATE)
        white = strain.whitened()
        searcher = MatchedFilter(bank, strain.psd(), block=16)
        found[strain.detector] = searcher.triggers(white.values, white.start, threshold=3.0)
        whole[strain.detector] = (white.start, white.end)
    assert whole["H1"] == whole["L1"]
    for detector, snr, time in (("H1", 19.2, 462.4285), ("L1", 13.1, 462.4214)):
        loudest = np.argmax(found[detector].snr)
        assert found[detector].snr[loudest] == pytest.approx(snr, abs=1.5)
        assert found[detector].time[loudest] == pytest.approx(1126259000 + time, abs=3e-3)
    zero_lag = coincidences(found["H1"], found["L1"], whole["H1"]).triggers()
    time, statistic = zero_lag.loudest
    assert time == pytest.approx(1126259462.4285, abs=3e-3)
    assert statistic == pytest.approx(23.2, abs=1.5)
    background = slide_background(found["H1"], found["L1"], whole["H1"], step=0.5, count=None)
    assert background.louder(np.array([statistic]))[0] == 0
    assert len(background.statistics) > 20
