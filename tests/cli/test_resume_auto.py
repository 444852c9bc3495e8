"""`etude train RECIPE --resume auto`: one command that begins, goes on, or has nothing to do."""

import contextlib
import io
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import tiny_recipe as tiny

import etude as et
from etude.cli.main import main
from etude.run import History, Run
from etude.run.folder import LOCK
from etude.run.lock import Lock

WHOLE = et.Trainer
SIZE = ["--fast", "--steps", "40", "--repeats", "1"]
AUTO = ["train", "tiny", "--resume", "auto", *SIZE, "--run", "a"]


class Cut(et.Callback):
    """Ends a training without a word, as a kill does."""

    def __init__(self, step):
        self.step = step

    def on_validation_end(self, event, metrics):
        if event.step == self.step:
            raise ZeroDivisionError


@pytest.fixture
def cut_at(monkeypatch):
    """`cut_at(step)`: from now on a training ends there; None: at its end; 0: it may not begin."""
    return lambda step: cutting(monkeypatch, step)


def cutting(patch, step):
    """See `cut_at`."""

    def trainer(*parts, callbacks, **options):
        assert step != 0
        callbacks = [*callbacks, *([Cut(step)] if step else [])]
        return WHOLE(*parts, callbacks=callbacks, **options)

    patch.setattr(et, "Trainer", trainer)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with a run of 40 steps in `a`, saved at 20 and cut off at 30, and whole in `b`."""
    folder = tmp_path_factory.mktemp("original")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setattr(sys, "path", [*sys.path])
        tiny.install(tmp_path_factory.mktemp("packages"))
        patch.chdir(folder)
        assert main(["train", "tiny", *SIZE, "--run", "b"]) == 0
        cutting(patch, 30)
        assert main(AUTO) == 1
    assert [path.name for path in folder.glob("a/checkpoints/*-*")] == ["000000020-first"]
    return folder


@pytest.fixture
def unfinished(etude, original, tmp_path):
    """The command, in a copy of that folder."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return etude


def record(run):
    """All bytes of a history."""
    return [(Path(run) / name).read_bytes() for name in ("history.jsonl", "history.bin")]


def test_begins_goes_on_is_done_and_trains_longer(unfinished, cut_at):
    code, out, err = unfinished(*AUTO)
    assert (code, "finished" in out) == (0, False), err
    assert record("a") == record("b")
    cut_at(0)
    code, again, err = unfinished(*AUTO)
    assert code == 0, err
    assert again.startswith("The run in a is finished: nothing is left to train.\n")
    assert again.splitlines()[-1] == out.splitlines()[-1]
    assert record("a") == record("b")
    cut_at(None)
    code, out, err = unfinished(*[48 if word == "40" else word for word in AUTO])
    assert (code, "finished" in out) == (0, False), err
    assert len(History.open("a")["train/loss"].value) == 48


def test_other_settings_are_refused_with_a_way_that_works(unfinished):
    code, _, err = unfinished(*AUTO, "--optimizer.lr", 0.2)
    assert code == 2
    assert "step_size: got -0.2, expected -0.05" in err
    way = "etude resume a --optimizer.lr 0.2 --changes allow"
    assert err.strip().endswith(way)
    assert unfinished(*AUTO, "--widths", 7)[0] == 2
    before = Path("a/config.yaml").read_text()
    code, _, err = unfinished(*AUTO, "--seed", 5)
    assert (code, "seed: got 5, expected 0" in err) == (2, True)
    assert Path("a/config.yaml").read_text() == before
    assert unfinished(*shlex.split(way)[1:])[0] == 0
    assert Run.open("a", lock=False).config["configuration"]["optimizer"]["lr"] == 0.2


def test_without_a_checkpoint_it_begins_again_with_these_settings_alone(unfinished, cut_at):
    etude = unfinished
    shutil.rmtree("a")
    Run.create(Path("a"), {}, 0).close()
    (Path("a") / "environment.json").unlink()  # written last: a creation that was cut off
    cut_at(10)
    assert etude(*AUTO)[0] == 1
    assert not list(Path("a/checkpoints").glob("*-*"))
    code, _, err = etude(*AUTO, "--optimizer.lr", 0.2)
    assert code == 2
    assert "optimizer.lr: got 0.2, expected 0.05" in err
    code, _, err = etude("train", "tiny_recipe:recipe", "--resume", "auto", "--run", "a")
    assert code == 2
    assert "recipe: got 'tiny_recipe:recipe', expected 'tiny'" in err
    assert "--overwrite" in err
    cut_at(None)
    code, _, err = etude(*AUTO)
    assert code == 0, err
    assert record("a") == record("b")


def test_a_run_in_training_is_refused(unfinished):
    before = record("a")
    lock = Lock(Path("a") / LOCK)
    code, _, err = unfinished(*AUTO)
    lock.release()
    assert code == 1
    assert "is being written by process" in err
    assert record("a") == before


def test_trials_go_on_together(in_finished):
    etude = in_finished
    line = ["train", "tiny", "--steps", "10", "--fast", "--resume", "auto", "--run"]
    code, _, err = etude(*line, "runs/a/trials/tiny-1")
    assert code == 2
    assert "--run runs/a\n" in err
    code, _, err = etude(*line, "runs/a", "--population", 2)
    assert (code, "one after another" in err) == (2, True)


@pytest.mark.slow
def test_side_by_side_too(etude):
    line = ["train", "tiny", "--steps", 10, "--fast", "--resume", "auto", "--run", "p"]
    code, out, err = etude(*line, "--population", 2)
    assert (code, "finished" in out) == (0, False), err
    code, again, err = etude(*line, "--population", 2)
    assert code == 0, err
    assert again.startswith("The run in p is finished")
    assert again.splitlines()[-1] == out.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--resume", "atuo"], "expected 'auto'; did you mean 'auto'?"),
        (["--resume", "step-500"], "etude resume RUN --checkpoint NAME"),
        (["--resume"], "--resume takes one value"),
        (["--resume", "auto", "--overwrite"], "give one of both"),
        (["--overwrite", "--resume", "auto", "--steps", "x"], "2 problems"),
    ],
    ids=["misspelt", "checkpoint", "nothing", "overwrite", "all at once"],
)
def test_bad_input_is_one_message(etude, line, words):
    code, _, err = etude("train", "tiny", *line)
    assert code == 2
    assert words in err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"phases": ["fit"]}, "was not made by a recipe"),
        ({"recipe": "tiny", "configuration": [3], "experiment": "."}, "expected '(absent)'"),
        ({"recipe": "tiny", "configuration": {}, "experiment": "x"}, "Put back what was there"),
    ],
    ids=["of no recipe", "edited", "of nowhere"],
)
def test_a_run_that_cannot_be_known_again_is_refused(etude, config, words):
    Run.create(Path("a"), config, 0).close()
    code, _, err = etude(*AUTO)
    assert code == 2
    assert words in err


def test_an_interruption_before_there_is_a_run_can_be_repeated(etude, monkeypatch):
    def interrupted(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(tiny.recipe), "run", interrupted)
    code, _, err = etude(*AUTO)
    assert (code, err) == (3, "Interrupted early; the same command begins again.\n")
    assert etude("train", "tiny")[0] == 1
