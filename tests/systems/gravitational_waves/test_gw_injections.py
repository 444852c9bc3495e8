"""What detectors record: loudness, timing, and the normalisation of whitened strain."""

import numpy as np
import pytest
from scipy import integrate, signal

from etude.errors import DataError
from etude.systems.gravitational_waves import (
    H1,
    L1,
    Parameters,
    Population,
    gmst,
    polarizations,
    project,
    rescale_to_snr,
    whitened_signals,
)
from etude.systems.gravitational_waves.curves import noise_curve
from etude.systems.gravitational_waves.spectra import whiten
from etude.systems.gravitational_waves.waveforms import SOLAR_MASS_IN_SECONDS

RATE = 2048.0
O4 = noise_curve("aLIGO-O4")
OVERHEAD = {
    "right_ascension": float(np.arctan2(H1.location[1], H1.location[0])),
    "declination": float(np.arctan2(H1.location[2], np.hypot(*H1.location[:2]))),
}


def draw(n: int, seed: int = 0) -> Parameters:
    return Population().draw(np.random.default_rng(seed), n)


# PyCBC and lalsimulation with the same curves: 95 and 93 (reference/gravitational_waves.md, 3c).
@pytest.mark.parametrize(("curve", "expected"), [("aLIGOZeroDetHighPower", 95), ("aLIGO-O4", 93)])
def test_snr_of_an_overhead_binary_like_gw150914(curve, expected):
    binary = Parameters.of(36.0, 29.0, 410.0, **OVERHEAD)
    _, snr = whitened_signals(binary, 2 * [noise_curve(curve)], duration=8.0, merger=7.0)
    assert snr[0, 0] == pytest.approx(expected, abs=0.6)
    assert snr[0, 1] < snr[0, 0]  # L1 looks elsewhere


def test_snr_is_the_integral_of_the_field():
    # 4 int |h|^2 / S df by quadrature over the waveform itself, nothing shared but the waveform.
    binaries = draw(8)
    _, snr = whitened_signals(binaries, [O4, O4], duration=32.0, merger=31.0)
    f = np.linspace(18.0, 1024.0, 60_000)
    plus, cross = polarizations(binaries, f)
    place = (binaries.right_ascension, binaries.declination, binaries.polarization)
    for i, detector in enumerate((H1, L1)):
        f_plus, f_cross = detector.antenna_pattern(*place)
        strain = f_plus[:, None] * plus + f_cross[:, None] * cross
        inside = (f >= 20.0)[None]
        squared = integrate.trapezoid(4 * inside * np.abs(strain) ** 2 / O4(f), f, axis=1)
        np.testing.assert_allclose(snr[:, i], np.sqrt(squared), rtol=0.01)


def test_snr_squared_is_the_sum_of_squared_samples_of_the_whole_signal():
    binaries = draw(12)
    signals, snr = whitened_signals(binaries, [O4, O4], duration=32.0, merger=30.0)
    assert signals.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(signals.astype(float), axis=1), snr, rtol=2e-3)
    # A short window holds a part of it, and does not change what the whole is.
    part, same = whitened_signals(binaries, [O4, O4], duration=0.5, merger=0.4)
    np.testing.assert_allclose(same, snr, rtol=2e-3)
    seen = np.linalg.norm(part.astype(float), axis=1) / snr
    assert np.all(seen < 1.0)
    assert seen[np.argmin(binaries.chirp_mass)].max() < seen[np.argmax(binaries.chirp_mass)].min()


def test_matched_filter_measures_the_snr_in_units_of_its_fluctuations():
    # White strain noise of a known density, whitened, and a loud binary in it.
    density = 1e-46

    def flat(frequencies: np.ndarray) -> np.ndarray:
        return np.full(np.shape(frequencies), density)

    binary = Parameters.of(30.0, 20.0, 0.5, inclination=0.7)
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=np.sqrt(density * RATE / 2), size=64 * 2048)
    strain = project(binary, duration=64.0, merger=32.0)[0, :, 0]
    template, snr = whitened_signals(binary, [flat, flat], duration=2.0, merger=1.5)
    template = template[0, :, 0].astype(float)
    template /= np.linalg.norm(template)
    quiet = signal.correlate(whiten(noise, RATE, flat), template, "valid")
    assert quiet.std() == pytest.approx(1.0, abs=0.03)
    loud = signal.correlate(whiten(noise + strain, RATE, flat), template, "valid")
    assert snr[0, 0] > 300
    assert loud.max() == pytest.approx(snr[0, 0], rel=0.01)


