"""What a rule, loss or measure may not return is a RuleError, before anything is compiled."""

import jax
import jax.numpy as jnp
import optax
import pytest

import etude as et

DATA = et.ArrayData(jnp.ones(8), batch_size=4)


def zeros(part):
    return jax.tree.map(jnp.zeros_like, part)


RULES = {
    "nothing": lambda t, r, b, c: None,
    "a tuple": lambda t, r, b, c: (zeros(t), {}),
    "no updates": lambda t, r, b, c: et.Proposal(None, {}),
    "updates of another shape": lambda t, r, b, c: et.Proposal({"w": jnp.zeros(3)}, {}),
    "a metric that no file can name": lambda t, r, b, c: et.Proposal(zeros(t), {"\ud800": 1.0}),
    "a metric that is no scalar": lambda t, r, b, c: et.Proposal(zeros(t), {"x": jnp.ones(3)}),
    "another model": lambda t, r, b, c: et.Proposal(zeros(t), {}, {"v": 1}),
}
LOSSES = {
    "nothing": lambda w, b, c: None,
    "a text": lambda w, b, c: "low",
    "a vector": lambda w, b, c: (w["w"] - b) ** 2,
    "metrics in a list": lambda w, b, c: (jnp.mean(b), [1.0]),
    "four things": lambda w, b, c: (jnp.mean(b), {}, w, 1),
}
MEASURES = {
    "nothing": lambda w, b, c: None,
    "a text": lambda w, b, c: {"accuracy": "high"},
    "a matrix": lambda w, b, c: {"accuracy": jnp.ones((2, 2))},
}


def train(rule, measure=None):
    learner = et.Learner(rule, optax.sgd(0.1), name="a")
    validation = et.Validation(DATA, measure or (lambda w, b, c: {"x": jnp.mean(b)}))
    phase = et.Phase("fit", learner, DATA, et.Steps(2), validation)
    return et.Trainer({"w": jnp.zeros(())}, phase, progress=False)


@pytest.mark.parametrize("name", RULES)
def test_of_a_rule(name):
    with pytest.raises(et.RuleError, match="Phase 'fit'") as caught:
        train(RULES[name])
    assert isinstance(caught.value, et.ConfigurationError)


@pytest.mark.parametrize("name", LOSSES)
def test_of_a_loss(name):
    with pytest.raises(et.RuleError, match=r"Phase 'fit'.*must"):
        train(et.Gradient(LOSSES[name]))


@pytest.mark.parametrize("name", MEASURES)
def test_of_a_measure(name):
    rule = et.Gradient(lambda w, b, c: jnp.mean((w["w"] - b) ** 2))
    with pytest.raises(et.RuleError, match="Phase 'fit'"):
        train(rule, MEASURES[name])


@pytest.mark.parametrize(
    ("updates", "metrics"),
    [("x", {}), (None, {1: 0.5}), (None, {"loss": "low"}), (None, {"loss": None})],
)
def test_a_proposal_says_what_it_is_made_of(updates, metrics):
    # Where annotations are checked, as here, they find some of these first.
    with pytest.raises(TypeError):
        et.Proposal(updates, metrics)


def test_mistakes_of_several_kinds_are_no_single_one():
    rule = et.Gradient(lambda w, b, c: (w["w"] - b) ** 2)
    phase = et.Phase("fit", et.Learner(rule, optax.sgd(0.1)), DATA, et.Steps(2))
    again = et.Phase("fit", et.Learner(rule, optax.sgd(0.1)), DATA, et.Steps(2))
    with pytest.raises(et.ConfigurationError, match=r"Two phases.*\n.*must return") as caught:
        et.Trainer({"w": jnp.zeros(())}, [phase, again])
    assert not isinstance(caught.value, et.RuleError)
