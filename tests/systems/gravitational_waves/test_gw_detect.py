"""`etude detect`: a signal in two files of strain is found, and bad use is a sentence."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from etude.cli.main import main
from etude.errors import DataError
from etude.systems.gravitational_waves import (
    Parameters,
    Strain,
    coloured_noise,
    noise_curve,
    project,
)
from etude.systems.gravitational_waves.detect import Preparation, detect

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[2]))
import gw_tiny_recipe as tiny

from installed import with_recipes

PREPARATION = Preparation(2048.0, 0.5, (20.0, 1024.0), (0.2, 0.4))
START, MERGER = 1_000_000_000.0, 17.4


@pytest.fixture(scope="module")
def strain():
    """32 s of two detectors at 4096 Hz with a loud signal."""
    rate = 4096.0
    curve = noise_curve("aLIGO-O4")
    binary = Parameters.of(36.0, 29.0, 150.0, right_ascension=1.0, declination=0.5)
    signal = project(binary, sample_rate=rate, duration=32.0, merger=MERGER)[0]
    rngs = np.random.default_rng(5).spawn(2)
    return [
        Strain(coloured_noise(rng, curve, 32.0, rate) + signal[:, k], rate, START, name)
        for k, (rng, name) in enumerate(zip(rngs, ("H1", "L1"), strict=True))
    ]


@pytest.fixture(scope="module")
def files(strain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("strain")
    paths = []
    for one in strain:
        paths.append(folder / f"{one.detector}.hdf5")
        with h5py.File(paths[-1], "w") as file:
            file["strain/Strain"] = one.values
            file["strain/Strain"].attrs["Xstart"] = one.start
            file["strain/Strain"].attrs["Xspacing"] = 1 / one.sample_rate
            file["meta/Detector"] = one.detector
            file["meta/Duration"] = 32
    return [str(path) for path in paths]


@pytest.fixture
def etude(monkeypatch, tmp_path, tmp_path_factory, capsys):
    monkeypatch.setattr(sys, "path", [*sys.path])
    places = {"tiny-search": "gw_tiny_recipe:recipe", "other": "gw_tiny_recipe:other"}
    with_recipes(tmp_path_factory.mktemp("packages"), **places)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(list(map(str, arguments)))
        return code, *capsys.readouterr()

    return run


def test_the_signal_is_the_loudest_above_every_slide(strain):
    found = detect(tiny.Power(jnp.ones(())), *strain, PREPARATION, injections=64)
    time, statistic = found.triggers.loudest
    # The merger is at the centre of the Earth, and the signal a loud and short one.
    assert time == pytest.approx(START + MERGER, abs=0.05)
    # It finds few of the faint and long ones, and says how badly it times them.
    assert found.timing.injections >= 10
    assert 0.1 < found.timing.error < 1.5
    assert f"± {found.timing.error:.2f} s (90% of" in found.summary()
    assert found.background.louder(np.array([statistic]))[0] == 0
    assert "above every trigger of all time slides" in found.summary()
    loudest = np.argmax(found.triggers.statistic)
    assert found.false_alarm_rate[loudest] == found.background.resolution
    # The order of the files does not matter, nor a stretch that only one of them has.
    longer = replace(strain[1], values=np.append(strain[1].values, np.zeros(4096) + 1e-21))
    again = detect(tiny.Power(jnp.ones(())), longer, strain[0], PREPARATION, injections=64)
    np.testing.assert_array_equal(again.triggers.statistic, found.triggers.statistic)
    np.testing.assert_array_equal(again.triggers.time, found.triggers.time)


def test_strain_that_cannot_be_searched_is_refused(strain):
    model, (h1, l1) = tiny.Power(jnp.ones(())), strain
    with pytest.raises(DataError, match="of H1 and H1"):
        detect(model, h1, h1, PREPARATION)
    with pytest.raises(DataError, match="Take files of the same time"):
        detect(model, h1, replace(l1, start=START + 30), PREPARATION)


def test_the_stride_visits_every_merger():
    assert replace(PREPARATION, merger=(0.5, 0.52)).stride == 1 / 64
    assert replace(PREPARATION, merger=(0.5, 0.5)).stride == 1 / 16


def test_the_command_writes_triggers_and_a_figure(etude, files, tmp_path):
    assert etude("train", "tiny-search", "--run", "runs/a")[0] == 0
    code, out, err = etude("detect", "runs/a", *files, "--out", "found", "--slides", 5)
    assert (code, err) == (0, "")
    assert out.startswith(f"Loudest: GPS {START + MERGER:.0f}")
    with open(tmp_path / "found/triggers.csv") as file:
        rows = list(csv.DictReader(file))
    statistics = [float(row["statistic"]) for row in rows]
    assert statistics == sorted(statistics, reverse=True)
    assert float(rows[0]["gps_time"]) == pytest.approx(START + MERGER, abs=0.05)
    assert {row["time_error"] for row in rows} == {rows[0]["time_error"]}
    assert 0.1 < float(rows[0]["time_error"]) < 1.5
    rates = [float(row["false_alarms_per_hour"]) for row in rows]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(3600 / (5 * 27.5), rel=0.02)
    assert (tmp_path / "found/detection.png").stat().st_size > 10_000


def test_bad_use_is_a_sentence(etude, files, tmp_path):
    assert etude("train", "tiny-search", "--run", "runs/a")[0] == 0
    (tmp_path / "text.hdf5").write_text("none")
    for arguments, code, words in [
        (["runs/a", files[0]], 2, "Two files of strain"),
        (["runs/a", "GW150915"], 2, "or the event GW150914"),
        (["runs/b", *files], 2, "Runs beside it: a"),
        (["runs/a", *files, "--slides", "0"], 2, "greater than or equal to 1"),
        (["runs/a", *files, "--slide", "3"], 2, "Did you mean 'slides'?"),
        (["runs/a", files[0], files[0]], 1, "of H1 and H1"),
        (["runs/a", files[0], "absent.hdf5"], 1, "absent.hdf5"),
        (["runs/a", files[0], "text.hdf5"], 1, "cannot be read as HDF5"),
    ]:
        got, _, err = etude("detect", *arguments)
        assert (got, words in err, "Traceback" in err) == (code, True, False), err


def test_a_run_of_another_kind_is_refused(etude, files, monkeypatch):
    plain = replace(tiny.recipe, name="other", configuration=tiny.Configuration)
    monkeypatch.setattr(tiny, "other", plain, raising=False)
    assert etude("train", "other", "--run", "runs/c")[0] == 0
    code, _, err = etude("detect", "runs/c", *files)
    assert code == 2
    assert "trains no detector of gravitational waves" in err
    assert "lacks sample_rate, window, band, merger" in err