def test_whitened_signals_are_what_whiten_makes_of_the_strain():
    binaries = draw(3, seed=5)
    strain = project(binaries, duration=16.0, merger=12.0)
    expected = whiten(np.ascontiguousarray(strain.swapaxes(1, 2)), RATE, O4)  # 2..14 s
    signals, _ = whitened_signals(binaries, [O4, O4], duration=12.0, merger=10.0)
    for one, other in zip(expected.swapaxes(1, 2), signals, strict=True):
        late = slice(4 * 2048, None)  # past the taper
        miss = np.linalg.norm((one[: len(other)] - other)[late]) / np.linalg.norm(other[late])
        assert miss < 0.01


def test_strain_falls_with_distance():
    near = draw(4)
    far = near.at(near.distance * 3)
    np.testing.assert_allclose(project(near), 3 * project(far), rtol=1e-9, atol=1e-32)


def test_rescaled_binaries_have_the_network_snr_asked_for():
    binaries, target = draw(6), np.linspace(8, 15, 6)
    _, snr = whitened_signals(binaries, [O4, O4])
    rescaled = rescale_to_snr(binaries, snr, target)
    _, snr = whitened_signals(rescaled, [O4, O4])
    np.testing.assert_allclose(np.linalg.norm(snr, axis=1), target, rtol=1e-5)
    np.testing.assert_array_equal(rescaled.mass_1, binaries.mass_1)


def test_merger_is_at_the_stated_sample_of_each_detector():
    merger = np.array([0.7, 1.1234, 1.5])
    sky = np.array([0.4, 2.0, 5.0]), np.array([-0.5, 0.1, 1.2])
    binaries = Parameters.of(
        12.0, 12.0, 100.0, right_ascension=sky[0], declination=sky[1], polarization=0.3
    )
    mass = 24.0 * SOLAR_MASS_IN_SECONDS  # the peak is some 10 to 16 of them early, as in LAL
    gps = 1126259462.4 + np.arange(3) * 3600
    strain = project(binaries, merger=merger, gmst=gmst(gps))
    for i, detector in enumerate((H1, L1)):
        expected = merger + detector.delay(*sky, gmst(gps))
        envelope = np.abs(signal.hilbert(strain[:, :, i], axis=1))
        early = expected - np.argmax(envelope, axis=1) / RATE
        assert np.all((early > -1 / RATE) & (early < 16 * mass))


def test_delay_between_detectors_is_exact():
    # Equal responses, so that H1 and a copy of it elsewhere differ by the delay alone.
    elsewhere = type(H1)("H9", L1.location, H1.response)
    binary = draw(1, seed=8)
    strain = project(binary, (H1, elsewhere))[0]
    lag = elsewhere.delay(binary.right_ascension, binary.declination) - H1.delay(
        binary.right_ascension, binary.declination
    )
    frequencies = np.fft.rfftfreq(len(strain), 1 / RATE)
    turned = np.fft.rfft(strain[:, 0]) * np.exp(-2j * np.pi * frequencies * lag)
    moved = np.fft.irfft(turned, len(strain))
    middle = slice(600, None)
    np.testing.assert_allclose(moved[middle], strain[middle, 1], atol=2e-3 * np.abs(strain).max())


def test_a_short_window_is_cut_from_a_long_one():
    # What began before the window must neither be lost inside it nor come in again at its end.
    binaries = draw(16, seed=6)
    short = project(binaries, duration=2.0, merger=1.5)
    long = project(binaries, duration=34.0, merger=32.0)[:, -7168:-3072]
    inside = slice(300, None)  # past the taper at the start
    miss = np.linalg.norm((short - long)[:, inside], axis=(1, 2))
    assert np.all(miss < 0.02 * np.linalg.norm(long[:, inside], axis=(1, 2)))
    assert np.all(short[:, 0] == 0)


def test_band_holds_at_4096_hz_too():
    binaries = draw(4)
    _, at_2048 = whitened_signals(binaries, [O4, O4])
    _, at_4096 = whitened_signals(binaries, [O4, O4], sample_rate=4096.0)
    np.testing.assert_allclose(at_2048, at_4096, rtol=5e-3)


def test_bad_windows_are_refused():
    with pytest.raises(DataError, match=r"merger=2\.5 s in a window of duration=2 s"):
        project(draw(1), merger=2.5)
    with pytest.raises(DataError, match=r"1 spectra for 2 detectors \(H1, L1\)"):
        whitened_signals(draw(1), [O4])
