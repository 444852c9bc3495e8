"""What a space may be, and what is said of one that cannot be searched."""

import numpy as np
import pytest
from little_recipe import Little
from pydantic import Field, model_validator

from etude.config import Config
from etude.errors import ConfigurationError
from etude.search import (
    BayesianSearch,
    Expression,
    GridSearch,
    RandomSearch,
    Range,
    Space,
)
from etude.search.fields import fitted
from etude.search.space import read_space


def problems(given, model=None):
    space, found = read_space(given)
    return found + (fitted(space, model)[1] if model else [])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": {"low": 3, "high": 3}}, "x: the range is empty: low 3 is not below high 3."),
        ({"x": {"low": 0, "high": 1.0, "log": True}}, "a logarithmic range begins above 0"),
        ({"x": {"low": 1, "hihg": 3}}, "a range has low, high, log, step; got 'hihg'; did you"),
        ({"x": {"low": 1, "zzzz": 3}}, "a range has low, high, log, step; got 'zzzz'."),
        ({"x": {"low": 1}}, "x: the range has no high."),
        ({"x": {"low": "a", "high": 2}}, "low is a finite number; got 'a'"),
        ({"x": {"low": float("nan"), "high": 2}}, "low is a finite number; got nan"),
        ({"x": {"low": 1, "high": 9, "step": 0}}, "step is above 0; got 0"),
        ({"x": {"low": 1, "high": 9, "step": 2, "log": True}}, "log and step cannot be combined"),
        ({"x": {"low": 1, "high": 9, "log": "yes"}}, "log is true or false; got 'yes'"),
        ({"x": []}, "x: the list of choices is empty."),
        ({"x": [1, 2, 1]}, "x: the choice 1 is given twice."),
        ({"x": [1, object()]}, "x: choices are numbers, texts and lists"),
        ({"x": object()}, "x: expected a range, a list or a plain value"),
        ({"x": 1}, "The space varies nothing"),
        ({}, "The space varies nothing"),
        ({"state": [1, 2]}, "state: the results have a column of this name"),
        ({3: [1, 2]}, "A field is named by text; got 3."),
        ({"a": {"b": [1, 2]}, "a.b": [3, 4]}, "a.b is given twice, as a group and with a dot"),
        ({"a": 3, "a.b": [3, 4]}, "a.b: a is given as well."),
        ({"x": {"low": 8, "high": 10**30}}, "x: whole numbers are drawn up to 1000000000000000"),
        ({"x": {"low": 8, "high": 10**400}}, "x: high is a finite number"),
        (
            {"x": {"low": 0, "high": 1, "step": 1e-300}},
            "x: a range has at most 10000",
        ),
        ({"x": {"low": 0, "high": 1, "step": 5e-324}}, "x: a range has at most"),
        ({"x": {"low": 1000.0, "high": 1000.1, "step": 1e-7}}, "x: low and high are at most"),
        ({"x": {"low": -1e308, "high": 1e308}}, "x: the range is too wide"),
        ({"x": range(10**9)}, "x: at most 100000 choices are listed; give a range"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_space_that_is_none_is_refused(given, told):
    assert any(told in line for line in problems(given)), problems(given)
    assert not any("?." in line for line in problems(given))
    if 3 not in given:
        with pytest.raises(ConfigurationError):
            Space.of(given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"raet": [0.1, 0.2]}, "raet: unknown field; did you mean 'rate'?"),
        ({"rate": [0.1, -1.0]}, "rate: should be greater than 0; got -1.0."),
        ({"rate": [0.1, "fast"]}, "rate: should be a valid number"),
        ({"rate": [True, 0.1]}, "rate takes numbers; got True."),
        ({"steps": {"low": 1, "high": 2000}}, "steps: should be less than or equal to 1000"),
        ({"steps": {"low": 1.5, "high": 20}}, "steps takes whole numbers; got the range 1.5 to 20"),
        ({"kind": {"low": 1, "high": 2}}, "kind takes no numbers, so it has no range"),
        ({"widths": {"low": 1, "high": 2}}, "widths takes no numbers, so it has no range"),
        ({"rate": [0.1, 0.2], "stesp": 3}, "stesp: unknown field; did you mean 'steps'?"),
        ({"rate": [0.1, 0.2], "rate.inner": [1, 2]}, "rate.inner: "),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_space_that_does_not_fit_the_fields_is_refused(given, told):
    assert any(line.startswith(told) for line in problems(given, Little)), problems(given, Little)


class Inner(Config):
    rate: float = Field(0.1, gt=0)
    most: float = 1.0

    @model_validator(mode="after")
    def _ordered(self):
        if self.rate > self.most:
            raise ValueError("rate above most")
        return self


class Outer(Config):
    inner: Inner | None = None
    low: int = 1
    high: int = 10
    low_again: int

    @model_validator(mode="after")
    def _ordered(self):
        if self.low >= self.high:
            raise ValueError("low is not below high")
        return self


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"low": [5, 20], "high": [30, 40], "low_again": [1, 2]}, []),
        ({"inner.rate": [0.5, 2.0], "inner.most": [3.0, 4.0]}, []),
        ({"low": ["a", 2]}, ["low: should be a valid integer, unable to parse string"]),
        ({"low.x": [1, 2]}, ["low.x: should be a valid integer", "low.x: should be a valid inte"]),
        ({"lo": [1, 2]}, ["lo: unknown field"]),
        ({"inner.rate": [1, -1]}, ["inner.rate: should be greater than 0; got -1."]),
    ],
    ids=["together", "group", "alone", "no group", "unknown", "inner"],
)
def test_what_two_fields_forbid_together_is_no_matter_of_the_space(given, told):
    found = problems(given, Outer)
    assert len(found) == len(told), found
    assert all(one.startswith(part) for one, part in zip(found, told, strict=True)), found


