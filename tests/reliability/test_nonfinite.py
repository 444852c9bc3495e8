"""NaN in a loss, or only in a gradient, in the middle of a chunk, of one of several learners."""

import drill
import numpy as np
import pytest
import small

import etude as et
from etude.training.chunk_length import Pace

KINDS = ["loop", "dispatch", "hosted"]
EVERY_4 = et.ModelCheckpoint(et.Steps(4))


@pytest.fixture(autouse=True)
def long_chunks(monkeypatch):
    """The fault at step 7 has steps before and after it in its chunk."""
    monkeypatch.setattr(Pace, "steps", lambda self: 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("hidden", "what"), [(False, "b/loss"), (True, "the updates")])
def test_stop_names_phase_step_learner_and_metric(kind, hidden, what):
    learners = small.learner("a"), small.learner("b", fault=small.at(7), hidden=hidden)
    with pytest.raises(et.NonFiniteError) as caught:
        small.trainer(small.phase(*learners, kind=kind), kind=kind).fit()
    assert str(caught.value).startswith(f"Phase 'fit', step 7, learner 'b': not finite: {what}")


def test_learners_after_the_one_at_fault_are_not_blamed():
    def both(model, batch, context):
        return small.rule("b").loss(model, batch, context) + 0.0 * model["a"]

    after = et.Learner(et.Gradient(both), small.optax.sgd(0.1), lambda m: m["b"], name="b")
    before = small.learner("a", fault=small.at(3), hidden=True)
    with pytest.raises(et.NonFiniteError, match=r"learner 'a': not finite: the updates or"):
        small.trainer(small.phase(before, after)).fit()


@pytest.mark.parametrize("kind", ["loop", "dispatch"])
@pytest.mark.parametrize("hidden", [False, True])
def test_skip_leaves_out_one_step_and_counts_it(kind, hidden):
    def fit(steps):
        learner = small.learner("a", fault=small.at(7), hidden=hidden)
        phase = small.phase(learner, kind=kind, steps=steps)
        return small.trainer(phase, kind=kind, nonfinite="skip").fit()

    assert fit(7).model["a"] == fit(6).model["a"]
    result = fit(20)
    assert float(result.model["a"]) == pytest.approx(small.by_hand(20, left_out=7), abs=1e-5)
    skipped = [r["train/skipped"] for r in result.history if "train/skipped" in r]
    assert skipped == [0.0] * 6 + [1.0] * 14
    assert small.steps_of(result.history) == list(range(1, 21))


@pytest.mark.parametrize("kind", KINDS)
def test_rollback_goes_on_with_other_random_numbers(kind, tmp_path):
    def fit(name, fault):
        learners = small.learner("a", noise=0.1), small.learner("b", noise=0.1, fault=fault)
        return small.trainer(
            small.phase(*learners, kind=kind), kind=kind, nonfinite="rollback",
            callbacks=[EVERY_4], run=tmp_path / name,
        ).fit()  # fmt: skip

    clean, mended = fit("clean", None), fit("mended", small.only_first_attempt(7, learner=1))
    rollbacks = [r for r in mended.history if r.get("event") == "rollback"]
    assert [r["step"] for r in rollbacks] == [4]
    assert "step 7, learner 'b'" in rollbacks[0]["fault"]
    assert small.steps_of(mended.history) == list(range(1, 21))
    losses = [
        [r["train/b/loss"] for r in x.history if "train/b/loss" in r] for x in (clean, mended)
    ]
    assert losses[0][:4] == losses[1][:4]
    assert losses[0][4:] != losses[1][4:]
    assert np.isfinite(losses[1]).all()


def test_rollback_gives_up(tmp_path):
    trainer = small.trainer(
        small.phase(small.learner("a", fault=small.at(7))),
        nonfinite=et.NonFinite("rollback", retries=2), callbacks=[EVERY_4], run=tmp_path / "run",
    )  # fmt: skip
    with pytest.raises(et.NonFiniteError, match="2 roll-backs did not help"):
        trainer.fit()


def test_rollback_out_of_a_rescue_is_counted(tmp_path):
    # The checkpoint is from before the rescue, which fails each time that it is called.
    mend = small.phase(small.learner("a", fault=small.at(2)), name="mend", steps=3)
    phase = small.phase(
        small.learner("a"),
        validation=et.Validation(small.data(), every=et.Steps(5)),
        rescue=et.Rescue(mend, lambda validations: True),
    )
    trainer = small.trainer(phase, nonfinite="rollback", callbacks=[EVERY_4], run=tmp_path / "run")
    with pytest.raises(et.NonFiniteError, match=r"Phase 'mend', step 2.*3 roll-backs"):
        trainer.fit()


def test_rollback_before_the_first_checkpoint_begins_anew(tmp_path):
    fault = small.only_first_attempt(7)
    phase = small.phase(
        small.learner("a", noise=0.1, fault=fault),
        validation=et.Validation(small.data(), every=et.Steps(3)),
    )
    result = small.trainer(phase, nonfinite="rollback", run=tmp_path / "run").fit()
    assert {r["visit"] for r in result.history} == {0}
    events = [r["event"] for r in result.history if "event" in r]
    assert events == ["rollback", "phase_begin", "phase_end"]
    assert small.steps_of(result.history) == list(range(1, 21))
    assert [r["step"] for r in result.history if "valid/loss" in r] == [3, 6, 9, 12, 15, 18, 20]


def test_killed_after_a_rollback(tmp_path):
    def fit(folder, *callbacks):
        learner = small.learner("a", noise=0.1, fault=small.only_first_attempt(7))
        trainer = small.trainer(
            small.phase(learner), nonfinite="rollback", run=folder, callbacks=[EVERY_4, *callbacks]
        )
        return drill.train(trainer)

    whole = fit(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "cut", drill.At("on_checkpoint", 4, lambda: 1 / 0))
    again = fit(tmp_path / "cut")
    assert drill.weights(again) == drill.weights(whole)
    assert drill.history(tmp_path / "cut") == drill.history(tmp_path / "whole")
