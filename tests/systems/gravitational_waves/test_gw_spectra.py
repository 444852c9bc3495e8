"""Spectra and whitening: white means flat, variance 1, whatever the scale; real noise too."""

import numpy as np
import pytest
from gw_files import strain_of
from hypothesis import given, strategies as st
from scipy import signal

from etude.errors import DataError
from etude.systems.gravitational_waves import (
    Spectrum,
    coloured_noise,
    estimate_psd,
    noise_curve,
    optimal_snr,
    whiten,
    whitening_filter,
)

CURVE = noise_curve("aLIGO-O4")


def flat(level=1.0):
    return Spectrum(np.array([0.0, 1e5]), np.full(2, level))


def response(frequencies, taps, sample_rate):
    """What a symmetric filter passes, by the definition of the Fourier transform."""
    half = len(taps) // 2
    times = np.arange(-half, half + 1) / sample_rate
    return np.array([np.sum(taps * np.cos(2 * np.pi * f * times)) for f in frequencies])


def bands(values, sample_rate, width=16.0):
    """Mean power spectral density of whitened strain in bands between 20 and 1012 Hz; 1 if flat."""
    f, power = signal.welch(values, sample_rate, nperseg=round(4 * sample_rate), average="median")
    power = power * sample_rate / 2
    edges = np.arange(20.0, 1012.0, width)
    return edges, np.array([power[(f >= low) & (f < low + width)].mean() for low in edges])


@pytest.mark.parametrize("sample_rate", [2048.0, 4096.0])
def test_whitened_gaussian_noise_is_flat_with_unit_variance(sample_rate):
    noise = coloured_noise(np.random.default_rng(0), CURVE, 132.0, sample_rate)
    white = whiten(noise, sample_rate, CURVE)
    assert len(white) == 128 * sample_rate
    _, power = bands(white, sample_rate, width=32.0)
    np.testing.assert_allclose(power, 1, atol=0.06)  # 63 averages x 128 bins: 3 sigma
    # the band is 20..1024 of 0..sample_rate/2, and its edges roll off over 2 Hz
    share = (1024 - 20 + 0.75) / (sample_rate / 2)
    assert white.var() == pytest.approx(share, rel=0.01)


def test_noise_of_the_whole_band_has_variance_one_per_sample():
    values = 3e-21 * np.random.default_rng(1).standard_normal(64 * 2048)
    white = whiten(values, 2048.0, flat(2 / 2048 * 9e-42), band=(0.0, 1024.0))
    assert white.var() == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(white, values[2 * 2048 : -2 * 2048] / 3e-21, rtol=1e-9, atol=1e-9)


def test_the_squared_snr_is_the_sum_of_squares_of_the_whitened_signal():
    times = np.arange(-3, 3, 1 / 2048)
    chirp = 1e-21 * np.exp(-((times / 0.05) ** 2)) * np.cos(2 * np.pi * (150 + 400 * times) * times)
    # by quadrature of the continuous Fourier integral, on its own grid of frequencies
    f = np.linspace(20, 500, 700)
    transform = np.exp(-2j * np.pi * np.outer(f, times)) @ chirp / 2048
    by_hand = np.sqrt(4 * np.trapezoid(np.abs(transform) ** 2 / CURVE.psd(f), f))
    assert optimal_snr(chirp, 2048.0, CURVE) == pytest.approx(by_hand, rel=1e-3)
    white = whiten(chirp, 2048.0, CURVE)
    assert np.sqrt(np.sum(white**2)) == pytest.approx(by_hand, rel=0.01)


