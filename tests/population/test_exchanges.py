"""Exchanges that a callback asks for: members go on as copies of others."""

import jax.numpy as jnp
import optax
import pytest
from crowd import DATA, RATES, loss, phase, trainer

import etude as et
from etude.population.factors import times


class Asking(et.Callback):
    """Asks for something at the validation of the fifth step."""

    def __init__(self, *asked):
        self.asked = asked

    def with_members(self):
        return "all"

    def on_validation_end(self, event, metrics):
        return self.asked if event.step == 5 else None


def scaled(model, batch, context):
    return loss(model, batch, context) * context.hyper["scale"].astype(jnp.float32)


SCALED = et.Learner(et.Gradient(scaled), optax.sgd(0.01))


def go(*asked, vary=None, learner=None, steps=6):
    learners = {} if learner is None else {"learners": learner}
    one = phase(steps=steps, validation=et.Validation(DATA, every=et.Steps(5)), **learners)
    result = trainer(one, vary, callbacks=[Asking(*asked)]).fit()
    return result, [e for e in result.history.events if e["event"].startswith("exchange")]


def varied(result, name="rate"):
    return [one.varied[name] for one in result.members]


def test_all_at_once_copy_members_as_they_are_before_any():
    result, events = go(et.Exchange(0, 1, {}), et.Exchange(1, 0, {"rate": 2.0}))
    assert varied(result) == [pytest.approx(2 * RATES[1]), RATES[0], RATES[2]]
    assert [one["source"] for one in events] == [0, 1]


def test_a_member_that_ends_there_stays_as_it_has_come_to_be():
    stop = et.Stop(et.Reason.CALLBACK, "enough", member=1)
    result, (event,) = go(stop, et.Exchange(0, 1, {"rate": 2.0}))
    assert varied(result) == RATES
    assert (event["event"], event["ended"]) == ("exchange_left_out", "CALLBACK")
    assert result.members[1].step == 5


def test_no_member_is_exchanged_where_all_end():
    result, (event,) = go(et.Exchange(0, 1, {"rate": 2.0}), steps=5)
    assert varied(result) == RATES
    assert event["ended"] == "LENGTH"


def test_whole_numbers_are_rounded():
    exchanges = [et.Exchange(0, 0, {"scale": 0.8}), et.Exchange(1, 1, {"scale": 1.4})]
    result, events = go(*exchanges, vary={"scale": [1, 2, 3]}, learner=SCALED)
    assert varied(result, "scale") == [1, 3, 3]
    assert [one["scale"] for one in events] == [1, 3]


@pytest.mark.parametrize(
    ("scale", "factor", "match"),
    [
        (1.0, float("nan"), "factors that are finite numbers; got nan for 'scale'"),
        (1.0, "2", "factors that are finite numbers; got '2'"),
        (1.0, True, "factors that are finite numbers; got True"),
        (1e30, 1e30, "makes 'scale' too large for float32"),
        (2**30, 2, "makes 'scale' too large for int32: 1073741824 times 2"),
        (True, 2.0, "'scale', which is a truth value"),
    ],
)
def test_what_is_no_factor_of_a_number(scale, factor, match):
    number = jnp.asarray(scale)
    with pytest.raises(et.ConfigurationError, match=match):
        times("scale", number, factor)
