"""What phases and callbacks go by: directions, NaN, and names of phases, metrics and hooks."""

import math

import equinox as eqx
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from scored import DATA, counter, phase, trainer

import etude as et

NAN = math.nan


def validation(measure, **options):
    """A validation of one batch, every two steps."""
    return et.Validation(et.ArrayData(DATA, 12), measure, et.Steps(2), **options)


def ends(result):
    """`(phase, detail)` of the ends of phases."""
    return [(r["phase"], r.get("detail")) for r in result.history if r.get("event") == "phase_end"]


def test_a_goal_is_reached_from_the_side_that_is_said():
    """A root mean squared error falls; it is not reached while it is above the goal."""
    scores = [0.78, 0.4, 0.04, 0.02]
    one = phase(steps=8, scores=scores, goal=et.AtMost("valid/score", 0.05))
    result = trainer(one).fit()
    assert (result.reason, float(result.model)) == (et.Reason.GOAL, 6.0)
    assert ends(result) == [("fit", "valid/score <= 0.05")]
    rising = phase(steps=8, scores=scores[::-1], goal=[et.AtLeast("valid/score", 0.4)])
    assert float(trainer(rising).fit().model) == 6.0
    between = [et.AtLeast("valid/score", 0.03), et.AtMost("valid/score", 0.5)]
    assert float(trainer(phase(steps=8, scores=scores, goal=between)).fit().model) == 4.0


def test_a_goal_without_a_direction_is_refused_with_the_cure():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for goal in ({"valid/score": 0.05}, {}, 0.05, "valid/score", ["valid/score"]):
            with pytest.raises(et.ConfigurationError, match=r"AtLeast\(.*AtMost\("):
                phase(scores=[1.0], goal=goal)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_patience_counts_nan_as_no_improvement():
    for scores, step, detail in (
        ([NAN, 4, NAN, NAN, 1, 1], 8, "valid/score was best at 4"),
        ([NAN, NAN, NAN, 4, 4, 4], 4, "valid/score was always NaN"),
    ):
        stopping = et.EarlyStopping("valid/score", patience=2, mode="min")
        result = trainer(phase(steps=12, scores=scores), callbacks=[stopping]).fit()
        assert (result.reason, float(result.model)) == (et.Reason.PATIENCE, step)
        assert ends(result) == [("fit", detail)]


@pytest.mark.parametrize(("mode", "kept"), [("min", 4.0), ("max", 6.0)])
def test_the_best_is_never_a_nan(mode, kept):
    one = phase(steps=10, scores=[NAN, 1, 5, NAN, 3], keep=et.Best("valid/score", mode))
    assert float(trainer(one).fit().model) == kept


def test_a_best_of_nothing_but_nan_warns_and_the_reason_says_so():
    one = phase(steps=4, scores=[NAN, NAN], keep=et.Best("valid/score", "min"))
    made = trainer(one, phase("next", steps=1))
    with pytest.warns(UserWarning, match="'fit': valid/score was not a number in any") as told:
        result = made.fit()
    assert len(told) == 1
    assert float(result.model) == 5.0
    sentence = (
        "valid/score was not a number in any validation (NaN), so there are no "
        "best weights, and the last ones stay."
    )
    assert ends(result) == [("fit", sentence), ("next", None)]


def test_a_nan_in_the_first_validation_does_not_disable_a_rescue_and_a_later_one_calls_it():
    scores = [NAN, 0.9, 0.9, 0.2, 0.9, NAN, 0.9]
    mend = phase("mend", steps=1)
    rescue = et.Rescue(mend, et.Fallen("valid/score", 0.1, "max"))
    result = trainer(phase(steps=14, scores=scores, rescue=rescue)).fit()
    called = [r["step"] for r in result.history if r.get("event") == "rescue"]
    assert called == [2, 8, 12]


# Names that do not exist.


@pytest.mark.parametrize(
    "callback",
    [
        et.EarlyStopping("valid/score", 3, "min", phase="ftt"),
        et.Profiler(phase="ftt"),
    ],
    ids=["EarlyStopping", "Profiler"],
)
def test_a_phase_that_does_not_exist_is_refused_before_training(callback):
    phases = phase("fit", scores=[1.0]), phase("tune", scores=[1.0])
    name = type(callback).__name__
    with pytest.raises(
        et.ConfigurationError, match=f"{name} is for phase 'ftt'.*Did you mean 'fit'"
    ):
        trainer(*phases, callbacks=[callback])


@pytest.mark.parametrize(
    "callback",
    [
        et.EarlyStopping("valid/scroe", 3, "min"),
        et.ModelCheckpoint(monitor="valid/scroe", mode="min"),
        et.EarlyStopping("train/score", 3, "min"),
    ],
    ids=["EarlyStopping", "ModelCheckpoint", "of the steps"],
)
def test_a_metric_that_does_not_exist_is_refused_before_training(callback):
    with pytest.raises(et.ConfigurationError, match=r"no validation reports.*'valid/score'"):
        trainer(phase(scores=[1.0]), callbacks=[callback])


