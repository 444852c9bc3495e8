"""Callbacks of a population: one for all, or a copy for each member."""

import csv
import io
import json

import numpy as np
import pytest
from crowd import RATES, alone, close, phase, trainer
from test_endings import BREAKING, VARY

import etude as et
from etude.run.report import write_report
from etude.run.trials import TABLE


class Each(et.Callback):
    """Notes what one member is told, in the state, which a test can read."""

    def __init__(self):
        self.seen = []

    def with_members(self):
        return "each"

    def on_steps_end(self, event, metrics):
        assert event.members == 0
        assert "loss" in metrics.names
        self.seen.append(["steps", metrics.first, len(metrics.rows)])

    def on_validation_end(self, event, metrics):
        head = np.asarray(event.model()["head"]).tolist()
        self.seen.append(["valid", event.step, metrics["valid/error"], head])

    def on_phase_end(self, event, reason):
        self.seen.append(["end", event.step, reason.name])

    def state(self):
        return {"seen": self.seen}

    def restore(self, state):
        self.seen = list(state["seen"])


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A population with everything that writes."""
    folder = tmp_path_factory.mktemp("seen")
    stream = io.StringIO()
    each, timing = Each(), et.Timing(verbose=False)
    gradients, rates = et.GradientMonitor(alert_high=1e-3), et.LearningRateMonitor()
    stopping = et.EarlyStopping("valid/error", patience=2, mode="min")
    with pytest.warns(UserWarning):  # noqa: PT030, of the two monitors
        result = trainer(
            phase(),
            VARY,
            run=folder / "run",
            callbacks=[
                et.Progress(stream),
                et.CSVLogger(),
                stopping,
                timing,
                gradients,
                rates,
                each,
            ],
        ).fit()
    return result, stream.getvalue(), timing, gradients


def test_progress_says_teams_spreads_and_ends(seen):
    _, said, _, _ = seen
    assert "fit: begins, 3 members in teams: 1 of 3" in said
    assert "fit: member 0 ends at step 15. The metric stopped improving" in said
    assert "valid/error 0." in said
    assert " to 0." in said
    assert "valid/error.1" not in said


def test_loggers_write_a_column_for_each_member(seen):
    result, _, timing, gradients = seen
    with (result.run / "metrics.csv").open() as file:
        names = {row["metric"] for row in csv.DictReader(file)}
    assert {"train/loss.0", "train/loss.2", "valid/error.1"} <= names
    assert "fit" in timing.summary()
    assert {alert["metric"] for alert in gradients.alerts} >= {"gradient_norm.0"}


def test_a_report_has_a_row_for_each_member(seen):
    result, _, _, _ = seen
    table = json.loads((result.run / TABLE).read_text())
    assert table["head"] == ["member", "seed", "rate", "ended", "step", "valid/error"]
    assert [row[:5] for row in table["rows"]] == [
        ["0", "1", "0.0", "PATIENCE", "15"],
        ["1", "2", "0.03", "LENGTH", "20"],
        ["2", "3", "0.05", "LENGTH", "20"],
    ]
    page = write_report(result.run).read_text()
    assert "<td>PATIENCE</td>" in page


@pytest.mark.parametrize("how", ["some", None, True])
def test_what_goes_with_a_population_in_no_known_way(how):
    kind = type("Own", (et.Callback,), {"with_members": lambda self: how})
    with pytest.raises(et.ConfigurationError, match=rf"Own.with_members .* 'each'; got {how!r}"):
        trainer(phase(), VARY, callbacks=[kind()])


def test_a_copy_of_a_member_at_fault_is_told_nothing_of_later_phases():
    """Nor is it at fault again in the next training."""
    phases = [phase(BREAKING), phase(name="on", steps=3, validation=None)]
    train = trainer(phases, VARY, callbacks=[Each()])
    (adaptor,) = [c for c in train.settings.hooks.callbacks if hasattr(c, "copies")]
    for _ in range(2):
        train.fit()
        ends = [[one[2] for one in copy.seen if one[0] == "end"] for copy in adaptor.copies]
        assert ends == [["LENGTH"] * 2, ["LENGTH"] * 2, ["FAULT"]]
        assert adaptor.copies[2].seen[-1][0] == "end"
        assert adaptor.copies[0].seen[-2] == ["steps", 1, 3]


def test_a_copy_for_each_member_sees_that_member_alone(tmp_path):
    each = Each()
    result = trainer(phase(), VARY, run=tmp_path / "run", callbacks=[each]).fit()
    assert each.seen == []
    again = trainer(phase(), VARY, run=tmp_path / "run", callbacks=[Each()])
    again.resume()
    (adaptor,) = [c for c in again.settings.hooks.callbacks if hasattr(c, "copies")]
    for number, copy in enumerate(adaptor.copies):
        told = [one for one in copy.seen if one[0] == "valid"]
        values = result.history[f"valid/error.{number}"].value
        assert [one[2] for one in told] == values.tolist()
        assert sum(one[2] for one in copy.seen if one[0] == "steps") == 20
    one = alone(lambda hyper: phase(hyper=hyper), 1, {"rate": RATES})
    close(one.model, trainer(phase(), {"rate": RATES}).fit().member(1))
