"""Coloured noise: a closed form, no period, no seams, independent streams."""

import numpy as np
import pytest
from scipy import stats

from etude.errors import DataError
from etude.systems.gravitational_waves import coloured_noise, noise_curve


def red(frequencies, corner=5.0):
    """One-sided spectrum of a process of variance 1 that forgets as exp(-2 pi corner t)."""
    return 2 / (np.pi * corner) / (1 + (frequencies / corner) ** 2)


def test_it_forgets_as_its_spectrum_says():
    noise = coloured_noise(np.random.default_rng(0), red, 1000.0, 1024.0)
    assert len(noise) == 1_024_000
    for lag in (0, 8, 32, 100, 1024):
        measured = np.mean(noise[: len(noise) - lag] * noise[lag:])
        expected = np.exp(-2 * np.pi * 5.0 * lag / 1024)
        assert measured == pytest.approx(expected, abs=0.03), lag  # 3 sigma: 0.025


def test_its_end_does_not_run_on_into_its_beginning():
    # What one inverse FFT makes is periodic: first and last sample then are neighbours, and
    # correlate by exp(-2 pi 5 / 256) = 0.88.
    rng = np.random.default_rng(1)
    ends = np.array([coloured_noise(rng, red, 1.0, 256.0)[[0, 1, -1]] for _ in range(400)]).T
    assert np.corrcoef(ends[0], ends[1])[0, 1] > 0.8
    assert abs(np.corrcoef(ends[0], ends[2])[0, 1]) < 0.15  # 3 sigma


def test_it_is_gaussian_and_has_no_seam():
    noise = coloured_noise(np.random.default_rng(2), red, 500.0, 1024.0)
    assert stats.kstest(noise[::512], "norm").pvalue > 0.01
    steps = np.diff(noise)
    assert np.abs(steps).max() < 6 * steps.std()


def test_a_generator_gives_the_same_noise_again_and_spawned_ones_give_other_noise():
    curve = noise_curve("A+")
    first, again = (coloured_noise(np.random.default_rng(3), curve, 4.0, 2048.0) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    left, right = (
        coloured_noise(child, curve, 64.0, 2048.0) for child in np.random.default_rng(3).spawn(2)
    )
    assert abs(np.corrcoef(np.diff(left, 8), np.diff(right, 8))[0, 1]) < 0.02


def test_there_is_none_where_the_curve_says_nothing():
    noise = coloured_noise(np.random.default_rng(4), noise_curve("aLIGO-O4"), 64.0, 2048.0)
    power = np.abs(np.fft.rfft(noise * np.hanning(len(noise)))) ** 2
    f = np.fft.rfftfreq(len(noise), 1 / 2048)
    assert power[f < 9].mean() < 1e-6 * power[(f > 11) & (f < 13)].mean()


@pytest.mark.parametrize(
    ("duration", "sample_rate", "complaint"),
    [(0.0, 2048.0, "at least one sample"), (1.0, 10.0, "nothing below 5 Hz")],
)
def test_what_cannot_be_made_is_refused(duration, sample_rate, complaint):
    with pytest.raises(DataError, match=complaint):
        coloured_noise(np.random.default_rng(0), noise_curve("aLIGO-O4"), duration, sample_rate)