@pytest.mark.parametrize(("samples", "cycles"), [(512, 256), (512, 0), (512, 100), (511, 255)])
def test_the_snr_of_a_tone_in_white_noise_is_its_norm(samples, cycles):
    """In white noise of variance 1 the ratio is the root of the sum of squares, at any frequency.

    An odd number of samples has no bin at the Nyquist frequency.
    """
    tone = np.cos(2 * np.pi * cycles * np.arange(samples) / samples)
    found = optimal_snr(tone, 512.0, flat(2 / 512), band=(0.0, 256.0))
    assert found == pytest.approx(np.linalg.norm(tone), rel=1e-12)
    if (samples, cycles) == (512, 256):
        assert found == pytest.approx(22.63, abs=0.005)


@pytest.mark.parametrize("sample_rate", [2048.0, 4096.0])
def test_the_band_is_passed_to_its_edges_and_nothing_beyond(sample_rate):
    taps = whitening_filter(flat(2 / sample_rate), sample_rate)
    inside = np.array([20.0, 20.5, 21.0, 100.0, 1000.0, 1023.0])
    np.testing.assert_allclose(response(inside, taps, sample_rate), 1, atol=0.03)
    assert np.abs(response([0.0, 10.0, 15.0, 17.0], taps, sample_rate)).max() < 1e-3
    at_edge = response([1024.0], taps, sample_rate)[0]
    assert at_edge == pytest.approx(1, abs=0.03)
    if sample_rate == 4096.0:
        assert np.abs(response([1027.0, 1100.0, 2048.0], taps, sample_rate)).max() < 1e-3


def test_a_tone_outside_the_band_does_not_pass():
    times = np.arange(0, 16, 1 / 4096)
    for frequency, passes in ((15.0, 0.0), (20.0, 1.0), (1024.0, 1.0), (1030.0, 0.0)):
        tone = np.sin(2 * np.pi * frequency * times)
        passed = whiten(tone, 4096.0, flat(2 / 4096))
        assert np.std(passed) * np.sqrt(2) == pytest.approx(passes, abs=0.03), frequency


@given(exponent=st.integers(-20, 100))
def test_the_scale_of_the_strain_does_not_matter(exponent):
    # A floor such as psd + 1e-12, or max(psd, 1e-40), would make it matter, and whiten nothing.
    strain = coloured_noise(np.random.default_rng(2), CURVE, 8.0, 2048.0)
    white = whiten(strain, 2048.0, estimate_psd(strain, 2048.0, segment=1.0), filter_seconds=1.0)
    scaled = strain * 2.0**exponent  # a power of two changes no digit
    psd = estimate_psd(scaled, 2048.0, segment=1.0)
    np.testing.assert_array_equal(whiten(scaled, 2048.0, psd, filter_seconds=1.0), white)


def test_scaled_by_1e21_it_is_the_same():
    strain = coloured_noise(np.random.default_rng(3), CURVE, 16.0, 2048.0)
    pair = [whiten(x, 2048.0, estimate_psd(x, 2048.0)) for x in (strain, strain * 1e21)]
    np.testing.assert_allclose(pair[0], pair[1], rtol=0, atol=1e-9)


def test_whitening_levels_the_whole_dynamic_range_of_a_spectrum():
    taps = whitening_filter(CURVE, 2048.0)
    f = np.array([25.0, 100.0, 400.0, 900.0])
    passed = response(f, taps, 2048.0) * np.sqrt(CURVE.psd(f) * 1024)
    np.testing.assert_allclose(passed, 1, atol=0.03)
    assert CURVE.psd(f[:1])[0] / CURVE.psd(f[2:3])[0] > 15  # it had something to level


@pytest.mark.parametrize("detector", ["H1", "L1"])
@pytest.mark.parametrize("sample_rate", [2048.0, 4096.0])
def test_whitened_real_noise_is_flat(detector, sample_rate):
    strain = strain_of(detector, sample_rate)
    raw = bands(strain.values, sample_rate)[1]
    assert raw.max() / raw.min() > 1e3
    edges, power = bands(strain.whitened().values, sample_rate)
    # The wires of the mirrors ring at 500 Hz and its double; the 4-s window of the estimate
    # spreads their power, and the bands beside them come out too quiet.
    quiet = ((edges < 480) | (edges >= 520)) & (edges < 980)
    np.testing.assert_allclose(power[quiet], 1, atol=0.12)
    assert abs(power[quiet].mean() - 1) < 0.02
    assert power[quiet].std() < 0.05
    assert np.all(power < 1.2)  # and no line is left


