"""Where results shall be written and cannot be, it is said by name and before any work."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from tiny_recipe import recipe

from etude.cli.commands import HistoryOptions
from etude.cli.main import main
from etude.cli.training import TrainOptions
from etude.verbs import PredictOptions, SampleOptions, Verb


@pytest.fixture
def taken(tmp_path, monkeypatch):
    """A folder to work in, with a file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("kept")
    return tmp_path / "taken"


@pytest.mark.parametrize(
    ("options", "field"),
    [(PredictOptions, "out"), (SampleOptions, "out"), (TrainOptions, "run")],
    ids=["predict", "sample", "train"],
)
@pytest.mark.parametrize("name", ["taken", "taken/in/it"])
def test_a_file_in_the_way_of_a_folder_is_refused(options, field, name, taken):
    with pytest.raises(ValidationError, match="a folder is written, and taken is a file: give an"):
        options(**{field: name})
    free = {field: "free/folder"}
    assert str(getattr(options(**free), field)) == "free/folder"
    assert taken.read_text() == "kept"


def test_a_file_is_not_written_where_it_has_no_folder(taken):
    for name, words in [
        (".", "this is a folder: name one in it"),
        ("absent/all.csv", "no folder absent: make it"),
        ("taken/all.csv", "no folder taken: make it"),
    ]:
        with pytest.raises(ValidationError, match=words):
            HistoryOptions(csv=name)
    assert HistoryOptions(csv="taken").csv is not None  # a file is replaced
    with pytest.raises(ValidationError, match="File name too long: give another name"):
        HistoryOptions(csv="1" * 5000)


def test_the_command_says_it_with_everything_else_that_is_wrong(taken, capsys):
    line = ["train", "digits-two-phase", "--run", "taken", "--width", "x"]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert "2 problems" in said
    assert "--run: a folder is written, and taken is a file: give another name; got 'tak" in said


def test_the_folder_that_a_run_has_by_default_is_refused_too(taken, capsys):
    taken.rename("runs")
    assert main(["train", "digits-two-phase"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "runs" in said
    assert "Errno" not in said


def test_a_link_to_nothing_is_refused(taken):
    (taken.parent / "link").symlink_to("nowhere")
    with pytest.raises(ValidationError, match="this is a link to nothing: give another name"):
        SampleOptions(out="link")


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="a folder that root cannot write either"
)
def test_a_place_that_cannot_be_written_is_said_before_any_work(in_finished, monkeypatch):
    def none(*arguments):
        raise AssertionError("nothing is loaded")

    sampled = replace(recipe, sample=Verb("draws", "", SampleOptions, none))
    monkeypatch.setattr("tiny_recipe.recipe", sampled)
    monkeypatch.setattr("etude.trial.restore_model", none)
    for line, option in (
        ("sample runs/b --out /proc/x", "--out"),
        ("export runs/b --out /proc/x", "--out"),
        ("report runs/a runs/b --out /proc/x.html", "--out"),
        ("history runs/b --csv /proc/x.csv", "--csv"),
    ):
        code, out, err = in_finished(*line.split())
        assert (code, out) == (2, "")
        assert err.startswith(f"etude: {option}: nothing can be written in /proc"), err
    assert in_finished("list", "/proc/1")[0] == 0
