"""A run that the first version of etude has made is still read, and not resumed by halves."""

import json
import shutil
import sys
from pathlib import Path

import first_recipe
import numpy as np
import pytest

import etude as et
from etude.cli.main import main
from etude.run import History, Run, Status

RECIPE = "first_recipe:recipe"
#: the best weights of the run, those of step 4, as that version has loaded them
BEST = np.frombuffer(bytes.fromhex("46de49bee7ad44beed1340be"), np.float32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A copy of the run, and its recipe where the command line finds it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(Path(__file__).parent)
    folder = tmp_path / "run"
    shutil.copytree(Path("data/first_version"), folder)
    return folder


def trainer(run, **fields):
    config = first_recipe.Lines(**fields)
    return first_recipe.recipe.trials(config)[0].build(run=run, progress=False)


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_its_model_is_loaded_and_nothing_is_written(run):
    before = files(run)
    for model in (
        trainer(run).load(),
        trainer(run).load(checkpoint="step-8"),
        et.load_run(run, RECIPE),
    ):
        np.testing.assert_array_equal(model, BEST)
    with Run.open(run, lock=False) as opened:
        restored = opened.checkpoints.restore()
    assert (restored.name, restored.format) == ("000000016-fit", 1)
    assert restored.arrays["0/state.model"].dtype == np.float32
    assert files(run) == before


def test_its_history_is_read(run):
    history = History.open(run)
    assert history["train/loss"].step.tolist() == list(range(1, 21))
    assert len(history.validations) == 10
    assert Status.read(run) is None


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_the_command_line_reads_it(run, command, capsys):
    recipe = [] if command == "report" else ["--recipe", RECIPE]
    assert main([command, str(run), *recipe]) == 0
    assert ("0.0042" if command == "evaluate" else "report.html") in capsys.readouterr().out


@pytest.mark.parametrize("changes", ["refuse", "allow"])
def test_resuming_it_is_refused_in_a_sentence_and_leaves_it_as_it_is(run, changes):
    before = files(run)
    words = r"written by etude 0\.1\.0 with checkpoints of format 1.*its model still loads"
    with pytest.raises(et.ResumeError, match=words):
        trainer(run, epochs=30).resume(changes=changes)
    assert files(run).items() - before.items() == {(run / "lock", (run / "lock").read_bytes())}


def test_a_new_run_trains_on_from_its_model(run, tmp_path):
    new = trainer(tmp_path / "new")
    settings = new.settings
    again = et.Trainer(trainer(run).load(), settings.phases, run=tmp_path / "new", progress=False)
    result = again.fit()
    assert result.metrics["valid/loss"] <= History.open(run)["valid/loss"].value.min()


def test_a_trial_that_it_finished_is_not_trained_again(run, capsys):
    with (run / "history.jsonl").open("a") as file:
        event = {"event": "evaluation", "split": "test", "metrics": {"error": 0.25}}
        file.write(json.dumps(event) + "\n")
    config = first_recipe.Lines(broken=True)
    (row,) = first_recipe.recipe.run(config, run, resume=True).rows
    assert row == ("line", "0.2500")
    with pytest.raises(et.ResumeError, match="format 1"):
        first_recipe.recipe.run(first_recipe.Lines(epochs=30), run, resume=True)
    # Where there is a status, it alone counts.
    Status("finished", results={"test": {"error": 0.5}}).write(run)
    (row,) = first_recipe.recipe.run(config, run, resume=True).rows
    assert row == ("line", "0.5000")
