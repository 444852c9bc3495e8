"""A function is checked against the space before it is called, and what it returns after."""

import pytest

from etude.errors import ConfigurationError
from etude.search import GridSearch


def silent(line):
    pass


@pytest.mark.parametrize(
    ("function", "space", "seeds", "told"),
    [
        (lambda rate: rate, {"rat": [1, 2]}, 1, "takes no 'rat'. Did you mean 'rate'?"),
        (lambda rate, depth: rate, {"rate": [1, 2]}, 1, "The space gives no 'depth'."),
        (
            lambda rate: rate,
            {"rate": [1, 2]},
            2,
            "gives the function an argument seed, which",
        ),
        (lambda **more: 1, {"seed": [1, 2]}, 2, "seed: it is in the space, and seeds=2 gives"),
        (lambda rate, /: rate, {"rate": [1, 2]}, 1, "takes no 'rate'. It takes no argument by"),
        (lambda *all: 1, {"rate": [1, 2]}, 1, "takes no 'rate'"),
        (lambda rate, **more: rate, {"rat": [1, 2]}, 1, "The space gives no 'rate'."),
    ],
    ids=["near", "missing", "seeds", "seed", "positional", "star", "kwargs"],
)
def test_names_are_those_of_the_arguments(function, space, seeds, told, tmp_path):
    search = GridSearch(
        target=function, space=space, mode="min", seeds=seeds, folder=tmp_path / "s"
    )
    with pytest.raises(ConfigurationError) as refused:
        search.run(say=silent)
    assert told in str(refused.value)
    assert not (tmp_path / "s").exists()


def test_what_is_wrong_with_a_range_is_not_missed_as_well():
    search = GridSearch(target=lambda x, y: x, space={"x": [], "y": [1, 2]}, mode="min")
    with pytest.raises(ConfigurationError) as refused:
        search.run(say=silent)
    assert str(refused.value) == "x: the list of choices is empty."


def test_a_function_that_takes_all_takes_all():
    search = GridSearch(target=lambda **all: all["x"] + all["seed"], space={"x": [1, 2]},
                        mode="min", seeds=2)  # fmt: skip
    assert search.run(say=silent)["value"] == [1.5, 2.5]
    assert GridSearch(target=max, space={"key": [1, 2]}, mode="min").plan(None).target


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "returned None; expected a number"),
        ("x", "returned 'x'; expected a number"),
        ([[1], [1, 2]], r"returned \[\[1\], \[1, 2\]\]; expected"),
        (float("inf"), "2 diverged.*'x': 2}: value is inf$"),
        ([1.0, float("nan")], r"value is \[1.0, nan\]$"),
    ],
    ids=["none", "text", "ragged", "inf", "nan"],
)
def test_what_is_no_number_is_shown(returned, told):
    search = GridSearch(target=lambda x: returned, space={"x": [1, 2]}, mode="min")
    with pytest.raises(ConfigurationError, match=f"No trial of the search has a value: .*{told}"):
        search.run(say=silent)
