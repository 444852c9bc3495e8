"""`etude history`: what a run has recorded, as a table and as a file."""

import csv

import numpy as np
import pytest

from etude.cli.main import main
from etude.run import Run, Status
from etude.run.stretches import Stretch


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of two steps and a validation."""
    monkeypatch.chdir(tmp_path)
    with Run.create(tmp_path / "runs/a", {}, seed=0) as run:
        values = np.array([[2.0], [np.nan]], np.float32)
        common = {"phase": "fit", "visit": 0}
        run.history.append_steps(Stretch("fit", 0, 1, 1, 2, ("train/loss",)), values)
        run.history.append({**common, "step": 2, "global_step": 2, "valid/accuracy": 0.75})
    return tmp_path / "runs/a"


def test_it_prints_a_table_and_writes_every_record(run, capsys):
    Status("finished", "LENGTH", 2, when="2026-01-01T00:00:00+00:00").write(run)
    assert main(["history", "runs/a", "--csv", "all.csv"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "runs/a: finished (LENGTH), 2 steps, 2026-01-01T00:00:00+00:00",
        "  metric          last  lowest  highest  count",
        "  train/loss       nan       2        2      2",
        "  valid/accuracy  0.75    0.75     0.75      1",
        "All steps and validations: all.csv",
    ]
    with (run.parent.parent / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["train/loss"] for row in rows] == ["2.0", "nan", ""]
    assert rows[2]["valid/accuracy"] == "0.75"
    assert rows[0]["phase"] == "fit"


def test_a_run_without_a_status_or_records_is_told_so(run, capsys):
    assert main(["history", "runs/a"]) == 0
    assert capsys.readouterr().out.startswith("runs/a: 3 records\n")
    (run / "history.jsonl").unlink()
    assert main(["history", "runs/a"]) == 0
    assert capsys.readouterr().out.startswith("runs/a: 0 records\n")


def test_a_run_in_training_is_told_from_one_that_was_killed(run, capsys):
    """The status of both says "training", and has the steps of the beginning."""
    Status("training", steps=0, when="2026-01-01T00:00:00+00:00").write(run)
    with Run.open(run):
        assert main(["history", "runs/a"]) == 0
    far = "2 steps, status of 2026-01-01T00:00:00+00:00"
    assert capsys.readouterr().out.splitlines()[0] == f"runs/a: training, {far}"
    assert main(["history", "runs/a"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        f"runs/a: interrupted without an end (killed?), {far}; go on with: trainer.resume()"
    )
    Run.open(run).close()  # asking took nothing


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["runs/b"], 2, "is not there. Runs beside it: a."),
        ([], 2, "The folder of a run"),
        (["runs/a", "runs/b"], 2, "got 'runs/a' 'runs/b'. One is taken at a time"),
        (["runs/a", "--cvs", "x"], 2, "Did you mean 'csv'?"),
        (["runs/a", "--csv", "no/where.csv"], 2, "--csv: there is no folder no: make it, or"),
        (["runs/a", "--csv", "."], 2, "--csv: a file is written, and this is a folder: name"),
        (["runs/a", "--csv", "runs/a/config.yaml/x"], 2, "there is no folder runs/a/config.yaml"),
    ],
    ids=["no run", "no name", "two runs", "no option", "no folder", "folder", "in a file"],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(run, arguments, code, words, capsys):
    assert main(["history", *arguments]) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_file_of_the_run_is_not_replaced(run, capsys):
    """The CSV of a history over that history: nothing of the run would be left."""
    before = (run / "history.jsonl").read_bytes()
    assert main(["history", "runs/a", "--csv", "runs/a/history.jsonl"]) == 2
    assert "would replace a file of the run" in capsys.readouterr().err
    assert (run / "history.jsonl").read_bytes() == before
    assert main(["history", "runs/a", "--csv", "runs/a/all.csv"]) == 0


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"evaluation","metrics":null}',
        '{"event":"evaluation","split":"test","metrics":{"accuracy":"high","loss":[1]}}',
        '{"global_step":"2","train/loss":1.0}',
    ],
    ids=["null", "texts", "step"],
)
def test_a_line_of_another_hand_is_passed_over(line, run, capsys):
    with (run / "history.jsonl").open("a") as file:
        file.write(line + "\n")
    assert main(["history", "runs/a"]) == 0
    assert "train/loss       nan       2        2      2" in capsys.readouterr().out
