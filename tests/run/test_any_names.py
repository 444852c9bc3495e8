"""A report and a comparison can be made of runs whatever metrics, folders and values are."""

import datetime
import math
import os

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pytest

from etude.errors import RunError
from etude.run import History, Run, write_report
from etude.run.comparison import write_comparison
from etude.run.figures import write_figures
from etude.run.stretches import Stretch

PLACE = {"phase": "fit", "visit": 0, "step": 3, "epoch": 0, "global_step": 3}


def run_of(folder, *names, records=(), config=None):
    """Three steps, in which the metrics are 1."""
    with Run.create(folder, config or {}, seed=0) as run:
        stretch = Stretch("fit", 0, 1, 1, None, names)
        run.history.append_steps(stretch, np.ones((3, len(names)), np.float32))
        for record in records:
            run.history.append(PLACE | record)
    return folder


def figures_of(run):
    write_report(run)
    return {path.stem for path in (run / "figures").glob("*.png")}


@pytest.fixture
def drawn(monkeypatch):
    """The labels in the legend of each figure that is drawn, by its title."""
    found = {}

    def keep(figure, path, **options):
        (axes, *_) = figure.axes
        found[axes.get_title("left")] = [text.get_text() for text in axes.get_legend().get_texts()]

    monkeypatch.setattr(mpl.figure.Figure, "savefig", keep)
    return found


def test_names_that_are_no_file_names_and_no_formulas(tmp_path):
    names = ["a$b_{$", "..", "a\0b", "<b>", 300 * "x"]
    run = run_of(tmp_path / "run", *(f"train/{name}" for name in names))
    assert figures_of(run) == {"a$b_{$", "_..", "a_b", "<b>", 200 * "x"}
    write_comparison([run, run_of(tmp_path / "other", "train/a$b_{$")], tmp_path / "both.html")


def test_no_figure_takes_the_place_of_another(tmp_path):
    run = run_of(tmp_path / "run", "train/a/b", "train/a-b", "train/timing")
    with Run.open(run) as opened:
        opened.timing.append("fit", 3, "train", 3, 0.1)
    assert figures_of(run) == {"a-b", "a-b-2", "timing", "timing-2"}


def test_validations_of_any_name_are_drawn(tmp_path, drawn):
    records = [{"held/loss": 0.5, "held/accuracy": 0.5, "valid/loss": 0.4}]
    run = run_of(tmp_path / "run", "train/loss", records=records)
    write_figures(run / "figures", History.open(run), [])
    assert drawn == {"loss": ["train", "held", "validation"], "accuracy": ["held"]}


def test_values_without_an_axis(tmp_path):
    huge = [{"valid/loss": value} for value in (1e308, -1e308, math.inf, math.nan)]
    matrix = {"event": "evaluation", "split": "te/st", "confusion_matrix": [[math.nan, 1], [0, 2]]}
    run = run_of(tmp_path / "run", "train/loss", records=[*huge, matrix])
    assert figures_of(run) == {"loss", "confusion-te-st"}
    write_comparison([run, run_of(tmp_path / "b", "train/loss", records=huge)], tmp_path / "c.html")


def test_an_evaluation_that_found_nan_is_in_the_summary(tmp_path):
    found = {"event": "evaluation", "split": "test", "metrics": {"a": math.nan, "b": -math.inf}}
    summary = History.open(run_of(tmp_path / "run", "train/c", records=[found])).summary()
    assert [(one.name, str(one.last)) for one in summary[:2]] == [
        ("test/a", "nan"),
        ("test/b", "-inf"),
    ]


def test_a_folder_of_any_bytes_and_dates_in_configurations(tmp_path):
    one = run_of(
        tmp_path / os.fsdecode(b"x\xff"), "train/a", config={"day": datetime.date(2020, 1, 1)}
    )
    two = run_of(tmp_path / "y", "train/a", config={"day": datetime.date(2020, 1, 2), "l": ["é"]})
    assert "x\\udcff" in write_report(one).read_text("utf-8")
    text = write_comparison([one, two], tmp_path / "both.html").read_text("utf-8")
    assert "2020-01-02" in text
    assert "é" in text


def test_a_configuration_that_is_not_plain_is_refused_when_it_is_replaced_too(tmp_path):
    with Run.open(run_of(tmp_path / "run", "train/a", config={"a": 1})) as run:
        with pytest.raises(RunError, match="cannot be written as YAML"):
            run.configure({"a": np.float32(1)})
        assert run.config == {"a": 1}
