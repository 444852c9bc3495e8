"""`etude list FOLDER`, `etude report RUN RUN` and `etude cite RUN`, on runs of every kind."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tiny_recipe as tiny

from etude.catalogue import offered_recipe, recipe_names
from etude.cli import listing
from etude.run import Run, Status
from etude.run.listing import STATES
from installed import installed


def rows(out):
    """Cells of a printed table, without its head."""
    return [re.split(r"  +", line) for line in out.splitlines()[2:]]


@pytest.fixture
def many(in_finished):
    """Beside the two experiments: one of no recipe, one killed, one damaged, one in training."""
    with Run.create(Path("runs/own/mine"), {"lr": 1}, seed=0) as run:
        run.history.append({"global_step": 3, "valid/loss": 0.25})
        run.history.append({"global_step": 6, "valid/loss": 0.5})
    Status("finished", "LENGTH", 6, "2026-01-01T00:00:00+00:00").write(Path("runs/own/mine"))
    shutil.copytree("runs/b", "runs/killed")
    Status("training", "", 5, "2026-01-03T00:00:00+00:00").write(Path("runs/killed"))
    Path("runs/killed/table.json").unlink()
    Run.create(Path("runs/damaged"), {}, seed=0).close()
    Path("runs/damaged/config.yaml").write_text("a: [")
    with Run.create(Path("runs/now"), {}, seed=0):
        Status("training", "", 5, "2026-01-02T00:00:00+00:00").write(Path("runs/now"))
        yield in_finished


def test_list_shows_every_run_in_its_state(many):
    code, out, err = many("list", "runs")
    assert (code, err) == (0, "")
    results = [
        Status.read(place).results["test"]["error"] for place in ("runs/a", "runs/a/trials/tiny-1")
    ]
    spread = f"{np.mean(results):.4f} ± {np.std(results, ddof=1):.4f}"
    found = {row[0]: row[1:] for row in rows(out)}
    assert list(found) == sorted(found)
    assert found["runs/a"][:4] == ["tiny", "finished, 2 of 2", "test error", spread]
    assert found["runs/b"][:3] == ["tiny", "finished", "test error"]
    assert found["runs/killed"][:2] == ["tiny", "killed"]
    assert found["runs/own/mine"][:3] == ["finished", "valid/loss, lowest", "0.25"]
    assert found["runs/now"][0] == "training"
    assert found["runs/damaged"][0] == "damaged"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--state", "killed"], ["killed"]),
        (["--recipe", "tiny", "--sort", "when", "--reverse"], ["b", "a", "killed"]),
        (["--sort", "when"], ["own/mine", "now", "killed"]),
        (["--recipe", "tiny", "--sort", "state"], ["a", "b", "killed"]),
    ],
    ids=["state", "recipe", "when", "by-state"],
)
def test_runs_are_sorted_and_filtered(words, names, many):
    code, out, _ = many("list", "runs", *words)
    assert code == 0
    assert [row[0] for row in rows(out)][: len(names)] == [f"runs/{name}" for name in names]


def test_runs_are_sorted_by_metric_and_those_without_come_last(many):
    found = [row[0] for row in rows(many("list", "runs", "--sort", "metric")[1])]
    backwards = [row[0] for row in rows(many("list", "runs", "--sort", "metric", "--reverse")[1])]
    assert set(found[-2:]) == set(backwards[-2:]) == {"runs/damaged", "runs/now"}
    assert found[:-2] == backwards[-3::-1]
    values = {run: float(json.loads(Path(run, "table.json").read_text())["rows"][0][1].split()[0])
              for run in ("runs/a", "runs/b")}  # fmt: skip
    assert found.index("runs/a") < found.index("runs/b") or values["runs/a"] > values["runs/b"]


def test_a_run_lists_its_trials_and_an_empty_folder_says_so(in_finished):
    assert [row[0] for row in rows(in_finished("list", "runs/a")[1])] == [
        "runs/a", "runs/a/trials/tiny-1"
    ]  # fmt: skip
    Path("empty").mkdir()
    assert in_finished("list", "empty")[:2] == (0, "There are no runs in empty.\n")
    out = in_finished("list", "runs", "--state", "failed")[1]
    assert "None of the 2 runs in runs is of --state failed; there are: tiny, finished." in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs", "--sort", "wen"], "did you mean 'when'?"),
        (["--state", "failed"], "--state is about runs: name the folder"),
        (["nowhere"], "nowhere is not there"),
        ([""], "The name of the folder is empty."),
        (["runs", "more"], "One folder is listed at a time; got runs more."),
    ],
    ids=["sort", "no-folder", "absent", "empty", "two"],
)
def test_bad_use_of_list_is_one_message(words, said, in_finished):
    code, out, err = in_finished("list", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_states_are_those_of_the_run():
    assert get_args(listing.State) == STATES


def test_a_comparison_holds_results_differences_and_curves(in_finished):
    code, out, _ = in_finished("report", "runs/a", "runs/b")
    assert (code, out) == (0, "comparison.html\n")
    page = Path("comparison.html").read_text()
    for run in ("a", "b"):
        cell = json.loads(Path(f"runs/{run}/table.json").read_text())["rows"][0][1]
        assert f"<td>{run}</td><td>tiny</td><td>{cell}</td>" in page
    assert "<th>run</th><th>repeats</th><th>optimizer.lr</th></tr>" in page
    assert "<td>a</td><td>2</td><td>0.05</td>" in page
    assert 'alt="valid/loss"' in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert in_finished("report", "runs/a", "runs/b")[0] == 2  # it is there
    assert in_finished("report", "runs/a", "runs/b", "--overwrite")[0] == 0
    assert in_finished("report", "runs/a", "runs/b", "--out", "other.html")[1] == "other.html\n"


def test_unfinished_runs_and_those_of_nobodys_recipe_are_compared_too(many):
    Path("runs/b/table.json").write_text("{")
    code, _, err = many("report", "runs/a", "runs/b")
    assert (code, "runs/b/table.json is not JSON" in err) == (2, True)
    assert many("report", "runs/a", "runs/own/mine", "runs/killed", "runs/now")[0] == 0
    page = Path("comparison.html").read_text()
    assert "Without a table of results: own/mine, killed, now." in page
    code, _, err = many("report", "runs/a", "runs/damaged", "--overwrite")
    assert (code, "damaged/config.yaml is not YAML" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "The folder of a run comes first, and more may follow; got nothing."),
        (["runs/a", "runs/b/../a"], "These are one run: runs/a, runs/b/../a."),
        (["runs/a", "--out", "x.html"], "--out and --overwrite are for several runs"),
        (["runs/a", "runs/c"], "runs/c is not there. Runs beside it: a, b."),
        (["runs/a", "runs/b", "--out", "/proc/x.html"], "nothing can be written in /proc"),
    ],
    ids=["none", "twice", "one", "absent", "unwritable"],
)
def test_bad_use_of_report_is_one_message(words, said, in_finished):
    code, out, err = in_finished("report", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not Path("comparison.html").exists()


def test_cite_prints_each_work_once(in_finished, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    offers = {"etude.recipes": {"other": "tiny_recipe:other"}}
    installed(tmp_path_factory.mktemp("others"), offers, name="others")
    works = tuple(f"@misc{{{name},\n  title = {{{name}}}\n}}" for name in ("one", "two"))
    monkeypatch.setattr(tiny, "recipe", replace(tiny.recipe, citations=works))
    again = (works[1].replace("\n  ", " "), "@misc{three}")
    monkeypatch.setattr(tiny, "other", replace(tiny.recipe, citations=again), raising=False)
    record = Path("runs/b/config.yaml")
    record.write_text(record.read_text().replace("recipe: tiny", "recipe: other"))
    code, out, _ = in_finished("cite", "runs/a", "runs/a/trials/tiny-1", "runs/b")
    assert code == 0
    assert re.findall(r"@misc\{(\w+)", out) == ["one", "two", "three"]
    monkeypatch.setattr(tiny, "recipe", replace(tiny.recipe, citations=()))
    out = in_finished("cite", "runs/a")[1]
    assert out == "The recipe tiny of runs/a names no works.\n"


def test_a_run_of_no_recipe_is_not_cited(many):
    code, out, err = many("cite", "runs/own/mine")
    assert (code, out) == (2, "")
    assert err.startswith("etude: The run in runs/own/mine was not made by a recipe")
    assert many("cite")[0] == 2


@pytest.mark.slow  # it imports every system
def test_a_key_names_one_work_in_all_recipes():
    works = {}
    for name in recipe_names():
        for entry in offered_recipe(name).citations:
            works.setdefault(re.match(r"@\w+\{([^,]+),", entry)[1], set()).add(entry)
    assert [key for key, entries in works.items() if len(entries) > 1] == []
