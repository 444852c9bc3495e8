"""Time-frequency transforms against SciPy, and against their definitions written as loops."""

import jax
import numpy as np
import pytest
import scipy.signal

import etude as et
from etude.systems.machinery.signals import (
    cwt,
    decibels,
    log_spectrogram,
    scalogram,
    spectrogram,
    stft,
    wigner_ville,
)

RATE = 2000.0


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tone(frequency, samples=2000, rate=RATE):
    return np.cos(2 * np.pi * frequency * np.arange(samples) / rate).astype(np.float32)


@pytest.mark.parametrize(("window", "hop"), [(128, 64), (129, 50)])
def test_stft_and_spectrogram_are_those_of_scipy(window, hop):
    x = noise(2, 1000)
    options = {"fs": RATE, "window": "hann", "nperseg": window, "noverlap": window - hop}
    frequencies, times, expected = scipy.signal.stft(
        x, **options, boundary=None, padded=False, scaling="spectrum"
    )
    found = stft(x, RATE, window=window, hop=hop)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    np.testing.assert_allclose(found.frequencies, frequencies)
    np.testing.assert_allclose(found.times, times)
    _, _, density = scipy.signal.spectrogram(x, **options, detrend=False)
    np.testing.assert_allclose(
        spectrogram(x, RATE, window=window, hop=hop).values, density, rtol=1e-3, atol=1e-8
    )


def test_log_spectrogram_averages_under_triangles():
    x, window = noise(4000), 400  # bins of 5 Hz
    found = log_spectrogram(x, RATE, low=10.0, high=640.0, bands=7, window=window, hop=200)
    np.testing.assert_allclose(found.frequencies, 10.0 * 2.0 ** np.arange(7))
    linear = spectrogram(x, RATE, window=window, hop=200)
    for row, centre in enumerate(found.frequencies):
        left, right = min(centre / 2, centre - 5), max(2 * centre, centre + 5)
        weights = np.interp(linear.frequencies, [left, centre, right], [0, 1, 0], 0, 0)
        expected = weights @ np.asarray(linear.values) / weights.sum()
        np.testing.assert_allclose(found.values[row], expected, rtol=1e-4)


def test_decibels_have_a_floor_also_in_silence():
    power = np.array([[[1.0, 1e-3], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    found = decibels(jax.numpy.asarray(power), 40.0)
    np.testing.assert_allclose(found[0], [[0, -30], [-40, 0]], atol=1e-5)
    np.testing.assert_allclose(found[1], -40)


def test_wavelets_are_a_convolution_with_morlets_wavelet():
    x, cycles = noise(600, seed=1), 6.0
    found = cwt(x, RATE, low=60.0, high=RATE / 2, rows=5, cycles=cycles)
    padded = np.concatenate([np.zeros(600), x, np.zeros(600)])
    time = np.arange(-600, 601) / RATE
    for row in (0, 2, 3):
        f = found.frequencies[row]
        width = cycles / (2 * np.pi * f)
        wavelet = np.exp(2j * np.pi * f * time - time**2 / (2 * width**2))
        wavelet *= 2 / (width * np.sqrt(2 * np.pi) * RATE)
        expected = np.convolve(padded, wavelet, mode="same")[600:1200]
        np.testing.assert_allclose(found.values[row], expected, atol=2e-4)


def test_no_row_lies_past_half_the_sample_rate():
    assert cwt(noise(2000), RATE, low=20.0).frequencies[-1] == RATE / 2
    with pytest.raises(et.DataError, match="half the sample rate"):
        cwt(noise(2000), RATE, low=20.0, high=1001.0)
    with pytest.raises(et.DataError, match="half the sample rate"):
        log_spectrogram(noise(2000), RATE, low=20.0, high=1001.0)
    with pytest.raises(et.DataError, match="window of 400 samples"):
        log_spectrogram(noise(2000), RATE, low=5.0)


def test_scalogram_is_the_mean_power_of_a_stretch():
    x = noise(2, 1050)
    found = scalogram(x, RATE, low=50.0, rows=4, hop=100)
    power = np.abs(cwt(x, RATE, low=50.0, rows=4).values) ** 2
    np.testing.assert_allclose(found.values[..., 3], power[..., 300:400].mean(-1), rtol=1e-4)
    assert found.values.shape == (2, 4, 10)
    assert found.times[3] == pytest.approx(350 / RATE)


def test_wigner_ville_is_its_definition():
    x, bins, smoothing, hop = noise(200, seed=2), 16, 12, 4
    found = wigner_ville(x, RATE, bins=bins, smoothing=smoothing, hop=hop)
    z = scipy.signal.hilbert(x)
    at = lambda n: z[n] if 0 <= n < len(z) else 0  # noqa: E731
    g = np.hanning(smoothing + 2)[1:-1]
    g /= g.sum()
    lags = 7
    h = np.hanning(2 * lags + 3)[1:-1]
    for column in (0, 5, found.values.shape[1] - 1):
        for k in range(bins):
            total = 0
            for m in range(-lags, lags + 1):
                for u in range(smoothing):
                    t = column * hop + u
                    product = at(t + m) * np.conj(at(t - m))
                    total += h[m + lags] * g[u] * product * np.exp(-2j * np.pi * k * m / bins)
            assert found.values[k, column] == pytest.approx(total.real, abs=1e-4)
            assert abs(total.imag) < 1e-6
    assert found.times[5] == pytest.approx((20 + 5.5) / RATE)


def test_wigner_ville_has_the_right_axis_and_little_between_two_tones():
    # The axis of a transform of the real signal would show the upper tone at 600 Hz, too.
    found = wigner_ville(tone(400) + tone(800), RATE, bins=200, smoothing=128, hop=64)
    profile = np.asarray(found.values).mean(1)
    peaks = found.frequencies[scipy.signal.find_peaks(profile, height=profile.max() / 2)[0]]
    np.testing.assert_allclose(peaks, [400, 800], atol=5)
    assert abs(profile[np.abs(found.frequencies - 600) < 50]).max() < profile.max() / 50


def test_wigner_ville_keeps_the_energy():
    x = noise(600)
    found = wigner_ville(x, RATE, bins=32, smoothing=16, hop=8)
    squared = np.abs(scipy.signal.hilbert(x)) ** 2
    g = np.hanning(18)[1:-1]
    expected = np.convolve(squared, g / g.sum(), mode="valid")[::8]
    np.testing.assert_allclose(np.asarray(found.values).mean(0), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: stft(noise(100), RATE), "got 100 samples, expected at least 256"),
        (lambda: stft(noise(1000), RATE, hop=0), "hop=0"),
        (lambda: stft(noise(1000), 0.0), "sample_rate=0"),
        (lambda: cwt(noise(100), RATE, low=1.0), "got 100 samples"),
        (lambda: cwt(noise(1000), RATE, low=20.0, cycles=2.0), "cycles=2"),
        (lambda: wigner_ville(noise(1000), RATE, smoothing=30, hop=20), "divides"),
        (lambda: scalogram(noise(1000), RATE, low=20.0, hop=2000), "hop=2000"),
    ],
    ids=["short", "hop", "rate", "short-cwt", "cycles", "divisor", "long-hop"],
)
def test_what_cannot_be_transformed_is_refused(call, said):
    with pytest.raises(et.DataError, match=said):
        call()
