"""Diagnosis of recordings from files: what is said, what is drawn, and what is refused by name."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import scipy.io

import etude as et
from etude.cli.main import main
from etude.systems.machinery import (
    EnvelopeNetwork,
    RollingSimulation,
    simulate,
)
from etude.systems.machinery.diagnosis import Trained, diagnose
from etude.systems.machinery.reading import Recording
from etude.systems.machinery.recipes import mfpt as module
from etude.systems.machinery.recipes.diagnose import DiagnoseOptions, diagnosed

RATE = 20480.0
TRAINED = Trained(("healthy", "outer", "inner"), ("BPFO", "BPFI"), RATE, 2048, 25.0)
NETWORK = EnvelopeNetwork(3, key=jax.random.key(0))


def struck(label, **changed):
    simulation = RollingSimulation(2.0, conditions=((25.0, 1.0),), **changed)
    return simulation.draw(label).signal


def write(path, signal, header=""):
    np.savetxt(path, signal, fmt="%.6e", header=header, comments="", delimiter=",")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return [write(folder / f"{name}.csv", struck(label)) for label, name in enumerate("abc")]


GIVEN = {"rate": RATE, "speed": 25.0}


def test_the_rule_comes_first_and_the_network_by_record_and_window(files, tmp_path):
    options = DiagnoseOptions(**GIVEN, out=tmp_path / "out")
    table = diagnosed(NETWORK, TRAINED, files, options)
    assert table.head == ("input", "by", "says", "healthy", "outer", "inner")
    rows = [row for row in table.rows if row[0] == "b.csv"]
    assert [row[1] for row in rows[:4]] == [
        "envelope rule, bearing assumed",
        "network",
        "0.000 s",
        "0.100 s",
    ]
    assert [row[2] for row in table.rows if row[1].startswith("envelope rule")] == [
        "healthy",
        "outer",
        "inner",
    ]
    assert rows[0][4].endswith(" dB")
    assert float(rows[0][4].split()[0]) > 8 > float(rows[0][5].split()[0])
    windows = np.array([row[3:] for row in rows[2:]], float)
    assert windows.shape == (20, 3)
    np.testing.assert_allclose(np.array(rows[1][3:], float), windows.mean(0), atol=1e-4)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.png", "c.png"}


def test_a_silent_window_gets_no_verdict():
    signal = struck(1)
    signal[len(signal) // 2 :] = 0
    with pytest.raises(et.DataError, match=r"mine is silent from .* s on, for a whole window"):
        diagnose(NETWORK, TRAINED, Recording("mine", signal, RATE, 25.0), TRAINED.orders)


def test_windows_hold_as_many_turns_at_every_speed():
    recording = Recording("mine", struck(1), RATE, 50.0)
    found = diagnose(NETWORK, TRAINED, recording, TRAINED.orders)
    assert found.windows.shape == (40, 3)
    assert found.duration == pytest.approx(0.05)


def test_another_bearing_is_given_by_name_or_orders_and_said_to_be_another(files):
    said = {}
    for text in (None, "NICE", "6203", "0.398,3.585,5.415,2.357"):
        options = DiagnoseOptions(**GIVEN, bearing=text)
        said[text] = [row[1:3] for row in diagnosed(NETWORK, TRAINED, files[1:2], options).rows[:2]]
    assert said[None][0] == ("envelope rule, bearing assumed", said["NICE"][0][1])
    assert said["NICE"][1] == said[None][1]
    assert said["6203"][1][0] == "network of another bearing"
    # Its lines are elsewhere: nothing stands out at them.
    assert said["0.398,3.585,5.415,2.357"][0] == ("envelope rule", "healthy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 20480.0}, "does not say the speed"),
        ({"speed": 25.0}, "does not say its sample rate"),
        ({"rate": 12000.0, "speed": 25.0}, "is not in the recording. Is the rate right"),
        ({**GIVEN, "bearing": "6204"}, "Did you mean '6203'"),
        ({**GIVEN, "bearing": "1,2"}, "FTF,BPFO,BPFI,BSF per turn"),
        ({**GIVEN, "bearing": "10,81,119,64"}, "Are they in Hz"),
        ({**GIVEN, "channel": "7"}, "has no channel '7'"),
        ({**GIVEN, "speed": 1.0}, "0.04 times that of the training, 25 Hz"),
        ({**GIVEN, "speed": 1500.0}, "Is it in revolutions per minute.* are 25 Hz"),
    ],
)
def test_what_a_file_cannot_say_and_nobody_did_is_refused(files, options, message):
    with pytest.raises(et.DataError, match=message):
        diagnosed(NETWORK, TRAINED, files[:1], DiagnoseOptions(**options))


def bad(kind, folder):
    """A file that cannot be diagnosed."""
    signal = struck(0)
    if kind == "silent":
        signal = np.zeros(40960)
    elif kind == "nan":
        signal[7] = np.nan
    elif kind == "two channels":
        return write(folder / "x.csv", np.stack([signal, signal], 1), header="left,right")
    elif kind == "short":
        signal = signal[:1000]
    elif kind == "structure":
        scipy.io.savemat(folder / "x.mat", {"something": signal})
        return str(folder / "x.mat")
    elif kind == "missing":
        return str(folder / "x.csv")
    return write(folder / "x.csv", signal)


REFUSED = {
    "silent": "the channel is silent",
    "nan": "1 of 40960 samples are not finite, the first at 7",
    "two channels": "has 2 channels: left, right",
    "short": "fewer than a window of 2048",
    "structure": "is of another structure: it has something",
    "missing": "There is no file",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_recordings_are_refused_by_name(kind, tmp_path):
    with pytest.raises(et.DataError, match=REFUSED[kind]) as caught:
        diagnosed(NETWORK, TRAINED, [bad(kind, tmp_path)], DiagnoseOptions(**GIVEN))
    assert "x." in str(caught.value)


def test_files_of_one_name_would_be_one_figure(files, tmp_path):
    again = write(tmp_path / "a.csv", struck(0))
    both = [files[0], again]
    assert len(diagnosed(NETWORK, TRAINED, both, DiagnoseOptions(**GIVEN)).rows) == 2 * 22
    with pytest.raises(et.DataError, match="same name"):
        diagnosed(NETWORK, TRAINED, both, DiagnoseOptions(**GIVEN, out=tmp_path))


def test_on_the_command_line_a_refusal_is_a_sentence(files, tmp_path, monkeypatch, capsys):
    """From a run that was trained, and with the words of a user."""
    records = simulate(RollingSimulation(0.5, bearings_per_class=2), 4).records
    three = records[np.flatnonzero(records.labels < 3)].windows(2048).normalised()
    three = replace(three, classes=TRAINED.classes)
    parts = {"train": three, "valid": three, "test": three}
    monkeypatch.setattr(module, "parts", lambda *_: parts)
    monkeypatch.setattr(module, "evaluate", lambda *_: dict.fromkeys(module.COLUMNS.values(), 0.0))
    run, name = tmp_path / "run", "etude.systems.machinery.recipes:mfpt_recipe"
    given = ["--sample_rate", "20480", "--window", "2048", "--epochs", "1", "--batch", "32"]
    chosen = ["--repeats", "1", "--networks", "envelope", "--splits", "published"]
    assert main(["train", name, "--run", str(run), *given, *chosen]) == 0
    capsys.readouterr()
    named = ["--recipe", name]
    words = ["predict", str(run), files[1], "--rate", "20480"]
    assert main([*words, "--speed", "25", *named]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[2].split()[:4] == ["b.csv", "envelope", "rule,", "bearing"]
    for speed, message in (("0", "greater than 0"), ("0.5", "0.02 times that of the training")):
        assert main([*words, "--speed", speed, *named]) != 0
        said = capsys.readouterr()
        assert message in said.err
        assert "Traceback" not in said.err


@pytest.mark.slow
def test_of_500_healthy_recordings_of_several_bearings_at_most_one_in_a_hundred_is_called_faulty():
    simulation = RollingSimulation(2.0, bearings_per_class=50, seed=5)
    faulty = 0
    for number in range(500):
        drawn = simulation.draw(4 * number)
        assert drawn.label == 0
        recording = Recording(str(number), drawn.signal, RATE, drawn.known["speed"])
        faulty += diagnose(NETWORK, TRAINED, recording, simulation.orders).said != "healthy"
    assert faulty <= 5
