"""Banks and windows: labels, loudness, coincidence, noise, and splits that share nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import signal, stats

import etude as et
from etude.errors import ConfigurationError
from etude.systems.gravitational_waves import (
    H1,
    L1,
    Mixing,
    Population,
    noise_curve,
    signal_bank,
    whiten,
    whitened_signals,
)
from etude.systems.gravitational_waves.detectors import SPEED_OF_LIGHT
from etude.systems.gravitational_waves.injections import responses_and_delays

RATE = 2048
O4 = [noise_curve("aLIGO-O4")]
ROOM = Mixing().room
START = round(ROOM["merger"] * RATE)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def bank():
    return signal_bank(Population(), O4, 96, split="train", **ROOM)


def clicks(batch: int) -> np.ndarray:
    """Signals that are a click at the coalescence."""
    signals = np.zeros((batch, Mixing().longer, 2, 1), np.float32)
    signals[:, START, 0] = 1.0
    signals[:, START, 1] = 0.5
    return signals


class Noiseless(Mixing):
    def _noise(self, batch, detectors, key):
        return jnp.zeros((batch, self.samples, detectors))


def test_splits_share_no_binary_and_no_seed_is_alike():
    banks = [
        signal_bank(Population(), O4, 8, split=split, seed=seed, **ROOM)
        for split in ("train", "valid", "test")
        for seed in (0, 1)
    ]
    for column in ("mass_1", "distance", "right_ascension", "phase"):
        drawn = np.concatenate([bank.parameters.columns()[column] for bank in banks])
        assert len(np.unique(drawn)) == 6 * 8


def test_cached_bank_is_the_same_and_a_changed_one_is_computed_anew(tmp_path, monkeypatch):
    first = signal_bank(Population(), O4, 8, split="valid", cache=tmp_path, **ROOM)
    assert len(list(tmp_path.iterdir())) == 1
    other_noise = [noise_curve("A+")]
    changes = (
        {"seed": 1},
        {"merger": 0.7},
        {"duration": 1.3},
        {"psds": other_noise},
        {"population": Population(maximal_spin=0.5)},
        {"n": 7},
        {"split": "test"},
        {"sample_rate": 1024.0, "band": (20.0, 512.0)},
        {"band": (30.0, 1024.0)},
    )
    for change in changes:
        arguments = (
            {"population": Population(), "psds": O4, "n": 8, "split": "valid"} | ROOM | change
        )
        signal_bank(**arguments, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1 + len(changes)

    monkeypatch.setattr("etude.systems.gravitational_waves.bank.whitened_quadratures", None)
    again = signal_bank(Population(), O4, 8, split="valid", cache=tmp_path, **ROOM)
    np.testing.assert_array_equal(again.signals, first.signals)
    np.testing.assert_array_equal(again.snr, first.snr)
    np.testing.assert_array_equal(again.parameters.mass_1, first.parameters.mass_1)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b"", lambda content: b"text"])
def test_a_damaged_cache_is_replaced(damage, tmp_path):
    first = signal_bank(Population(), O4, 4, split="valid", cache=tmp_path, **ROOM)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    again = signal_bank(Population(), O4, 4, split="valid", cache=tmp_path, **ROOM)
    np.testing.assert_array_equal(again.signals, first.signals)
    assert list(tmp_path.iterdir()) == [file]
    assert len(file.read_bytes()) == len(whole)


def test_bank_holds_two_quadratures_of_unit_snr():
    bank = signal_bank(Population(), O4, 16, split="test", duration=16.0, merger=15.5)
    cos, sin = np.moveaxis(bank.signals[..., 0].astype(float), 2, 0)
    np.testing.assert_allclose(np.linalg.norm(cos, axis=1), 1.0, rtol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(sin, axis=1), 1.0, rtol=5e-3)
    np.testing.assert_allclose(np.sum(cos * sin, axis=1), 0.0, atol=5e-3)


def test_bank_through_responses_is_the_injection():
    # The two ways to whitened strain: quadratures turned by the response, and whitened_signals.
    bank = signal_bank(Population(), O4, 6, split="test", duration=2.0, merger=1.5)
    binaries = bank.parameters
    expected, snr = whitened_signals(binaries, O4 * 2, duration=2.0, merger=1.5)
    response, delay = responses_and_delays(binaries)
    wave = bank.signals[..., 0].astype(float) * bank.snr[:, None]
    for i in (0, 1):
        here = wave[..., 0] * response[:, i, None].real + wave[..., 1] * response[:, i, None].imag
        turned = np.exp(-2j * np.pi * np.fft.rfftfreq(4096, 1 / RATE) * delay[:, i, None])
        moved = np.fft.irfft(np.fft.rfft(here) * turned)
        miss = np.linalg.norm((moved - expected[..., i])[:, 200:], axis=1)
        assert np.all(miss < 0.03 * snr[:, i])
    np.testing.assert_allclose(np.abs(response) * bank.snr, snr, rtol=1e-6)


def test_positive_windows_merge_inside_the_labelled_interval():
    mixing = Noiseless(merger=(0.6, 0.8), incoherent=0.0)
    mixed = mixing.mix(jnp.asarray(clicks(400)), KEY)
    windows, positive = np.asarray(mixed.windows), np.asarray(mixed.labels) == 1
    for i, detector in enumerate((H1, L1)):
        seen = np.argmax(np.abs(windows[positive, :, i]), axis=1) / RATE
        # As far from the geocentre as the detector is, at most.
        farthest = np.linalg.norm(detector.location) / SPEED_OF_LIGHT + 1 / RATE
        assert np.abs(seen - np.asarray(mixed.merger)[positive]).max() < farthest
    between = np.diff(np.argmax(np.abs(windows[positive]), axis=1), axis=1) / RATE
    assert 0.009 < np.abs(between).max() < 0.0101 + 1 / RATE
    assert mixed.merger.min() >= 0.6 - 1e-3
    assert mixed.merger.max() <= 0.8 + 1e-3
    assert stats.kstest(np.asarray(mixed.merger), stats.uniform(0.6, 0.2).cdf).pvalue > 1e-3
    assert np.all(windows[~positive] == 0)


def test_windows_have_the_snr_drawn(bank):
    mixing = Noiseless(snr=(8.0, 15.0), incoherent=0.0, positives=1.0)
    mixed = mixing.mix(jnp.asarray(bank.signals), KEY)
    measured = np.linalg.norm(mixed.windows, axis=(1, 2))
    whole = np.linalg.norm(bank.signals[..., 0], axis=(1, 2)) / np.sqrt(2)  # light ones: a part
    np.testing.assert_allclose(measured, mixed.snr * whole, rtol=0.08)
    drawn = mixing.mix(jnp.asarray(clicks(2000)), KEY).snr
    assert stats.kstest(np.asarray(drawn), stats.uniform(8, 7).cdf).pvalue > 1e-3


def test_orientations_are_those_of_a_population_in_a_volume():
    # Of binaries uniform in volume, those above a threshold; their ratio of the two detectors.
    binaries = Population(distances=(1.0, 3000.0), distance="luminosity").draw(
        np.random.default_rng(5), 200_000
    )
    response, _ = responses_and_delays(binaries)
    loud = np.linalg.norm(response, axis=1) / binaries.distance
    found = np.abs(response)[loud > 1 / 1500]
    ours = np.abs(Mixing().places[0])
    ratios = [np.arctan2(x[:, 0], x[:, 1]) for x in (found, ours[::20])]
    assert stats.ks_2samp(*ratios).pvalue > 1e-3


def test_no_negative_window_holds_a_coherent_signal():
    mixing = Noiseless(incoherent=1.0, positives=0.0)
    mixed = mixing.mix(jnp.asarray(clicks(600)), KEY)
    assert np.all(np.asarray(mixed.labels) == 0)
    assert np.all(np.asarray(mixed.snr) == 0)
    kinds = {"alone": 0, "late": 0, "another": 0}
    for window in np.asarray(mixed.windows):
        first, second = (np.flatnonzero(np.abs(window[:, i]) > 0) for i in (0, 1))
        if len(first) == 0 or len(second) == 0:
            kinds["alone"] += 1
        elif abs(int(second[0] - first[0])) / RATE > 0.0101 + 1 / RATE:
            kinds["late"] += 1
        else:
            kinds["another"] += 1
    assert min(kinds.values()) > 140


def test_alone_in_one_detector_is_as_loud(bank):
    mixing = Noiseless(incoherent=1.0, positives=0.0, snr=(10.0, 10.0))
    windows = np.asarray(mixing.mix(jnp.asarray(bank.signals), KEY).windows)
    alone = np.any(np.all(windows == 0, axis=1), axis=1)
    assert 10 < alone.sum() < 60
    norms = np.linalg.norm(windows[alone], axis=(1, 2))
    assert np.all((norms > 7.5) & (norms < 10.5))


def test_noise_is_what_whitening_leaves_of_white_noise():
    mixing = Mixing(positives=0.0, incoherent=0.0)
    ours = np.asarray(mixing(jnp.asarray(clicks(300)), KEY)[0])[:, :, 0].astype(float)
    flat = 1e-46
    strain = np.random.default_rng(0).normal(scale=np.sqrt(flat * RATE / 2), size=304 * RATE)
    theirs = whiten(strain, float(RATE), lambda f: np.full(np.shape(f), flat)).reshape(300, RATE)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.01)
    frequencies, power = signal.periodogram(ours, RATE)
    _, expected = signal.periodogram(theirs, RATE, window="hann")
    power, expected = power.mean(axis=0), expected.mean(axis=0)
    inside = (frequencies >= 25) & (frequencies < 1020)
    np.testing.assert_allclose(power[inside].mean(), expected[inside].mean(), rtol=0.02)
    assert power[frequencies < 16].max() < 1e-3 * power[inside].mean()
    assert power[frequencies == 1024] == pytest.approx(power[inside].mean() / 2, rel=0.4)
    assert stats.kstest(ours[::10, ::16].ravel() / ours.std(), "norm").pvalue > 1e-3


def test_noise_of_the_two_detectors_and_of_all_windows_is_independent():
    windows = np.asarray(Mixing(positives=0.0, incoherent=0.0)(jnp.asarray(clicks(40)), KEY)[0])
    rows = windows.transpose(0, 2, 1).reshape(80, RATE)
    correlation = np.corrcoef(rows) - np.eye(80)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(RATE)


def test_glitches_hit_one_detector_with_the_snr_drawn():
    mixing = Noiseless(positives=0.0, incoherent=0.0, glitches=0.5, glitch_snr=(10.0, 40.0))
    windows = np.asarray(mixing(jnp.asarray(clicks(400)), KEY)[0])
    norms = np.linalg.norm(windows, axis=1)
    hit = norms > 0
    assert np.all(hit.sum(axis=1) <= 1)
    assert 0.4 < hit.any(axis=1).mean() < 0.6
    assert 0.4 < hit[hit.any(axis=1), 0].mean() < 0.6
    assert norms[hit].min() > 9.99
    assert norms[hit].max() < 40.01


def test_mixing_is_a_pure_function_of_batch_and_key(bank):
    mixing, batch = Mixing(), jnp.asarray(bank.signals[:16])
    first, again = mixing(batch, KEY), mixing(batch, KEY)
    np.testing.assert_array_equal(first[0], again[0])
    other = mixing(batch, jax.random.key(1))
    assert not np.allclose(first[0], other[0], atol=0.1)


def test_a_phase_learns_from_it(bank):
    # Energy tells loud signals from noise: a logistic regression on it must get there.
    def loss(model, batch, context):
        windows, labels = batch
        energy = (jnp.mean(jnp.square(windows), axis=(1, 2)) - 1.0) * 10.0
        logits = model["slope"] * energy + model["offset"]
        hit = jnp.mean(((logits > 0) == (labels == 1)).astype(jnp.float32))
        losses = optax.sigmoid_binary_cross_entropy(logits, labels.astype(jnp.float32))
        return jnp.mean(losses), {"accuracy": hit}

    mixing = Mixing(snr=(30.0, 40.0), incoherent=0.0)
    data = et.ArrayData(bank.signals, 32, drop_last=True)
    held_out = signal_bank(Population(), O4, 32, split="valid", **ROOM)
    windows = et.ArrayData(mixing(jnp.asarray(held_out.signals), KEY), 32)
    phase = et.Phase(
        "learn",
        et.Learner(et.Gradient(loss), optax.adam(0.3)),
        data,
        et.Epochs(20),
        augment=mixing,
        validation=et.Validation(windows, every=et.Epochs(20)),
    )
    model = {"slope": jnp.array(0.0), "offset": jnp.array(0.0)}
    result = et.Trainer(model, [phase], seed=0).fit()
    accuracy = [row["valid/accuracy"] for row in result.history if "valid/accuracy" in row]
    assert accuracy[-1] > 0.95


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"merger": (0.6, 1.2)}, "merger=.*the merger is in the window"),
        ({"merger": (0.6, 0.61)}, "no room for incoherent signals"),
        ({"snr": (15.0, 5.0)}, "snr=.*expected 0 < low <= high"),
        ({"positives": 1.5}, r"positives=1\.5"),
    ],
)
def test_impossible_mixing_is_refused(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        Mixing(**wrong)


def test_signals_too_short_for_the_windows_are_refused(bank):
    with pytest.raises(ConfigurationError, match=r"expected 2955 samples and 1 or 2 spectra"):
        dataclasses.replace(Mixing(), merger=(0.4, 0.8)).mix(jnp.asarray(bank.signals), KEY)
    with pytest.raises(ConfigurationError, match="a batch of 1 has no other signal"):
        Mixing().mix(jnp.asarray(bank.signals[:1]), KEY)


def test_unknown_split_is_refused():
    with pytest.raises(Exception, match="train"):
        signal_bank(Population(), O4, 4, split="training", **ROOM)  # pyright: ignore
