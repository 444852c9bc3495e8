"""Every command, in process, on the tiny recipe."""

import contextlib
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import tiny_recipe as tiny
import yaml

import etude as et
from etude.catalogue import recipe_names
from etude.cli.main import main
from etude.errors import RunError
from etude.run import Run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A finished run, and what its training printed."""
    folder = tmp_path_factory.mktemp("original")
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(sys, "path", [*sys.path])
        tiny.install(tmp_path_factory.mktemp("packages"))
        patch.chdir(folder)
        assert main(["train", "tiny", "--steps", "20", "--run", "runs/a"]) == 0
    return folder, out.getvalue()


@pytest.fixture
def trained(etude, original, tmp_path):
    """A copy of the finished run in the folder of the test; what its training printed."""
    shutil.copytree(original[0], tmp_path, dirs_exist_ok=True)
    return original[1]


def test_train_prints_the_table_and_the_report_and_leaves_runs(etude, trained, tmp_path):
    run = tmp_path / "runs/a"
    assert "tiny    0." in trained
    assert " ± " in trained
    assert f"Report: {run.relative_to(tmp_path) / 'report.html'}" in trained
    record = yaml.safe_load((run / "config.yaml").read_text())
    assert record["recipe"] == "tiny"
    assert record["configuration"]["steps"] == 20
    last = json.loads((run / "history.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "evaluation"
    assert last["confusion_matrix"] == [[3, 1]]
    assert (run / "trials/tiny-1/history.jsonl").exists()
    assert (run / "figures/confusion-test.png").exists()


def test_evaluate_agrees_with_the_table_of_the_training_and_writes_nothing(etude, trained):
    files = {path: path.read_bytes() for path in _files()}
    code, out, _ = etude("evaluate", "runs/a", "--split", "test")
    assert code == 0
    assert out.splitlines()[-1] == trained.splitlines()[-1]
    code, alone, _ = etude("evaluate", "runs/a/trials/tiny-1")
    assert code == 0
    assert " ± " not in alone
    assert {path: path.read_bytes() for path in _files()} == files


def test_resuming_a_finished_run_trains_nothing(etude, trained, tmp_path):
    history = (tmp_path / "runs/a/history.jsonl").read_bytes()
    code, out, err = etude("resume", "runs/a/trials/tiny-1")
    assert code == 0
    assert "begins" not in err
    assert out.splitlines()[-1] == trained.splitlines()[-1]
    assert (tmp_path / "runs/a/history.jsonl").read_bytes() == history


@pytest.mark.slow
def test_a_finished_experiment_trains_longer_and_writes_that_down(etude, trained):
    code, _, err = etude("resume", "runs/a", "--steps", 25)
    assert code == 2  # it has two phases, and the first is over
    assert "phases.first.length: got 25, expected 20 (the run is past this phase)" in err
    assert recorded("runs/a")["steps"] == 20
    arguments = ["--steps", 20, "--fast", "--run", "runs/one"]
    table = etude("train", "tiny", *arguments)[1]
    code, longer, err = etude("resume", "runs/one", "--steps", 30)
    assert code == 0, err
    assert recorded("runs/one")["steps"] == recorded("runs/one/trials/tiny-1")["steps"] == 30
    assert longer.splitlines()[-1] != table.splitlines()[-1]
    events = [r for r in history("runs/one/trials/tiny-1") if r.get("event") == "resume"]
    assert events[0]["changes"] == {"phases.first.length": [20, 30]}
    # And is finished, with the new length.
    code, again, _ = etude("resume", "runs/one")
    assert again.splitlines()[-1] == longer.splitlines()[-1]
    assert "[1/2]" not in again
    code, _, err = etude("resume", "runs/one", "--optimizer.lr", "1e-3", "--note=--a b", "--fast")
    assert code == 2
    assert "step_size: got -0.001, expected -0.05" in err
    # What is suggested repeats what was typed, and does it.
    suggested = shlex.split(err.partition("go on with the new ones: etude ")[2])
    assert suggested[:4] == ["resume", "runs/one", "--optimizer.lr", "1e-3"]
    assert etude(*suggested)[0] == 0
    assert recorded("runs/one")["optimizer"]["lr"] == 1e-3
    assert recorded("runs/one")["note"] == "--a b"


def test_a_trial_goes_back_to_a_checkpoint(etude, trained):
    before = Path("runs/a/history.jsonl").read_bytes()
    trial = "runs/a/trials/tiny-1"
    code, _, err = etude("resume", trial, "--checkpoint", "step-21")
    assert code == 1
    assert "no checkpoint 'step-21'" in err
    names = sorted(path.name for path in Path(trial, "checkpoints").iterdir())
    code, out, err = etude("resume", trial, "--checkpoint", names[0])
    assert code == 0, err
    assert "[2/2]" in out
    assert "[1/2]" not in out
    assert out.splitlines()[-1] == trained.splitlines()[-1]
    assert Path("runs/a/history.jsonl").read_bytes() == before


def test_a_run_of_the_command_line_is_loaded_in_one_call(trained):
    import jax

    one, other = et.load_run("runs/a"), et.load_run("runs/a/trials/tiny-1")
    first, _ = tiny.trials(tiny.Tiny(steps=20))
    expected = first.build(run="runs/a", progress=False).load()
    assert all((a == b).all() for a, b in zip(arrays(one), arrays(expected), strict=True))
    assert not all((a == b).all() for a, b in zip(arrays(one), arrays(other), strict=True))
    assert one(jax.numpy.ones(2)).shape == (1,)
    with pytest.raises(RunError, match="is not there"):
        et.load_run("runs/a/trials/tiny-7")


def arrays(model):
    import equinox as eqx
    import jax

    return jax.tree.leaves(eqx.filter(model, eqx.is_array))


def recorded(run):
    return yaml.safe_load(Path(run, "config.yaml").read_text())["configuration"]


def history(run):
    return [json.loads(line) for line in Path(run, "history.jsonl").read_text().splitlines()]


def test_a_run_is_replaced_only_when_told(etude, trained, tmp_path):
    code, _, err = etude("train", "tiny", "--run", "runs/a", "--steps", 10, "--repeats", 1)
    assert code == 2
    assert "etude resume runs/a" in err
    assert "--overwrite" in err
    arguments = ["--run", "runs/a", "--steps", 10, "--repeats", 1, "--overwrite"]
    code, _, _ = etude("train", "tiny", *arguments)
    assert code == 0
    assert not (tmp_path / "runs/a/trials").exists()


def test_report_writes_the_page(etude, trained, tmp_path):
    (tmp_path / "runs/a/report.html").unlink()
    code, out, _ = etude("report", "runs/a")
    assert code == 0
    assert (tmp_path / out.strip()).read_text().startswith("<!doctype html>")


def test_a_file_goes_over_defaults_and_the_command_line_over_the_file(etude, tmp_path):
    (tmp_path / "c.yaml").write_text("steps: 10\nrepeats: 1\noptimizer: {lr: 0.5, kind: adam}\n")
    arguments = ["--config", "c.yaml", "--optimizer.lr", "1e-3", "--run", "runs/b"]
    assert etude("train", "tiny", *arguments)[0] == 0
    configuration = yaml.safe_load((tmp_path / "runs/b/config.yaml").read_text())["configuration"]
    assert configuration["steps"] == 10
    assert configuration["optimizer"] == {"lr": 0.001, "kind": "adam", "decay": None}
    # The configuration of a run serves as a file.
    assert etude("train", "tiny", "--config", "runs/b/config.yaml", "--run", "runs/c")[0] == 0
    again = yaml.safe_load((tmp_path / "runs/c/config.yaml").read_text())["configuration"]
    assert again == configuration


def test_all_problems_come_in_one_message_with_near_matches(etude, tmp_path):
    (tmp_path / "c.yaml").write_text("stpes: 3\nrepeats: 9\noptimizer: {kind: adamw}\n")
    arguments = ["--optimizer.lrr", "1", "--optimizer.lr", "-1", "--overwrit", "--widths", "1", "x"]
    code, out, err = etude("train", "tiny", *arguments, "--config", "c.yaml")
    assert (code, out) == (2, "")
    assert "7 problems" in err
    assert "stpes. Did you mean 'steps'?" in err
    assert "--optimizer.lrr. Did you mean 'optimizer.lr'" in err
    assert "--overwrit. Did you mean 'overwrite'?" in err
    assert "--optimizer.lr: should be greater than 0; got '-1'" in err
    assert "repeats: should be less than or equal to 5; got 9" in err
    assert "optimizer.kind: expected 'sgd' or 'adam'; did you mean 'adam'? Got 'adamw'" in err
    assert "--widths.1: should be a valid integer" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian"], 2, "Did you mean 'train'?"),
        ([], 2, ""),
        (["train"], 2, "The name of a recipe comes first"),
        (["train", "tiyn"], 2, "Did you mean 'tiny'?"),
        (["train", "tiny", "--config", "absent.yaml"], 2, "absent.yaml cannot be read"),
        (["train", "tiny", "--seed", "x", "--seed", "y"], 2, "given twice"),
        (["train", "tiny", "--seed"], 2, "takes one value"),
        (["train", "tiny", "--config", "none", "--seed", "x"], 2, "--seed: should be a valid"),
        (["resume", "runs/none"], 2, "is not there"),
        (["resume", "runs/none", "--changes", "alow"], 2, "did you mean 'allow'?"),
        (["resume", "runs/none", "--checkpoint"], 2, "takes one value"),
        (["evaluate", "runs/none", "--splt", "x"], 2, "Did you mean 'split'?"),
        (["report"], 2, "The folder of a run comes first"),
        (["info", "now"], 2, "takes no arguments"),
    ],
)
def test_bad_use_is_a_sentence_and_exit_code_2(etude, arguments, code, words):
    got, _, err = etude(*arguments)
    assert got == code
    assert words in err
    assert "Traceback" not in err


def test_yaml_that_is_none_is_refused(etude, tmp_path):
    for text, words in [
        ("a: [", "is not clear YAML"),
        ("- 1", "holds a list"),
        ("\x00", "is not clear YAML"),
    ]:
        (tmp_path / "c.yaml").write_text(text)
        code, _, err = etude("train", "tiny", "--config", "c.yaml")
        assert code == 2
        assert words in err


def test_a_run_that_no_recipe_made_cannot_be_resumed_from_here(etude, tmp_path):
    Run.create(tmp_path / "own", {"phases": ["fit"]}, 0).close()
    code, _, err = etude("resume", "own")
    assert code == 2
    assert "trainer.resume() goes on" in err
    with pytest.raises(et.ConfigurationError, match=r"trainer.load\(\) gives the model"):
        et.load_run("own")
    with pytest.raises(RunError, match="Runs beside it: own"):
        et.load_run("owm")


def test_a_split_that_is_none_is_refused(etude, trained):
    code, _, err = etude("evaluate", "runs/a", "--split", "tset")
    assert code == 2
    assert "Did you mean 'test'?" in err


def test_training_that_fails_is_exit_code_1(etude):
    code, _, err = etude("train", "tiny", "--optimizer.lr", "1e30", "--steps", 20)
    assert code == 1
    assert "not finite" in err
    assert "etude resume runs/tiny --changes allow --FIELD VALUE" in err
    assert "Traceback" not in err


def test_a_model_that_is_too_large_is_refused_with_its_size(etude):
    code, _, err = etude("train", "digits-two-phase", "--width", 10**8)
    assert code == 1
    assert re.search(r"^etude: Out of memory: 37,252,903\.0 GiB were asked for", err, re.MULTILINE)
    assert "Traceback" not in err


def test_an_unexpected_exception_leaves_its_traceback_in_a_file(etude, monkeypatch):
    def broken(self, *arguments, **options):
        raise ZeroDivisionError("by nobody expected")

    monkeypatch.setattr(type(tiny.recipe), "run", broken)
    code, _, err = etude("train", "tiny")
    assert code == 1
    assert "unexpected ZeroDivisionError: by nobody expected" in err
    path = err.rsplit(" ", 1)[-1].strip()
    with open(path) as file:
        assert "Traceback (most recent call last)" in file.read()


def test_help_of_a_recipe_shows_every_field_with_its_default(etude):
    code, out, _ = etude("train", "tiny", "--help")
    assert code == 0
    for words in ("--optimizer.lr FLOAT", "learning rate (default: 0.05)", "sgd|adam", "INT..."):
        assert words in out


def test_help_of_train_lists_the_recipes(etude):
    code, out, _ = etude("train", "--help")
    assert code == 0
    assert "\n  attractor/digits\n" in out
    assert "\n  generative/flow-matching\n" in out


def test_info_names_versions_and_devices(etude):
    import jax

    code, out, _ = etude("info")
    assert code == 0
    assert jax.__version__ in out
    assert "device" in out


def test_list_names_every_recipe(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in recipe_names())


def _files():
    return [path for path in Path("runs").rglob("*") if path.is_file()]
