"""A run whose steps are lines and whose checkpoints have format 2 is read, and goes on."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import second_recipe
from first_recipe import Lines

import etude as et
from etude.cli.main import main
from etude.run import History, Run
from etude.run.checkpoints import orbax_files

RECIPE = "second_recipe:recipe"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the run, and its recipe where the command line finds it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(Path(__file__).parent)
    return shutil.copytree("data/second_version", tmp_path / "run")


def trainer(run, **fields):
    return second_recipe.trials(Lines(**fields))[0].build(run=run, progress=False)


def test_its_history_and_model_are_read(run):
    history = History.open(run)
    assert len(history) == 31
    assert history["train/loss"].step.tolist() == list(range(1, 21))
    assert history["train/loss"].value[0] == 0.133749962
    assert len(history.validations) == 10
    with Run.open(run, lock=False) as opened:
        restored = opened.checkpoints.restore()
    assert (restored.name, restored.format) == ("000000016-fit", 2)
    np.testing.assert_array_equal(et.load_run(run, RECIPE), trainer(run).load())
    assert main(["report", str(run)]) == 0


def test_it_goes_on_from_its_last_checkpoint(run, tmp_path):
    old = History.open(run)
    resumed = trainer(run).resume()
    whole = trainer(tmp_path / "whole").fit()
    np.testing.assert_allclose(resumed.model, whole.model, rtol=1e-6)
    history = History.open(run)
    assert [r for r in history if r["global_step"] <= 16] == [
        r for r in old if r["global_step"] <= 16
    ]
    for name in ("train/loss", "valid/loss"):
        ours, straight = history[name], whole.history[name]
        np.testing.assert_array_equal(ours.step, straight.step)
        np.testing.assert_allclose(ours.value, straight.value, rtol=1e-5, atol=1e-6)
    assert [r["step"] for r in history] == [r["step"] for r in whole.history]


def test_an_older_checkpoint_cuts_the_lines(run):
    again = trainer(run).resume(checkpoint="step-8")
    assert again.history["train/loss"].step.tolist() == list(range(1, 41))
    assert (run / "history.jsonl").read_text().count('"train/loss":') == 8


def test_without_orbax_the_cure_is_named(run, monkeypatch, capsys):
    orbax_files._orbax.cache_clear()
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    assert main(["resume", str(run), "--recipe", RECIPE]) == 2
    assert "pip install 'etude[orbax]'" in capsys.readouterr().err
