"""Counts that are no whole numbers and flags that are no truth values are refused by name."""

import math

import jaxtyping
import numpy as np
import pytest

from etude.data import AccessData, ArrayData, StreamData
from etude.errors import DataError


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def access(**options):
    AccessData([(0.0, 1), (1.0, 5)], 1, **options)


def array(**options):
    ArrayData((np.zeros(2), np.array([1, 5])), 1, **options)


def stream(**options):
    StreamData([np.zeros(1)], **options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (access, {"classes": math.nan}, "classes is a whole number from 1, or None; got nan"),
        (array, {"classes": math.nan}, "classes is a whole number from 1, or None; got nan"),
        (access, {"classes": "2"}, "classes is a whole number from 1, or None; got '2'"),
        (access, {"workers": math.nan}, "workers is a whole number from 0; got nan"),
        (access, {"workers": 1.5}, "workers is a whole number from 0; got 1.5"),
        (access, {"drop_last": "no"}, "drop_last is True or False; got 'no'"),
        (array, {"drop_last": "no"}, "drop_last is True or False; got 'no'"),
        (access, {"allow_nonfinite": "no"}, "allow_nonfinite is True or False; got 'no'"),
        (stream, {"allow_nonfinite": "no"}, "allow_nonfinite is True or False; got 'no'"),
        (stream, {"steps_per_epoch": math.nan}, "steps_per_epoch is a whole number from 1, or"),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_what_would_count_for_something_else_is_refused(make, options, message):
    with pytest.raises(DataError, match=message):
        make(**options)


@pytest.mark.parametrize("kind", ["M8[s]", "m8[s]"])
def test_times_are_no_numbers(kind):
    with pytest.raises(DataError, match="not numbers"):
        AccessData(np.arange(4).astype(kind), 2)


@pytest.mark.parametrize("make", [ArrayData, AccessData])
def test_what_is_longer_than_double_precision_becomes_single(make):
    batch, _ = next(make(np.arange(4, dtype=np.longdouble), 2).sequential())
    assert batch.dtype == np.float32
    assert batch.tolist() == [0.0, 1.0]
