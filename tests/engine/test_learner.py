"""Settings of a learner that are refused."""

import jaxtyping
import optax
import pytest

import etude as et


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_precision_is_refused_in_one_sentence():
    rule = et.Gradient(lambda w, batch, context: w)
    for wrong, cure in (("bf16", r"Did you mean 'bfloat16'\?$"), ("x", r"Known: .*'float32'\.$")):
        with pytest.raises(et.ConfigurationError, match=cure):
            et.Learner(rule, optax.sgd(0.1), precision=wrong)  # pyright: ignore[reportArgumentType]
