"""The report of a run of two phases and a rescue: every part is there, in one file."""

import re

import numpy as np

from etude.run.directory import Run
from etude.run.figures import POINTS, thinned
from etude.run.history import History
from etude.run.report import write_report
from etude.run.stretches import Stretch


def synthetic(folder):
    random = np.random.default_rng(0)
    with Run.create(folder, {"name": "<étude>", "epochs": 3}, seed=0) as run:
        start = 0
        visits = [("pretrain", 0, 300), ("gan", 0, 200), ("reclassify", 0, 60), ("gan", 0, 240)]
        for phase, visit, count in visits:
            steps = np.arange(count)
            run.history.append({"event": "phase_begin", "phase": phase, "global_step": start})
            loss = np.exp(-(steps + start) / 250) + 0.08 * random.standard_normal(count)
            rate = 1e-3 * (0.5 + 0.5 * np.cos(np.pi * steps / count))
            values = np.stack([loss, rate], axis=1).astype(np.float32)
            values[7, 0] = np.nan
            names = ("train/loss", "train/main/learning_rate")
            run.history.append_steps(Stretch(phase, visit, 0, start, 50, names), values)
            start += count
            valid = {"event": "validation", "phase": phase, "global_step": start}
            run.history.append({**valid, "valid/loss": float(loss[-20:].mean())})
            run.timing.append(phase, count, "train", count, count / 900)
            run.timing.append(phase, count, "valid", 1, 0.1)
        matrix = (np.eye(10) * 30 + random.integers(0, 4, (10, 10))).astype(int).tolist()
        run.history.append(
            {"event": "evaluation", "split": "test", "confusion_matrix": matrix,
             "metrics": {"accuracy": 0.987}}
        )  # fmt: skip


def test_the_report_holds_everything_and_refers_to_nothing(tmp_path):
    synthetic(tmp_path / "run")
    page = write_report(tmp_path / "run")
    text = page.read_text(encoding="utf-8")
    figures = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert figures == {"loss", "main-learning_rate", "timing", "confusion-test"}
    assert len(re.findall(r'src="data:image/png;base64,', text)) == len(figures)
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "&lt;étude&gt;" in text
    assert "<td>test/accuracy</td><td>0.987</td>" in text
    assert "reclassify" in text


def test_a_run_without_records_has_a_report(tmp_path):
    Run.create(tmp_path / "run", {}, seed=0).close()
    assert "Nothing was recorded" in write_report(tmp_path / "run").read_text()


def test_a_rescue_is_a_span_of_its_own(tmp_path):
    synthetic(tmp_path / "run")
    spans = History.open(tmp_path / "run").spans
    assert [span[0] for span in spans] == ["pretrain", "gan", "reclassify", "gan"]
    assert [span[2:] for span in spans] == [(0, 299), (300, 499), (500, 559), (560, 799)]


def test_a_long_curve_is_drawn_by_few_points():
    value = np.tile([1, 5, np.nan], 2 * POINTS)
    value[:30] = np.nan
    step, lines = thinned(np.arange(len(value)), value)
    assert len(step) <= POINTS
    assert np.isnan(lines[0]).all()
    np.testing.assert_array_equal(lines[-1], [1, 3, 5])
