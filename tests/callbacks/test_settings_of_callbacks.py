"""Settings that would do nothing, or something else, are refused; those of NumPy are numbers."""

import json
import math

import jaxtyping
import numpy as np
import optax
import pytest
from tiny import fit, phase

import etude as et
from etude.callbacks import LivePlot, Profiler, Timing, WandbLogger
from etude.callbacks.selection import Selection


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: et.EarlyStopping(min_delta=math.inf), "finite number from 0; got inf"),
        (lambda: et.ModelCheckpoint(top_k=3), "top_k=3 are the best of no metric"),
        (lambda: et.GradientMonitor(alert_high="5"), "got alert_low=1e-07, alert_high='5'"),
        (lambda: et.GradientMonitor(alert_high=True), "alert_high=True"),
        (lambda: et.GradientMonitor(alert_low=math.nan), "alert_low=nan"),
        (lambda: LivePlot(interval="2"), "positive number; got '2'"),
        (lambda: LivePlot(interval=True), "positive number; got True"),
        (lambda: LivePlot(metrics="loss"), "metrics lists names.*got 'loss'"),
        (lambda: LivePlot(metrics=[]), "metrics lists names.*got \\[\\]"),
        (lambda: WandbLogger(mode="ofline"), "got 'ofline'. Did you mean 'offline'"),
        (lambda: Timing(verbose="no"), "True or False; got 'no'"),
        (lambda: Selection("valid/loss", 3), "names of varied numbers; got 3"),
        (lambda: Selection("valid/loss", ["a"], factors=1.2), "positive numbers.*got 1.2"),
        (lambda: et.Stop("low enough"), "got 'low enough'.*Stop\\(detail="),
    ],
)
def test_it_is_refused_with_what_was_got(make, said):
    with pytest.raises(et.ConfigurationError, match=said):
        make()


@pytest.mark.parametrize("kind", [et.EarlyStopping, Profiler])
def test_a_phase_that_is_no_text_is_one_that_does_not_exist(kind):
    with pytest.raises(et.ConfigurationError, match="is for phase 3, and there is none"):
        fit(phase(), [kind(phase=3)])


def test_what_lists_may_be_an_array_or_a_generator():
    one = Selection("valid/loss", (n for n in ["rate"]), factors=np.array([0.5, 2.0]))
    assert (one.perturb, one.factors) == (("rate",), (0.5, 2.0))


def test_alerts_of_a_count_of_numpy_are_json():
    monitor = et.GradientMonitor(every=np.int64(2), alert_high=1e-3, alert_low=0.0)
    with pytest.warns(UserWarning, match="explodes"):
        fit(phase(steps=4, validate=4), [monitor])
    assert json.loads(json.dumps(monitor.state()))["alerts"][0]["step"] == 2


def test_epochs_of_a_phase_that_has_none_are_warned_about():
    def rule(trainable, rest, batch, context):
        return et.Proposal(trainable, {})

    one = et.Phase("walk", et.Learner(rule, optax.sgd(0.1)), None, et.Steps(2))
    saving = et.ModelCheckpoint(et.Epochs(1))
    trainer = et.Trainer(np.ones(2, np.float32), one, callbacks=[saving], progress=False)
    with pytest.warns(UserWarning, match="'walk' has no epochs.*at its end alone.*Steps"):
        trainer.fit()
