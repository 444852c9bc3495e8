"""Envelopes, bands, whitening, resampling and features against SciPy and plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.stats

import etude as et
from etude.systems.machinery.signals import (
    FEATURES,
    analytic_signal,
    cepstrum_prewhitening,
    envelope,
    fast_kurtogram,
    features,
    prominence,
    resample,
    squared_envelope_spectrum,
)

RATE = 10_000.0


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ringing(at=3200.0, every=0.05, samples=20_000, loudness=4.0, seed=0):
    """Impulses that ring at one frequency, in noise."""
    time = np.arange(samples) / RATE
    since = (time + every / 2) % every
    impulses = np.exp(-600 * since) * np.sin(2 * np.pi * at * since)
    return (loudness * impulses + noise(samples, seed=seed)).astype(np.float32)


@pytest.mark.parametrize("samples", [1000, 1009])
def test_analytic_signal_is_that_of_scipy(samples):
    x = noise(2, samples)
    np.testing.assert_allclose(analytic_signal(x), scipy.signal.hilbert(x), atol=1e-5)
    np.testing.assert_allclose(envelope(x), np.abs(scipy.signal.hilbert(x)), atol=1e-5)


def test_squared_envelope_spectrum_in_a_band_is_the_plain_one():
    x = noise(2, 1000) + 5  # a length that needs no zeros
    found = squared_envelope_spectrum(x, RATE, (1000.0, 3000.0))
    spectrum = np.fft.fft(x - x.mean(-1, keepdims=True))
    f = np.fft.fftfreq(1000, 1 / RATE)
    z = np.fft.ifft(np.where((f >= 1000) & (f <= 3000), 2 * spectrum, 0))
    squared = np.abs(z) ** 2
    expected = np.abs(np.fft.rfft(squared - squared.mean(-1, keepdims=True))) / 1000
    expected[:, 1:-1] *= 2
    np.testing.assert_allclose(found.amplitudes, expected, atol=1e-5)
    np.testing.assert_allclose(found.frequencies, np.fft.rfftfreq(1000, 1 / RATE))


def test_zeros_after_a_signal_of_prime_length_move_no_line():
    time = np.arange(9973) / RATE
    x = (1 + 0.5 * np.cos(2 * np.pi * 40 * time)) * np.cos(2 * np.pi * 2000 * time)
    found = squared_envelope_spectrum(x, RATE)
    assert len(found.frequencies) == 10_000 // 2 + 1
    # (1 + m cos)^2 has a line of amplitude 2 m.
    at = np.argmin(np.abs(found.frequencies - 40))
    assert found.amplitudes[at] == pytest.approx(1.0, rel=0.02)
    assert found.amplitudes.argmax() == at


def test_bands_of_a_batch_are_each_its_own_under_jit():
    x = np.stack([ringing(1200.0), ringing(3700.0)])

    @jax.jit
    def found(x):
        band = fast_kurtogram(x, RATE, level=4).band
        return band, squared_envelope_spectrum(x, RATE, band).amplitudes

    (low, high), amplitudes = found(x)
    assert low[0] < 1200 < high[0] < 3000 < low[1] < 3700 < high[1]
    for row in range(2):
        alone = squared_envelope_spectrum(x[row], RATE, (float(low[row]), float(high[row])))
        np.testing.assert_allclose(amplitudes[row], alone.amplitudes, atol=1e-4)
        # 20 impulses per second: lines at multiples of 20 Hz.
        strongest = alone.frequencies[np.argsort(alone.amplitudes)[-3:]]
        np.testing.assert_allclose(strongest % 20, 0, atol=0.6)


def test_kurtogram_is_the_kurtosis_of_band_passed_envelopes():
    x = ringing(every=0.0473)
    found = fast_kurtogram(x, RATE, level=4)
    assert len(found.low) == 1 + 2 + 3 + 4 + 6 + 8 + 12 + 16
    spectrum, f = np.fft.fft(x - x.mean(), 25_000), np.fft.fftfreq(25_000, 1 / RATE)
    for band in range(len(found.low)):
        low, high = found.low[band], found.high[band]
        rising = np.clip((f - low) / (high - low) * 2 + 0.5, 0, 1)
        falling = np.clip((high - f) / (high - low) * 2 + 0.5, 0, 1)
        taper = np.sin(np.pi / 2 * rising) * np.sin(np.pi / 2 * falling) * (f > 0)
        trim = int(6 * RATE / (1.5 * (high - low)))
        power = np.abs(np.fft.ifft(spectrum * taper))[trim : len(x) - trim] ** 2
        expected = (power**2).mean() / power.mean() ** 2 - 2
        assert found.kurtosis[band] == pytest.approx(expected, abs=0.12, rel=0.1), band


def test_kurtogram_finds_the_resonance_that_filters_of_finite_length_find():
    x = ringing(at=1900.0)
    found = fast_kurtogram(x, RATE, level=4)
    sharpest = []
    for low, high in zip(found.low, found.high, strict=True):
        taps = scipy.signal.firwin(129, [max(low, 1), min(high, 4999)], fs=RATE, pass_zero=False)
        z = scipy.signal.hilbert(scipy.signal.oaconvolve(x, taps, mode="valid"))
        power = np.abs(z[50:-50]) ** 2
        sharpest.append((power**2).mean() / power.mean() ** 2 - 2)
    assert np.argmax(sharpest) == np.argmax(found.kurtosis)
    assert np.corrcoef(sharpest, found.kurtosis)[0, 1] > 0.95


def test_kurtogram_of_gaussian_noise_is_zero_and_of_any_length():
    found = fast_kurtogram(noise(3, 49_999), RATE, level=3)
    assert abs(found.kurtosis).max() < 0.25
    np.testing.assert_allclose(found.high[-1], RATE / 2)
    assert found.image.shape == (3, 6, 24)
    np.testing.assert_array_equal(found.image[:, 1, :12], np.repeat(found.kurtosis[:, 1:2], 12, 1))


def test_too_deep_a_kurtogram_is_refused_with_the_level_that_is_possible():
    with pytest.raises(et.DataError, match="expected 1 to 4"):
        fast_kurtogram(noise(2000), RATE, level=6)
    assert fast_kurtogram(noise(2000), RATE, level=4).kurtosis.shape == (52,)


@pytest.mark.parametrize("samples", [4096, 4099])
def test_prewhitening_edits_the_cepstrum(samples):
    x = noise(samples) + 10 * np.sin(np.arange(samples) / 3).astype(np.float32)
    spectrum = np.fft.fft(x.astype(np.float64))
    cepstrum = np.fft.ifft(np.log(np.abs(spectrum)))
    cepstrum[1:] = 0
    edited = np.exp(np.fft.fft(cepstrum) + 1j * np.angle(spectrum))
    np.testing.assert_allclose(cepstrum_prewhitening(x), np.fft.ifft(edited).real, atol=1e-3)


def test_prewhitening_of_silence_is_silence():
    assert not np.any(cepstrum_prewhitening(np.zeros(64, np.float32)))


@pytest.mark.parametrize(
    ("start", "end"), [(97_656.0, 48_828.0), (64_000.0, 20_480.0), (12_000.0, 20_480.0)]
)
def test_resampling_keeps_what_fits_and_folds_nothing_back(start, end):
    time = np.arange(12_000) / start
    limit = min(start, end) / 2
    kept = [0.11, 0.52, 0.88]
    wave = lambda t: sum(np.sin(2 * np.pi * limit * f * t + i) for i, f in enumerate(kept))  # noqa: E731
    x = wave(time)
    if start > end:
        x = x + np.sin(2 * np.pi * limit * 1.02 * time)
    found = np.asarray(resample(x, start, end))
    assert len(found) == np.ceil(12_000 * end / start)
    inner = slice(200, -200)
    np.testing.assert_allclose(found[inner], wave(np.arange(len(found)) / end)[inner], atol=4e-3)


def test_resampling_agrees_with_scipy_in_the_pass_band():
    x = scipy.signal.lfilter(*scipy.signal.butter(8, 0.1), noise(2, 8000))
    expected = scipy.signal.resample_poly(x, 8, 25, axis=-1, window=("kaiser", 14.0))
    found = resample(x, 64_000.0, 20_480.0)
    np.testing.assert_allclose(found[:, 50:-50], expected[:, 50:-50], atol=5e-3)


def test_rates_without_a_common_measure_keep_the_time():
    x = np.sin(2 * np.pi * 50 * np.arange(5000) / 1000.0)
    found = np.asarray(resample(x, 1000.0, 1000 / np.pi))
    expected = np.sin(2 * np.pi * 50 * np.arange(len(found)) / (1000 / np.pi))
    np.testing.assert_allclose(found[50:-50], expected[50:-50], atol=5e-3)
    assert resample(x, 1000.0, 1000.0) is not None
    with pytest.raises(et.DataError, match="to_rate=0"):
        resample(x, 1000.0, 0.0)


def test_features_are_those_of_scipy():
    x = ringing()[:5000] + 0.3
    found = dict(zip(FEATURES, np.asarray(features(x, RATE)), strict=True))
    assert len(FEATURES) == 36
    power = np.abs(np.fft.rfft(x - x.mean()))[1:] ** 2
    f = np.fft.rfftfreq(5000, 1 / RATE)[1:]
    share = power / power.sum()
    centroid = share @ f
    spread = np.sqrt(share @ (f - centroid) ** 2)
    around = np.abs(scipy.signal.hilbert(x))
    rms = np.sqrt((x**2).mean())
    lines = np.abs(np.fft.rfft((e := np.abs(scipy.signal.hilbert(x - x.mean())) ** 2) - e.mean()))
    lines = lines[1:]
    lines[:-1] *= 2
    expected = {
        "mean": x.mean(),
        "standard_deviation": x.std(),
        "rms": rms,
        "peak": np.abs(x).max(),
        "skewness": scipy.stats.skew(x),
        "kurtosis": scipy.stats.kurtosis(x, fisher=False),
        "clearance_factor": np.abs(x).max() / np.sqrt(np.abs(x)).mean() ** 2,
        "zero_crossing_rate": (np.diff(x >= 0) != 0).mean() * RATE,
        "spectral_centroid": centroid,
        "spectral_spread": spread,
        "spectral_kurtosis": share @ ((f - centroid) / spread) ** 4,
        "spectral_flatness": scipy.stats.gmean(power) / power.mean(),
        "spectral_entropy": scipy.stats.entropy(share) / np.log(len(share)),
        "rolloff_frequency": f[np.searchsorted(np.cumsum(share), 0.95)],
        "power_below_quarter": share[(f >= 625) & (f < 1250)].sum(),
        "power_above_half": share[f >= 2500].sum(),
        "envelope_kurtosis": scipy.stats.kurtosis(around, fisher=False),
        "envelope_crest_factor": around.max() / np.sqrt((around**2).mean()),
        "envelope_peak_frequency": f[lines.argmax()],
        "envelope_peak_ratio": lines.max() / lines.mean(),
        "envelope_spectral_kurtosis": scipy.stats.kurtosis(lines, fisher=False),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=2e-3), name
    assert found["power_below_eighth"] + found["power_below_quarter"] + found[
        "power_below_half"
    ] + found["power_above_half"] == pytest.approx(1, rel=1e-5)


def test_features_of_silence_are_finite_and_factors_ignore_the_loudness():
    assert np.isfinite(features(np.zeros((2, 64), np.float32), RATE)).all()
    x = ringing()[:4096]
    quiet, loud = (np.asarray(features(scale * x, RATE)) for scale in (0.01, 1.0))
    same = [i for i, name in enumerate(FEATURES) if name.endswith(("factor", "kurtosis", "ratio"))]
    np.testing.assert_allclose(quiet[same], loud[same], rtol=1e-3)


def test_prominence_of_noise_is_zero_on_average_whatever_the_width():
    power = np.random.default_rng(1).exponential(size=(300, 4096)).astype(np.float32)
    power *= np.linspace(5, 1, 4096, dtype=np.float32)  # noise that is not white
    lines = np.array([200.0, 1000.0, 1800.0], np.float32)
    for tolerance in (0.01, 0.1):
        found = 10 ** (np.asarray(prominence(power, 0.5, lines[None], tolerance)) / 10)
        np.testing.assert_allclose(found.mean(0), 1, atol=0.1)


def test_prominence_finds_a_line_within_the_tolerance_only_and_not_past_the_end():
    power = np.ones(2000, np.float32)
    power[1000] = 1000.0  # 500 Hz
    found = prominence(power, 0.5, jnp.array([495.0, 505.0, 480.0, 999.0]), 0.02)
    assert (found[:2] > 20).all()
    assert found[2] < 0
    assert np.isnan(found[3])


@pytest.mark.parametrize(
    "call",
    [
        lambda x: analytic_signal(x).real,
        lambda x: squared_envelope_spectrum(x, RATE, (100.0, 4000.0)).amplitudes,
        lambda x: fast_kurtogram(x, RATE, 2).kurtosis,
        lambda x: cepstrum_prewhitening(x),
        lambda x: resample(x, RATE, 4000.0),
        lambda x: features(x, RATE),
        lambda x: prominence(jnp.square(x), 1.0, jnp.array([100.0]), 0.02),
    ],
    ids=["hilbert", "envelope", "kurtogram", "whitening", "resample", "features", "lines"],
)
def test_double_precision_stays(call):
    with jax.enable_x64(True):
        assert call(jnp.asarray(noise(1000), jnp.float64)).dtype == jnp.float64
