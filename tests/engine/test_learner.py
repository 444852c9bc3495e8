"""Settings of a learner that are refused."""

import jax.numpy as jnp
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


def loss(level, batch, context):
    return jnp.mean((level - batch) ** 2)


def test_a_bare_loss_is_no_rule():
    with pytest.raises(et.ConfigurationError, match=r"^The learner: .* Learner\(Gradient\(loss\)"):
        et.Learner(loss, optax.sgd(0.1))


def fit(optimizer, rule=None):
    data = et.ArrayData(jnp.arange(8.0), batch_size=8)
    phase = et.Phase("fit", et.Learner(rule or et.Gradient(loss), optimizer), data, et.Steps(30))
    return et.Trainer(jnp.zeros(()), phase, progress=False).fit()


def test_a_line_search_is_refused_with_the_cure_and_the_cure_works():
    with pytest.raises(et.ConfigurationError, match=r"The learner: its optimizer .*'value_fn'"):
        fit(optax.lbfgs())
    assert abs(float(fit(optax.lbfgs(1.0, linesearch=None)).model) - 3.5) < 1e-3


def test_an_optimizer_that_is_told_no_value_says_who_reports_one():
    def silent(trainable, rest, batch, context):
        return et.Proposal(trainable - batch.mean())

    with pytest.raises(et.ConfigurationError, match="`value`, the loss that the rule reports"):
        fit(optax.polyak_sgd(), silent)
    fit(optax.polyak_sgd())


def test_messages_do_not_quote_a_name_that_is_not_there():
    with pytest.raises(et.RuleError, match="The updates of the learner must"):
        fit(optax.sgd(0.1), lambda trainable, rest, batch, context: et.Proposal(batch))
    with pytest.raises(et.ConfigurationError, match="Learner 'a': repeat"):
        et.Learner(et.Gradient(loss), optax.sgd(0.1), name="a", repeat=0)
