"""The mock search: its data, its verdict, and a search that is known to find what is there."""

from dataclasses import replace

import numpy as np
import pytest

from etude.systems.gravitational_waves import Parameters
from etude.systems.gravitational_waves.pipeline.background import HOUR, Background
from etude.systems.gravitational_waves.recipes import survey
from etude.systems.gravitational_waves.recipes.survey import (
    EDGES,
    RATES,
    Survey,
    matched_filter,
    pieces,
    verdict,
)

SMALL = Survey(foreground=0.06, background=0.04, piece=108.0, seed=3)


def near(piece, time, reach):
    """The strain around a time, and the GPS time where it starts."""
    low, high = (round((time + side * reach - piece.start) * 2048) for side in (-1, 1))
    return piece.values[low:high], piece.start + low / 2048


def test_signals_are_where_and_as_loud_as_the_table_says():
    found = pieces(SMALL, injected=True)
    noise = pieces(SMALL, injected=False)
    assert len(found) == 2
    assert all(len(piece.times) >= 1 for piece in found)
    assert all(len(piece.times) == 0 for piece in noise)
    for piece in found:
        for time, snr in zip(piece.times, piece.snr, strict=True):
            around, start = near(piece, time, 0.25)
            assert start == pytest.approx(time - 0.25, abs=1 / 2048)
            # The power of whitened noise is .98 per sample of the band, and a signal adds SNR^2.
            excess = np.sum(around.astype(float) ** 2) - 0.98 * around.size
            spread = 4 * np.sqrt(2 * around.size + 4 * snr**2)
            assert -spread < excess < snr**2 + spread
    snr, excess = np.array([
        (snr, np.sum(near(piece, time, 0.25)[0] ** 2) - 0.98 * 2048)
        for piece in found
        for time, snr in zip(piece.times, piece.snr, strict=True)
    ]).T  # fmt: skip
    assert excess.sum() > 0.5 * np.sum(snr**2) - 4 * np.sqrt(2 * 2048 * len(snr))


def test_foreground_and_background_and_splits_have_noise_of_their_own():
    drawn = [pieces(SMALL, injected=False), pieces(SMALL, injected=True)]
    drawn.append(pieces(Survey(**{**vars(SMALL), "split": "valid"}), injected=True))
    starts = [group[0].values[:4096, 0] for group in drawn]
    for a in range(3):
        for b in range(a):
            assert abs(np.corrcoef(starts[a], starts[b])[0, 1]) < 0.1


def test_band_and_window_are_those_asked_for():
    narrow = replace(SMALL, background=1.05, band=(20.0, 200.0))
    white = pieces(narrow, injected=True)[0].values[:, 0]
    power = np.abs(np.fft.rfft(white)) ** 2
    beyond = np.fft.rfftfreq(len(white), 1 / 2048) > 205
    assert power[beyond].sum() < 1e-3 * power.sum()

    lengths = set()

    def loudest(windows):
        lengths.add(windows.shape[1])
        return np.abs(windows).max(axis=1).min(axis=1)

    found = narrow.judge(loudest, window=0.5, stride=0.25)
    assert lengths == {1024}
    # The quieter detector's largest sample finds some of the signals.
    assert 0 < found["found"] < 1
    assert abs(found["time_bias"]) <= found["time_error"] < 1


def test_foreground_is_clustered_as_background_is(monkeypatch):
    """What a louder trigger within the cluster stands for is not found a second time.

    Two clicks: the louder one .45 s after the fainter, which is a merger. Without clustering the
    fainter would count as found; by the rule of the background there is one trigger, too late.
    """
    rate, seconds, merger = 2048, 40, 20.0
    values = np.zeros((rate * seconds, 2), np.float32)
    values[round(merger * rate)] = 2.0
    values[round((merger + 0.45) * rate)] = 9.0
    binary = Parameters.of(30.0, 20.0)
    with_merger = survey.Piece(values, 0.0, np.array([merger]), binary, np.array([10.0]))
    quiet = np.zeros_like(values)
    quiet[::rate] = 1.0
    noise = survey.Piece(quiet, 0.0, np.zeros(0), None, np.zeros(0))
    monkeypatch.setattr(survey, "pieces", lambda _, injected: [with_merger if injected else noise])

    class Untimed:
        """Leaves every trigger at the time of its window: what is tested is how they cluster."""

        def triggers(self, every, window):
            return every.clustered(window)

    monkeypatch.setattr(Survey, "_timing", lambda *_: Untimed())
    mock = Survey(piece=4 * HOUR)

    def click(windows):
        return np.abs(windows).max(axis=(1, 2))

    assert mock.judge(click, window=0.125, stride=0.0625)["found"] == 0
    values[round((merger + 0.45) * rate)] = 0.0
    found = mock.judge(click, window=0.125, stride=0.0625)
    assert found["found"] == 1
    # Of two windows that hold the click, the one that begins first.
    assert found["time_bias"] == -0.0625
    assert found["time_error"] == 0.0625


def test_verdict_against_its_formula():
    found = pieces(SMALL, injected=True)
    snr = np.concatenate([piece.snr for piece in found])
    mass = np.concatenate([piece.parameters.chirp_mass for piece in found])
    background = Background(np.arange(400.0), duration=4 * HOUR)
    everything = verdict(np.full(len(snr), np.inf), background, found)
    nothing = verdict(np.full(len(snr), -np.inf), background, found)
    assert everything["found"] == 1
    assert nothing["distance_1"] == 0
    # One false alarm an hour in four hours: the fourth loudest of the noise is the threshold.
    edge = verdict(np.where(np.arange(len(snr)) == 0, 396.5, 395.5), background, found)
    assert edge["found"] == pytest.approx(1 / len(snr))
    share = (edge["distance_1"] / everything["distance_1"]) ** 3
    assert share == pytest.approx(mass[0] ** 2.5 / np.sum(mass**2.5))
    assert edge["distance_10"] == pytest.approx(everything["distance_1"])
    total = sum(everything[f"total_{low:g}"] for low in EDGES[:-1])
    assert total == np.sum((snr >= EDGES[0]) & (snr <= EDGES[-1]))
    assert {f"distance_{rate:g}" for rate in RATES} <= set(everything)


@pytest.mark.slow
def test_a_matched_filter_finds_what_is_loud_and_not_what_is_faint():
    found = matched_filter(Survey(foreground=0.5, background=0.5, slid=0.5, seed=1))
    loud = [low for low in EDGES[:-1] if low >= 10 and found[f"total_{low:g}"]]
    assert all(found[f"found_{low:g}"] == found[f"total_{low:g}"] for low in loud)
    assert found["found_4"] < 0.3 * found["total_4"]
