"""An experiment of several trials that was interrupted is never presented as finished."""

import contextlib
import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_recipe as tiny

import etude as et
from etude.cli.main import main
from etude.run import Run, Status
from etude.training.signals import Interrupted

TWO = "2 of 4 trials are finished; go on with: etude resume runs/a"


class Cut(et.Callback):
    """Interrupts a training."""

    def on_validation_end(self, event, metrics):
        raise KeyboardInterrupt


def trainer(*parts, seed, callbacks, whole=et.Trainer, **options):
    """A trainer; that of the third trial is interrupted."""
    callbacks = [*callbacks, *([Cut()] if seed == 2 else [])]
    return whole(*parts, seed=seed, callbacks=callbacks, **options)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with an experiment whose third of four trials was interrupted."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(sys, "path", [*sys.path])
        tiny.install(tmp_path_factory.mktemp("packages"))
        patch.chdir(folder)
        patch.setattr(et, "Trainer", trainer)
        size = ["--steps", "20", "--repeats", "4", "--fast"]
        assert main(["train", "tiny", *size, "--run", "runs/a"]) == 3
    return folder


@pytest.fixture
def cut(etude, original, tmp_path):
    """The command, in a copy of that folder."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return etude


def test_only_finished_trials_are_measured_and_the_others_are_told(cut):
    code, out, _ = cut("evaluate", "runs/a")
    assert (code, out.splitlines()[1]) == (0, TWO)
    found = [Status.read(place) for place in ("runs/a", "runs/a/trials/tiny-1")]
    errors = [status.results["test"]["error"] for status in found if status]
    cell = f"{np.mean(errors):.4f} ± {np.std(errors, ddof=1):.4f}"
    assert out.splitlines()[-1].split(maxsplit=1) == ["tiny", cell]
    assert "method  valid error" in cut("evaluate", "runs/a", "--split", "valid")[1]
    code, _, err = cut("evaluate", "runs/a/trials/tiny-2")
    assert code == 2
    assert "nothing to measure in runs/a/trials/tiny-2" in err
    assert err.endswith("go on with: etude resume runs/a\n")
    assert "trials are finished" not in cut("evaluate", "runs/a/trials/tiny-1")[1]


def test_history_and_report_count_the_finished_trials(cut):
    first, second, *_ = cut("history", "runs/a")[1].splitlines()
    assert first == f"runs/a: {TWO}"
    assert second.startswith("the first trial: finished (LENGTH), 20 steps, ")
    assert cut("history", "runs/a/trials/tiny-1")[1].startswith("runs/a/trials/tiny-1: finished")
    page = Path("runs/a/report.html")
    assert cut("report", "runs/a")[0] == 0
    assert TWO in page.read_text()
    assert cut("resume", "runs/a")[0] == 0
    assert "4 of 4 trials are finished<" in page.read_text()
    assert cut("history", "runs/a")[1].startswith("runs/a: 4 of 4 trials are finished\n")
    assert "trials are finished" not in cut("evaluate", "runs/a")[1]


def test_a_trial_of_other_settings_than_the_first_is_not_finished(cut):
    """A longer training that has reached the first trial alone does not mix two lengths."""
    record = Path("runs/a/config.yaml")
    record.write_text(record.read_text().replace("steps: 20", "steps: 30"))
    assert "runs/a: 1 of 4 trials are finished" in cut("history", "runs/a")[1]
    assert "1 of 4 trials are finished" in cut("evaluate", "runs/a")[1]


def test_a_finished_trial_whose_results_lack_a_column_is_measured_again(cut):
    """As one is that a version with other columns measured."""
    place = Path("runs/a")
    before = Status.read(place)
    name = next(iter(tiny.recipe.columns.values()))
    lacking = {"test": {k: v for k, v in before.results["test"].items() if k != name}}
    replace(before, results=lacking).write(place)
    code, out, _ = cut("resume", place)
    assert (code, "[1/4]" in out, "[2/4]" in out) == (0, True, False)
    assert Status.read(place).results == before.results


def test_a_trial_in_training_is_told(cut):
    with Run.open("runs/a/trials/tiny-2"):
        first = cut("history", "runs/a")[1].splitlines()[0]
    assert first == "runs/a: 2 of 4 trials are finished, and one is in training"


def test_an_experiment_without_a_finished_trial_is_not_measured(cut):
    status = Path("runs/a/status.json")
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "interrupted"}))
    shutil.rmtree("runs/a/trials")
    code, out, err = cut("evaluate", "runs/a")
    assert (code, out) == (2, "")
    assert "nothing to measure in runs/a: 0 of 4 trials are finished; go on with: " in err


def test_a_judge_that_is_interrupted_does_not_say_how_to_go_on(etude, tmp_path, monkeypatch):
    # What measures a model may train something itself; the run is what goes on.
    def judge(model, split):
        raise Interrupted("Interrupted by SIGTERM at step 7. Nothing is saved.")

    real = tiny.recipe.trials

    def trials(config):
        return [replace(trial, evaluate=judge) for trial in real(config)]

    monkeypatch.setattr(tiny, "recipe", replace(tiny.recipe, trials=trials))
    code, _, err = etude("train", "tiny", "--steps", "20", "--fast", "--run", "runs/b")
    assert code == 3
    assert err.strip().endswith("Interrupted; go on with: etude resume runs/b")
