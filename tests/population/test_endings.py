"""Each member ends for itself, and stands still while the others go on."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from crowd import DATA, RATES, alone, close, equal, loss, phase, trainer

import etude as et

#: The first member learns nothing, so that it loses patience.
VARY = {"rate": [0.0, 0.03, 0.05], "seed": [1, 2, 3]}


def stopping(**options):
    return et.EarlyStopping("valid/error", patience=2, mode="min", **options)


def broken(model, batch, context):
    """Not finite at the eighth step of a member whose rate is large."""
    value = loss(model, batch, context)
    return jnp.where((context.hyper["rate"] > 0.04) & (context.step == 7), jnp.nan, value)


BREAKING = et.Learner(et.Gradient(broken), lambda hyper: optax.adam(hyper["rate"]))


@pytest.fixture(
    scope="module",
    params=[3, pytest.param(1, marks=pytest.mark.slow)],
    ids=["team", "alone"],
)
def team(request):
    return request.param


def test_patience_of_a_member_ends_that_member_alone(team):
    keep = et.Best("valid/error", "min")
    result = trainer(phase(keep=keep), VARY, team, callbacks=[stopping()]).fit()
    assert [one.reason.name for one in result.members] == ["PATIENCE", "LENGTH", "LENGTH"]
    assert [one.step for one in result.members] == [15, 20, 20]
    assert result.reason is et.Reason.LENGTH
    assert "error was best at" in result.members[0].detail
    (event,) = [one for one in result.history.events if one["event"] == "member_end"]
    assert (event["member"], event["at"], event["reason"]) == (0, 15, "PATIENCE")
    losses = result.history["train/loss.0"].value
    assert np.isnan(losses[15:]).all()
    assert np.isfinite(losses[:15]).all()
    assert len(result.history["valid/error.0"].step) == 3
    for number in range(3):
        one = alone(
            lambda hyper: phase(keep=keep, hyper=hyper), number, VARY, callbacks=[stopping()]
        )
        close(result.member(number), one.model)
        assert result.members[number].reason is one.reason


def test_a_member_at_fault_ends_and_takes_no_part_in_the_next_phase(team):
    phases = [phase(BREAKING), phase(name="on", steps=3, validation=None)]
    result = trainer(phases, VARY, team).fit()
    third = result.members[2]
    assert third.reason is et.Reason.FAULT
    assert third.detail == "Phase 'fit', step 8, learner 1: not finite: loss."
    losses = result.history["train/loss.2"].value
    assert np.isfinite(losses[:7]).all()
    assert np.isnan(losses[7:]).all()
    assert len(losses) == 23
    for number in range(2):
        one = alone(
            lambda hyper: [
                phase(BREAKING, hyper=hyper),
                phase(name="on", steps=3, validation=None, hyper=hyper),
            ],
            number,
            VARY,
        )
        close(result.member(number), one.model)


@pytest.mark.slow
def test_no_member_goes_on(team):
    vary = {"rate": [0.05, 0.06, 0.07]}
    with pytest.raises(et.NonFiniteError, match=r"No member goes on:\nMember 0: Phase 'fit', step"):
        trainer(phase(BREAKING), vary, team).fit()


@pytest.mark.slow
def test_skipping_is_of_a_member(team):
    result = trainer(phase(BREAKING), VARY, team, nonfinite="skip").fit()
    ends = [result.history[f"train/skipped.{number}"].value[-1] for number in range(3)]
    assert ends == [0, 0, 1]
    assert np.isfinite(result.metrics["valid/error.2"])


@pytest.mark.slow
def test_a_goal_is_reached_by_a_member():
    first = trainer(phase(), VARY).fit()
    values = [first.metrics[f"valid/error.{number}"] for number in range(3)]
    best = int(np.argmin(values))
    goal = et.AtMost("valid/error", (sorted(values)[0] + sorted(values)[1]) / 2)
    result = trainer(phase(goal=goal), VARY).fit()
    assert result.members[best].reason is et.Reason.GOAL
    assert result.members[0].reason is et.Reason.LENGTH


class Ending(et.Callback):
    """Asks for the end of members, and notes what it is told."""

    def __init__(self, *requests):
        self.requests, self.told = requests, []

    def with_members(self):
        return "all"

    def on_validation_end(self, event, metrics):
        assert event.members == 3
        assert len(event.model()) == 3
        return self.requests if event.step == 5 else None

    def on_member_end(self, event, member, reason, detail):
        self.told.append((event.step, member, reason.name, detail))


def test_a_callback_of_all_ends_a_member_and_then_everyone():
    callback = Ending(et.Stop(detail="enough", member=1))
    result = trainer(phase(), VARY, callbacks=[callback]).fit()
    ends = [(20, 0, "LENGTH", ""), (20, 2, "LENGTH", "")]
    assert callback.told == [(5, 1, "CALLBACK", "enough"), *ends]
    assert [one.step for one in result.members] == [20, 5, 20]
    result = trainer(phase(), VARY, callbacks=[Ending(et.Stop())]).fit()
    assert [one.reason.name for one in result.members] == ["CALLBACK"] * 3
    assert result.history["train/loss.0"].step[-1] == 5


def test_a_member_that_does_not_exist_is_refused():
    with pytest.raises(et.ConfigurationError, match=r"no member 3: got a population of 3"):
        trainer(phase(), VARY, callbacks=[Ending(et.Stop(member=3))]).fit()
    result = trainer(phase(steps=2), {"rate": RATES}).fit()
    with pytest.raises(et.ConfigurationError, match="no member 3"):
        result.member(3)
    for wrong in (-1, True):  # the checker of types in tests refuses others
        with pytest.raises(et.ConfigurationError, match=f"no member {wrong!r}"):
            result.member(wrong)
    equal(result.member(2), result.model[2])
    assert DATA.steps_per_epoch == 6