@pytest.mark.parametrize("detector", ["H1", "L1"])
def test_no_edge_of_whitened_real_strain_is_louder_than_its_middle(detector):
    white = strain_of(detector).whitened().values
    typical = white.std()
    for edge in (white[:2048], white[-2048:]):
        assert edge.std() < 1.15 * typical
        assert np.abs(edge).max() < 6 * typical


def test_a_step_at_the_ends_makes_no_transient():
    # Strain that starts far from zero: an FFT of it would see a step between end and beginning.
    noise = coloured_noise(np.random.default_rng(4), CURVE, 20.0, 2048.0)
    drift = np.linspace(1e-19, -3e-19, len(noise))
    np.testing.assert_allclose(
        whiten(noise + drift, 2048.0, CURVE), whiten(noise, 2048.0, CURVE), atol=0.02
    )


@pytest.mark.parametrize("average", ["median", "mean"])
def test_welch_gives_the_curve_the_noise_was_coloured_by(average):
    noise = coloured_noise(np.random.default_rng(5), CURVE, 256.0, 2048.0)
    spectrum = estimate_psd(noise, 2048.0, average=average)
    for low in range(20, 980, 32):
        inside = (spectrum.frequencies >= low) & (spectrum.frequencies < low + 32)
        ratio = spectrum.psd[inside] / CURVE.psd(spectrum.frequencies[inside])
        assert ratio.mean() == pytest.approx(1, abs=0.04), low


def test_a_loud_signal_does_not_move_the_median():
    noise = coloured_noise(np.random.default_rng(6), CURVE, 64.0, 2048.0)
    glitch = np.zeros_like(noise)
    glitch[40_000:40_400] = 1e-20
    before, after = (estimate_psd(x, 2048.0).psd[80:4000] for x in (noise, noise + glitch))
    assert np.median(after / before) < 1.15


def test_float32_strain_is_refused_and_says_why():
    strain = np.full(65536, 1e-21, np.float32)
    for use in (
        lambda: estimate_psd(strain, 2048.0),
        lambda: whiten(strain, 2048.0, CURVE),
        lambda: optimal_snr(strain, 2048.0, CURVE),
    ):
        with pytest.raises(DataError, match=r"float32.*float64.*1e-38.*after whitening"):
            use()


def test_what_cannot_be_whitened_is_refused():
    strain = 1e-21 * np.random.default_rng(7).standard_normal(16 * 2048)
    with pytest.raises(DataError, match="Nyquist"):
        whiten(strain, 2048.0, CURVE, band=(20.0, 1025.0))
    with pytest.raises(DataError, match=r"3 s of strain.*4 s of the filter"):
        whiten(strain[: 3 * 2048], 2048.0, CURVE)
    with pytest.raises(DataError, match=r"not positive at .* dead channel"):
        whiten(strain, 2048.0, flat(0.0))
    with pytest.raises(DataError, match=r"1 of 32768 samples.*gaps"):
        whiten(np.where(np.arange(len(strain)) == 5, np.nan, strain), 2048.0, CURVE)
    # its own periodogram would make anything white
    with pytest.raises(DataError, match=r"segments of 4 s; expected at least 8 s"):
        estimate_psd(strain[: 6 * 2048], 2048.0)


def test_detectors_side_by_side_are_whitened_alike():
    pair = np.stack([coloured_noise(np.random.default_rng(i), CURVE, 6.0, 2048.0) for i in (8, 9)])
    np.testing.assert_allclose(whiten(pair, 2048.0, CURVE)[1], whiten(pair[1], 2048.0, CURVE))
