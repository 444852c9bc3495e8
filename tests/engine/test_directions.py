"""Better and worse, and what phases ask of metrics: directions are said, NaN is never better."""

import math

import jaxtyping
import pytest
from hypothesis import given, strategies as st

import etude as et
from etude.engine.direction import best, better

NAN = math.nan
MODES = st.sampled_from(["min", "max"])
NUMBERS = st.floats()


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@given(MODES, st.lists(NUMBERS))
def test_the_best_is_the_least_or_the_largest_number_that_is_not_nan(mode, values):
    numbers = [value for value in values if not math.isnan(value)]
    expected = (min if mode == "min" else max)(numbers, default=None)
    assert best(mode, values) == expected


@given(MODES, NUMBERS, st.one_of(st.none(), NUMBERS))
def test_better_is_strict_and_nan_never_is(mode, new, old):
    if math.isnan(new):
        assert not better(mode, new, old)
    elif old is None or math.isnan(old):
        assert better(mode, new, old)
    else:
        assert better(mode, new, old) == (new < old if mode == "min" else new > old)


@given(MODES, st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 9))
def test_better_by_more_than_a_margin(mode, new, old, by):
    gain = old - new if mode == "min" else new - old
    assert better(mode, new, old, by=by) == (gain > by)


@pytest.mark.parametrize(
    "make",
    [
        et.Best,
        lambda metric, mode: et.Fallen(metric, 0.1, mode),
        lambda metric, mode: et.EarlyStopping(metric, mode=mode),
        lambda metric, mode: et.ModelCheckpoint(monitor=metric, mode=mode),
    ],
    ids=["Best", "Fallen", "EarlyStopping", "ModelCheckpoint"],
)
@pytest.mark.usefixtures("unchecked")
def test_a_direction_is_said_and_is_one_of_two(make):
    with pytest.raises(et.ConfigurationError, match=r"'mni'. Did you mean 'min'\?"):
        make("valid/rmse", "mni")
    # A name tells nothing: `accuracy` is not better because it sounds so, nor `rmse` worse.
    for metric in ("valid/accuracy", "valid/rmse", "valid/weight_loss"):
        with pytest.raises(et.ConfigurationError, match="mode='min' or mode='max'"):
            make(metric, None)
    assert make("valid/accuracy", "max").mode == "max"
    assert make("valid/loss", None).mode == "min"
    assert make("valid/loss", "max").mode == "max"


def test_a_checkpoint_without_a_metric_has_no_direction():
    with pytest.raises(et.ConfigurationError, match="mode='max' is of no metric"):
        et.ModelCheckpoint(mode="max")


def test_goals_hold_at_their_value_and_never_for_nan():
    assert et.AtMost("rmse", 0.05).met({"rmse": 0.05})
    assert not et.AtMost("rmse", 0.05).met({"rmse": 0.78})
    assert et.AtLeast("r2", 0.05).met({"r2": 0.78})
    assert not et.AtLeast("r2", 0.9).met({"r2": 0.78})
    for goal in (et.AtMost("x", 1.0), et.AtLeast("x", -1.0)):
        assert not goal.met({"x": NAN})
        assert not goal.met({"y": 0.0})
    for kind in (et.AtMost, et.AtLeast):
        with pytest.raises(et.ConfigurationError, match=r"a number, such as 0.9; got nan"):
            kind("x", NAN)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [et.AtMost, et.AtLeast])
def test_a_goal_that_is_no_number_is_refused(kind):
    with pytest.raises(et.ConfigurationError, match=r"a number, such as 0.9; got '0.9'"):
        kind("x", "0.9")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "make",
    [
        lambda metric: et.AtMost(metric, 0.5),
        lambda metric: et.AtLeast(metric, 0.5),
        et.Best,
        lambda metric: et.Fallen(metric, 0.1),
        et.EarlyStopping,
        lambda metric: et.ModelCheckpoint(monitor=metric),
    ],
)
def test_a_metric_that_is_no_text_is_refused(make):
    with pytest.raises(et.ConfigurationError, match=r"named by text, as 'valid/loss'; got 3\."):
        make(3)


@pytest.mark.parametrize(
    ("values", "fallen"),
    [
        ([0.9], False),
        ([0.9, 0.86], False),
        ([0.9, 0.84], True),
        ([0.9, NAN], True),
        ([NAN], True),
        ([NAN, 0.9], False),
        # A NaN in the first validation does not disable it.
        ([NAN, 0.9, 0.2], True),
        ([NAN, NAN, 0.9, 0.89, 0.84], True),
        ([0.9, NAN, 0.9], False),
    ],
)
def test_fallen_is_worse_than_the_best_so_far_or_nan(values, fallen):
    seen = [{"valid/accuracy": value} for value in values]
    assert et.Fallen("valid/accuracy", 0.05, "max")(seen) is fallen
    mirrored = [{"valid/loss": -value} for value in values]
    assert et.Fallen("valid/loss", 0.05)(mirrored) is fallen
    if len(seen) > 1:
        assert et.Fallen("valid/accuracy", 0.05, "max", reference=0.9)(seen) is fallen
    # The last validation did not measure it: nothing is known, nothing has fallen.
    assert not et.Fallen("valid/accuracy", 0.05, "max")([*seen, {"valid/loss": 0.0}])


def test_fallen_refuses_what_would_never_or_always_be_true():
    with pytest.raises(et.ConfigurationError, match=r"a number from 0; got -0.1"):
        et.Fallen("valid/loss", -0.1)
    with pytest.raises(et.ConfigurationError, match=r"a number to compare with.*got nan"):
        et.Fallen("valid/loss", 0.1, reference=NAN)
