"""Numbers that count something in a callback are whole: others would do nothing, in silence."""

import math

import jaxtyping
import pytest

import etude as et


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("number", [0, 1.5, math.nan, True, "2"], ids=str)
@pytest.mark.parametrize(
    "make",
    [
        lambda n: et.ModelCheckpoint(every=et.Steps(1), top_k=n, monitor="valid/loss"),
        lambda n: et.ModelCheckpoint(every=et.Steps(1), keep_last=n),
        lambda n: et.GradientMonitor(every=n),
        lambda n: et.TensorBoardLogger(every=n),
        lambda n: et.Profiler(first=n),
        lambda n: et.Profiler(steps=n),
    ],
    ids=["top_k", "keep_last", "gradients", "logger", "first", "steps"],
)
def test_a_number_that_counts_is_whole(make, number):
    with pytest.raises(et.ConfigurationError, match=r"whole numbers? from 1; got "):
        make(number)
