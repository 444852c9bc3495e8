"""Glitches: as loud after whitening as asked for, and of the frequencies that they are named by."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import signal

from etude.errors import DataError
from etude.systems.gravitational_waves import (
    GLITCHES,
    coloured_noise,
    draw_glitch,
    glitch_stream,
    noise_curve,
    whiten,
)
from etude.systems.gravitational_waves.glitches import scattered_light, whistle

CURVE = noise_curve("aLIGO-O4")
RATE = 2048.0


@settings(max_examples=12)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(list(GLITCHES)), snr=st.floats(5, 200))
def test_after_whitening_a_glitch_has_the_ratio_asked_for(seed, kind, snr):
    glitch = draw_glitch(np.random.default_rng(seed), kind, CURVE, snr, RATE)
    assert 1e-24 < np.abs(glitch).max() < 1e-18  # strain, not whitened strain
    white = whiten(np.pad(glitch, 3 * int(RATE)), RATE, CURVE)
    # the whitening filter smooths the 60 Hz line of the curve, and so a power line loses a little
    assert np.sqrt(np.sum(white**2)) == pytest.approx(snr, rel=0.04)
    energy = np.cumsum(white**2) / np.sum(white**2)
    # It is in the middle; light scattered for some seconds has up to a quarter on either side.
    assert energy[len(white) // 2 - 2048] < 0.3
    assert energy[len(white) // 2 + 2048] > 0.7


@pytest.mark.parametrize("kind", GLITCHES)
def test_a_loud_one_is_seen_in_whitened_noise(kind):
    noise = coloured_noise(np.random.default_rng(0), CURVE, 12.0, RATE)
    glitch = np.zeros_like(noise)
    glitch[4 * 2048 : 8 * 2048] = draw_glitch(np.random.default_rng(1), kind, CURVE, 60.0, RATE)
    quiet, loud = (whiten(strain, RATE, CURVE) for strain in (noise, noise + glitch))
    middle = slice(3 * 2048, 5 * 2048)
    assert np.sum(loud[middle] ** 2) - np.sum(quiet[middle] ** 2) == pytest.approx(3600, rel=0.15)
    quarters = [np.mean(white.reshape(-1, 512) ** 2, axis=1).max() for white in (quiet, loud)]
    assert quarters[1] > 1.4 * quarters[0]


def test_power_lines_are_at_the_frequency_of_the_mains():
    glitch = draw_glitch(np.random.default_rng(2), "power-line", CURVE, 20.0, RATE)
    f, power = signal.periodogram(glitch, RATE)
    near = (np.abs(f - 60) < 5) | (np.abs(f - 180) < 5)
    assert power[near].sum() / power.sum() > 0.95


def test_whistles_fall_and_rise_between_their_frequencies():
    times = np.arange(-0.5, 0.5, 1 / 4096)
    phase = np.unwrap(np.angle(signal.hilbert(whistle(times, 100.0, 500.0, 1.0))))
    frequency = np.gradient(phase, times) / (2 * np.pi)
    for time in (-0.3, -0.1, 0.0, 0.2):
        expected = 100 + 400 * (2 * time) ** 2
        at = np.abs(times - time) < 0.02
        assert np.median(frequency[at]) == pytest.approx(expected, rel=0.1), time


def test_scattered_light_makes_arches():
    times = np.arange(-2, 2, 1 / 1024)
    light = scattered_light(times, 50.0, 2.0, arches=4)
    f, at, power = signal.spectrogram(light, 1024.0, nperseg=256, noverlap=224)
    ridge = f[power.argmax(axis=0)]
    # phase 50 * 2 * sin(pi t): its rate, in Hz, is 50 |cos(pi t)|
    top = 50 * np.abs(np.cos(np.pi * (at - 2)))
    inside = (np.abs(at - 2) < 1.2) & (top > 20)
    assert np.median(np.abs(ridge - top)[inside]) < 4


def test_a_stream_has_as_many_as_its_rate_and_its_table_tells_where():
    strain, table = glitch_stream(np.random.default_rng(3), CURVE, 600.0, RATE, rate=1 / 20)
    assert len(strain) == 600 * 2048
    assert 30 - 17 < len(table.times) < 30 + 17  # Poisson, 3 sigma
    assert len(table.kinds) == len(table.snr) == len(table.times)
    assert np.all((table.snr >= 8) & (table.snr <= 50))
    white = whiten(np.pad(strain, 2 * 2048), RATE, CURVE)
    alone = [
        i for i, t in enumerate(table.times)
        if 4 < t < 596 and np.sum(np.abs(table.times - t) < 5) == 1
    ]  # fmt: skip
    assert len(alone) > 5
    for i in alone:
        around = white[int((table.times[i] - 2) * RATE) : int((table.times[i] + 2) * RATE)]
        assert np.sqrt(np.sum(around**2)) == pytest.approx(table.snr[i], rel=0.04)
    quiet = np.all(np.abs(np.arange(len(white)) / RATE - table.times[:, None]) > 4, axis=0)
    assert np.abs(white[quiet]).max() < 0.01


def test_mistakes_are_told():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="Did you mean 'whistle'"):
        draw_glitch(rng, "whistel", CURVE, 8.0, RATE)
    with pytest.raises(DataError, match="lowest <= highest"):
        glitch_stream(rng, CURVE, 60.0, RATE, snr=(20.0, 10.0))
