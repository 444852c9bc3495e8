"""The live plot shows what the history has, and is silent where it cannot draw."""

import io
import sys
import types

import numpy as np
from tiny import fit, model, phase, recorded

import etude as et
from etude.callbacks import LivePlot
from etude.callbacks.live_plot import Curve


class Cell:
    """What `display(display_id=True)` gives in a notebook."""

    def __init__(self):
        self.figures = []

    def update(self, figure):
        self.figures.append(figure)


def notebook(monkeypatch):
    cell = Cell()
    module = types.ModuleType("IPython.display")
    module.display = lambda display_id: cell
    package = types.ModuleType("IPython")
    package.version_info = (9, 0)  # which matplotlib asks for
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return cell


def test_the_last_figure_has_all_points_over_the_global_step(monkeypatch):
    cell = notebook(monkeypatch)
    history = fit([phase("one"), phase("two")], [LivePlot()]).history
    assert 1 <= len(cell.figures) < 20, "drawn now and then, not at every step"
    axes = {a.get_title(): a for a in cell.figures[-1].axes}
    assert set(axes) == {"loss", "twice"}
    lines = {line.get_label(): line for line in axes["loss"].lines}
    for name in ("train/loss", "valid/loss"):
        expected = recorded(history, "one", name) + recorded(history, "two", name)
        np.testing.assert_allclose(lines[name].get_xydata(), expected, rtol=1e-6)


def test_without_a_notebook_it_says_so_and_training_goes_on(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plot = LivePlot()
    fit(phase(), [plot])
    assert "IPython is not installed" in capsys.readouterr().err
    assert plot.curves == {}


def test_a_second_training_has_curves_of_its_own(monkeypatch):
    notebook(monkeypatch)
    plot = LivePlot(metrics=["loss"])
    trainer = et.Trainer(model(), phase(steps=4, validate=4), callbacks=[plot], progress=False)
    for _ in range(2):
        trainer.fit()
    assert plot.curves["train/loss"].steps.tolist() == [1, 2, 3, 4]


def test_a_roll_back_replaces_the_points_that_it_makes_again():
    curve = Curve()
    curve.add(np.array([1, 2, 3]), np.array([1.0, 2.0, np.nan]))
    curve.add(np.array([2, 3]), np.array([5.0, 6.0]))
    assert curve.steps.tolist() == [1, 2, 3]
    assert curve.values.tolist() == [1.0, 5.0, 6.0]


def test_any_name_can_be_drawn_before_it_is_measured():
    plot = LivePlot(metrics=["a$b_{$", "accuracy"])
    plot.curves["train/a$b_{$"] = Curve()
    plot.curves["train/a$b_{$"].add(np.array([1, 2]), np.array([1.0, 2.0]))
    plot.figure().savefig(io.BytesIO())