def test_a_metric_of_another_phase_is_refused_for_a_phase():
    phases = phase("fit", scores=[1.0]), phase("tune")
    et.Trainer(jnp.zeros(()), phases, callbacks=[et.EarlyStopping("valid/score", 3, "min")])
    stopping = et.EarlyStopping("valid/score", 3, "min", phase="tune")
    with pytest.raises(et.ConfigurationError, match="phase 'tune' does not have a validation"):
        trainer(*phases, callbacks=[stopping])


@pytest.mark.parametrize(
    "option",
    [
        {"keep": et.Best("valid/scroe", "min")},
        {"goal": et.AtMost("valid/scroe", 1.0)},
        {"rescue": et.Rescue(phase("mend"), et.Fallen("valid/scroe", 0.1, "min"))},
    ],
    ids=["keep", "goal", "rescue"],
)
def test_what_a_phase_goes_by_is_refused_before_training_if_nothing_reports_it(option):
    with pytest.raises(et.ConfigurationError, match=r"'valid/scroe'.*Did you mean 'valid/score'"):
        trainer(phase(scores=[1.0], **option))


def test_a_plot_of_a_metric_that_does_not_exist_is_refused():
    one = phase(scores=[1.0])
    trainer(one, callbacks=[et.LivePlot(metrics=["score"])])
    with pytest.raises(et.ConfigurationError, match=r"LivePlot draws 'valid/score'.*'score'"):
        trainer(one, callbacks=[et.LivePlot(metrics=["score", "valid/score"])])


class Two(eqx.Module):
    """Computes two numbers and a list, whose names show only then."""

    def merge(self, other):
        return self

    def compute(self):
        return {"low": 1.0, "high": 2.0, "all": np.arange(3.0)}


@pytest.mark.parametrize("metric", ["valid/two/hihg", "valid/two/all", "valid/two"])
@pytest.mark.parametrize("by", ["EarlyStopping", "Best"])
def test_a_metric_that_shows_to_be_missing_is_refused_at_the_first_validation(metric, by):
    seen = []

    class Watch(et.Callback):
        def on_validation_end(self, event, metrics):
            seen.append(event.step)

    def make(metric):
        callbacks, options = [Watch()], {}
        if by == "Best":
            options["keep"] = et.Best(metric, "max")
        else:
            callbacks.append(et.EarlyStopping(metric, 99, "max", phase="fit"))
        measured = validation(lambda m, b, c: {"two": Two()})
        return trainer(phase(steps=4, validation=measured, **options), callbacks=callbacks)

    made = make(metric)
    for _ in range(2):  # and at the next attempt again
        with pytest.raises(et.ConfigurationError, match=f"{metric}.*'valid/two/high'"):
            made.fit()
        assert seen == []
    make("valid/two/high").fit()
    assert seen == [2, 4]


def test_a_metric_of_two_phases_is_missing_when_both_have_shown_theirs():
    first = phase("first", steps=2, validation=validation(lambda m, b, c: {"two": Two()}))
    second = phase("second", steps=2, validation=validation(lambda m, b, c: {"six": Two()}))
    seen = []

    class Watch(et.Callback):
        def on_phase_begin(self, event):
            seen.append(event.phase)

    def run(metric):
        stopping = et.EarlyStopping(metric, 99, "max")
        seen.clear()
        trainer(first, second, callbacks=[stopping, Watch()]).fit()

    run("valid/six/low")
    with pytest.raises(et.ConfigurationError, match=r"valid/six/lwo.*'valid/six/low'"):
        run("valid/six/lwo")
    assert seen == ["first", "second"]


def test_a_plot_of_steps_from_the_host_is_refused_with_the_first_of_them():
    learner = et.Learner(counter, optax.sgd(1.0))
    data = et.StreamData(lambda epoch: iter(np.ones((4, 3), np.float32)), steps_per_epoch=4)
    one = et.Phase("fit", learner, data, et.Steps(4), validation(lambda m, b, c: {"score": m}))
    made = trainer(one, callbacks=[et.LivePlot(metrics=["scroe"])])
    with pytest.raises(et.ConfigurationError, match=r"'scroe'.*Did you mean 'score'"):
        made.fit()


def test_a_hook_that_is_none_is_refused_with_the_near_match():
    class Misspelt(et.Callback):
        """Two that would never be called, one that is, and a number."""

        on_call = 7

        def on_step_end(self, event, metrics):
            raise AssertionError

        def on_train_epoch_end(self, event):
            raise AssertionError

        def on_steps_end(self, event, metrics):
            pass

    with pytest.raises(et.ConfigurationError) as told:
        trainer(phase(), callbacks=[Misspelt()])
    step, epoch = sorted(str(told.value).splitlines(), key=lambda line: "epoch_end is" in line)
    assert step.startswith("Misspelt.on_step_end is no hook and would never be called.")
    assert "Did you mean 'on_steps_end'" in step
    assert epoch.startswith("Misspelt.on_train_epoch_end is no hook")
    assert "'on_train_end'" in epoch


def test_what_is_no_callback_is_refused():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for wrong in (et.Progress, print, "progress"):
            with pytest.raises(et.ConfigurationError, match="must be Callback objects; got"):
                trainer(phase(), callbacks=[wrong])
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_a_value_in_the_place_of_a_method_is_refused():
    class Counts(et.Callback):
        with_members = "all"

    with pytest.raises(et.ConfigurationError, match=r"Counts.with_members is a method.*'all'"):
        trainer(phase(), callbacks=[Counts()])
