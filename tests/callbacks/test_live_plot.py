"""The live plot shows what the history has, and is silent where it cannot draw."""

import sys
import types

import numpy as np
from tiny import fit, phase, recorded

from etude.callbacks import LivePlot


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