def test_a_float_field_has_a_range_that_floats_can_tell_apart():
    whole = Range(10**8, 10**8 + 10, step=2)
    assert not problems({"low": whole}, Outer)
    (told,) = problems({"rate": whole}, Inner)
    assert told.startswith("rate: low and high are at most")


def test_values_become_those_of_the_fields():
    given = {"rate": {"low": "1e-3", "high": 1, "log": True}, "steps": {"low": 1.0, "high": 9.0}}
    space, found = fitted(read_space(given | {"widths": [[1], [2, 3]]})[0], Little)
    assert not found
    assert space.varied == {
        "rate": Range(0.001, 1.0, log=True), "steps": Range(1, 9), "widths": ([1], [2, 3])
    }  # fmt: skip
    assert isinstance(space.varied["rate"].high, float)
    assert isinstance(space.varied["steps"].low, int)
    assert space.decoded(space.encoded({"rate": 0.1, "steps": 3, "widths": [2, 3]})) == {
        "rate": 0.1, "steps": 3, "widths": [2, 3]
    }  # fmt: skip
    assert Space.of(space.record()) == space


def test_a_range_of_numpy_is_one_of_python():
    one = Range(np.float64(0.5), np.float64(1.5))
    assert {type(end) for end in (one.low, one.high)} == {float}
    assert Space.of({"x": {"low": np.int64(1), "high": np.int64(3)}}).size == 3


def test_arrays_and_ranges_are_lists_of_choices():
    space = Space.of({"x": np.geomspace(0.01, 1, 3), "n": range(2), "k": np.int64(3)})
    assert space.varied == {"x": (0.01, 0.1, 1.0), "n": (0, 1)}
    assert space.constants == {"k": 3}
    assert read_space([1])[1] == ["The space is a mapping of names; got [1]."]


def test_groups_and_dots_are_the_same():
    assert Space.of({"a": {"b": [1, 2]}}) == Space.of({"a.b": [1, 2]})


def test_a_range_ends_where_its_step_leads():
    space = Space.of({"x": Range(0.0, 1.0, step=0.3), "n": Range(0, 7, step=3), "c": ["a", None]})
    assert list(Range(0.0, 1.0, step=0.3).values()) == [0.0, 0.3, 0.6, 0.9]
    assert space.distributions()["x"].high == 0.9
    assert space.size == len(list(space.points())) == 4 * 3 * 2
    assert space.record()["n"] == {"low": 0, "high": 7, "step": 3}


def test_a_range_of_many_values_is_not_listed():
    space = Space.of({"x": Range(0, 10**9), "n": Range(0, 10**11), "y": Range(0.0, 1.0, step=1e-7)})
    points = space.points()
    assert [next(points)["y"] for _ in range(3)] == [0.0, 1e-7, 2e-7]
    target = lambda x, n: float(x - n)  # noqa: E731
    for kind, more in ((GridSearch, {}), (RandomSearch, {}), (BayesianSearch, {"start": 1})):
        wide = {"x": Range(0, 10**9), "n": Range(10**15 - 10**12 + 1, 10**15)}
        results = kind(target=target, space=wide, mode="min", **more).run(3, say=lambda line: None)
        assert [type(one) for one in (*results["x"], *results["n"])] == [int] * 6


def test_draws_are_what_decimals_say():
    space = {"x": Range(0.0, 1.0, step=0.3), "n": Range(1, 9)}
    search = RandomSearch(target=lambda x, n: x, space=space, mode="min")
    results = search.run(30, say=lambda line: None)
    assert set(results["x"]) == {0.0, 0.3, 0.6, 0.9}
    assert {type(n) for n in results["n"]} == {int}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("width <", "is no expression"),
        ("__import__('os').system('ls')", "is made of names, numbers"),
        ("width ** 99 ** 99 < 1", "is made of names"),
        ("[w for w in (1, 2)]", "is made of names"),
        ("width.real[0] > 1", "is made of names"),
        ("(lambda: 1)()", "is made of names"),
    ],
)
def test_a_constraint_is_an_expression_and_nothing_else(text, told):
    with pytest.raises(ConfigurationError, match=told):
        Expression(text)


def test_a_constraint_that_cannot_be_computed_says_of_what():
    assert Expression("a.b * 2 <= 8 and kind in ['x', 'y']").holds({"a.b": 4, "kind": "x"})
    assert not Expression("not (1 < a <= 3)").holds({"a": 3})
    with pytest.raises(ConfigurationError, match=r"cannot be computed of .*'kind': 'x'"):
        Expression("kind < 3").holds({"kind": "x"})
    with pytest.raises(ConfigurationError, match="division"):
        Expression("1 / a > 3").holds({"a": 0})
    with pytest.raises(ConfigurationError, match="unsupported format"):
        Expression("'%q' % a == kind").holds({"a": 0, "kind": "x"})
