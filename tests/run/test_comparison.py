"""Pages that compare runs: many of them, of other kinds, with values that are not finite."""

import re
from pathlib import Path

import numpy as np
import pytest

from etude.errors import RunError
from etude.run import History, Run, write_report
from etude.run.comparison import write_comparison
from etude.run.listing import listed
from etude.run.overlays import MANY, _smoothed, colours
from etude.run.stretches import Stretch
from etude.run.trials import TABLE


def run_of(folder, config, loss, phases=("fit",)):
    with Run.create(folder, config, seed=0) as run:
        start = 0
        for phase, values in zip(
            phases, np.array_split(np.asarray(loss, np.float32), len(phases)), strict=True
        ):
            stretch = Stretch(phase, 0, 0, start, 50, ("train/loss",))
            run.history.append_steps(stretch, values[:, None])
            start += len(values)
    return folder


def test_fifty_runs_are_on_one_page(tmp_path):
    runs = [
        run_of(tmp_path / f"r{k:02}", {"lr": k, "same": 1}, [k, np.nan, k + 1]) for k in range(50)
    ]
    page = write_comparison(runs, tmp_path / "page.html").read_text()
    assert all(f"<td>r{k:02}</td><td>{k}</td>" in page for k in range(50))
    assert "<th>run</th><th>lr</th></tr>" in page
    marks = re.findall(r'class="mark" style="background:(#\w+)"', page)
    assert marks == colours(50)
    assert len(set(marks)) == 50


def test_runs_that_share_no_metric_or_have_none(tmp_path):
    one = run_of(tmp_path / "a/x", {"lr": {"first": 1}}, [1.0])
    Run.create(tmp_path / "b/x", {"lr": 2}, seed=0).close()
    page = write_comparison([one, tmp_path / "b/x"], tmp_path / "page.html").read_text()
    assert "Of one run alone: train/loss." in page
    assert "<th>lr.first</th><th>lr</th>" in page
    assert "<td>a/x</td><td>1</td><td>-</td>" in page
    empty = [tmp_path / "b/x", Path(tmp_path, "b/y")]
    Run.create(empty[1], {"lr": 2}, seed=0).close()
    page = write_comparison(empty, tmp_path / "page.html").read_text()
    assert "No metric was recorded." in page
    assert "What differs in the configurations</h2><p>Nothing.</p>" in page


def test_a_curve_of_nothing_but_nan_is_no_error(tmp_path):
    runs = [run_of(tmp_path / name, {}, [np.nan, np.inf]) for name in "ab"]
    assert 'alt="train/loss"' in write_comparison(runs, tmp_path / "page.html").read_text()


def test_a_curve_is_not_smoothed_over_the_end_of_a_phase(tmp_path):
    loss = np.repeat([5.0, 1.0], MANY)
    history = History.open(run_of(tmp_path / "a", {}, loss, ("first", "second")))
    step, value = _smoothed(history["train/loss"], history.spans)
    np.testing.assert_array_equal(step, history["train/loss"].step)
    np.testing.assert_allclose(value, loss, rtol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        '{"head": ["method", "x"], "rows": [["plain"]]}',
        '{"head": ["method", "x"], "rows": ["plain", 3]}',
        '{"head": ["method", 3], "rows": []}',
        '{"head": ["method", "x"], "rows": [], "about": 3}',
        '{"head": ["method", "x"], "rows": [], "citations": [7]}',
    ],
    ids=["short", "texts", "head", "about", "citations"],
)
def test_a_table_that_is_none_is_said(text, tmp_path):
    runs = [run_of(tmp_path / name, {}, [1.0]) for name in "ab"]
    (runs[0] / TABLE).write_text(text)
    for told in (write_report, lambda run: write_comparison(runs, tmp_path / "page.html")):
        with pytest.raises(RunError, match=r"table.json holds no table. Remove it"):
            told(runs[0])
    assert listed(runs[0]).state == "damaged"


def test_an_empty_cell_is_no_number(tmp_path):
    run = run_of(tmp_path / "a", {}, [1.0])
    (run / TABLE).write_text('{"head": ["method", "x"], "rows": [["plain", ""]]}')
    assert (listed(run).metric, np.isnan(listed(run).value)) == ("x", True)
