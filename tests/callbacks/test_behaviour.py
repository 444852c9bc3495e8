"""What callbacks remember, ask for and see: across resumes, rescues and chunks."""

import os
import signal
import warnings

import numpy as np
import pytest
from scored import phase, trainer

import etude as et
from etude.training.chunk_length import Pace

pytestmark = pytest.mark.usefixtures("listening")


class Signal(et.Callback):
    """SIGTERM at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, event):
        if event.epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGTERM)


class Epochs(et.Callback):
    """Which epochs began and ended."""

    def __init__(self):
        self.told = []

    def on_epoch_begin(self, event):
        self.told.append((event.phase, event.visit, "begin", event.epoch))

    def on_epoch_end(self, event):
        self.told.append((event.phase, event.visit, "end", event.epoch))


def test_patience_goes_on_counting_after_a_resume(tmp_path):
    scores = [5, 4, 6, 6, 6, 6, 6, 6, 6, 6]

    def make(*callbacks):
        stopping = et.EarlyStopping("valid/score", patience=4, mode="min")
        one = phase(steps=20, scores=scores)
        return trainer(one, run=tmp_path / "run", callbacks=[stopping, *callbacks])

    with pytest.raises(et.Interrupted):
        make(Signal(epoch=2)).fit()  # at step 8, after two of the four
    result = make().resume()
    assert (result.reason, result.history[-1]["step"]) == (et.Reason.PATIENCE, 12)
    assert result.history[-1]["detail"] == "valid/score was best at 4"


def test_a_rescue_does_not_disturb_the_count_of_its_phase():
    # Its scores are far better; the phase's own best is 4, and two worse follow it.
    rescue = et.Rescue(
        phase("mend", steps=4, scores=[0, 0]), lambda seen: seen[-1]["valid/score"] == 5
    )
    one = phase(steps=20, scores=[4, 5, 6, 7, 3, 3, 3, 3, 3, 3], rescue=rescue)
    stopping = et.EarlyStopping("valid/score", patience=3, mode="min")
    result = trainer(one, callbacks=[stopping]).fit()
    assert result.reasons == (("mend", et.Reason.LENGTH), ("fit", et.Reason.PATIENCE))
    assert (result.history[-1]["step"], result.history[-1]["global_step"]) == (8, 12)
    numbers = [r["global_step"] for r in result.history]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_best_and_the_last_checkpoints_are_kept(interrupted, tmp_path):
    scores = [5, 3, 4, 1, 6, 2, 7, 8, 9, 9]

    def make(*callbacks):
        keeper = et.ModelCheckpoint(
            et.Steps(2), monitor="valid/score", mode="min", top_k=3, keep_last=1
        )  # fmt: skip
        one = phase(steps=20, scores=scores)
        return trainer(one, run=tmp_path / "run", callbacks=[keeper, *callbacks])

    if interrupted:
        with pytest.raises(et.Interrupted):
            make(Signal(epoch=3)).fit()
        make().resume()
    else:
        make().fit()
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == [f"{step:09d}-fit" for step in (4, 8, 12, 20)]


def test_two_keepers_do_not_remove_what_the_other_keeps(tmp_path):
    low = et.ModelCheckpoint(et.Steps(2), monitor="valid/score", mode="min", keep_last=1)
    high = et.ModelCheckpoint(et.Steps(2), monitor="valid/score", mode="max", keep_last=1)
    one = phase(steps=10, scores=[5, 1, 4, 9, 6])
    trainer(one, run=tmp_path / "run", callbacks=[low, high]).fit()
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == [f"{step:09d}-fit" for step in (4, 8, 10)]


def test_epochs_are_told_once_across_resumes_and_rescues(tmp_path):
    def make(folder, watch, *callbacks):
        rescue = et.Rescue(phase("mend", steps=8), lambda seen: seen[-1]["valid/score"] == 5)
        one = phase(steps=18, scores=[4, 5, 4, 4, 4, 4, 4, 4, 4], rescue=rescue)
        return trainer(one, run=tmp_path / folder, callbacks=[watch, *callbacks])

    whole, cut = Epochs(), Epochs()
    make("whole", whole).fit()
    for epoch in (1, 2, 3):
        begin = et.Trainer.fit if epoch == 1 else et.Trainer.resume
        with pytest.raises(et.Interrupted):
            begin(make("cut", cut, Signal(epoch)))
    make("cut", cut).resume()
    assert cut.told == whole.told
    assert len(set(whole.told)) == len(whole.told) == 5 + 4 + 4


def test_on_batch_end_sees_every_step_and_says_what_it_costs():
    class EveryStep(et.Callback):
        """The model at each step; stops at step 7."""

        def __init__(self):
            self.seen = []

        def on_batch_end(self, event, metrics):
            self.seen.append((event.step, float(event.model())))
            return et.Stop() if event.step == 7 else None

    watch = EveryStep()
    with pytest.warns(UserWarning, match="EveryStep has on_batch_end") as told:
        made = trainer(phase(), callbacks=[watch])
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = made.fit()
    assert watch.seen == [(step, float(step)) for step in range(1, 8)]
    assert (result.reason, float(result.model)) == (et.Reason.CALLBACK, 7.0)


def test_on_batch_begin_comes_before_its_step_and_once():
    class Eager(et.Callback):
        """Asks for a checkpoint before step 3, and stops before step 6."""

        def __init__(self):
            self.seen = []

        def on_epoch_begin(self, event):
            self.seen.append("epoch")

        def on_batch_begin(self, event):
            self.seen.append((event.step, float(event.model())))
            return {2: et.Save(), 5: et.Stop()}.get(event.step)

    eager = Eager()
    with pytest.warns(UserWarning, match="Eager has on_batch_begin"):
        made = trainer(phase(), callbacks=[eager])
    result = made.fit()
    assert [one for one in eager.seen if one != "epoch"] == [(n, float(n)) for n in range(6)]
    assert eager.seen[0] == "epoch"
    assert (result.reason, float(result.model)) == (et.Reason.CALLBACK, 5.0)


def test_a_stop_from_on_steps_end_ends_at_the_next_boundary(monkeypatch):
    class Once(et.Callback):
        def on_steps_end(self, event, metrics):
            return et.Stop(detail="enough") if event.step >= 10 else None

    monkeypatch.setattr(Pace, "steps", lambda self: 5)
    result = trainer(phase(steps=1000), phase("next", steps=5), callbacks=[Once()]).fit()
    # One chunk was on its way.
    assert result.reasons == (("fit", et.Reason.CALLBACK), ("next", et.Reason.LENGTH))
    assert result.history[-1]["global_step"] == 15 + 5
    assert float(result.model) == 20.0


def test_a_time_limit_is_seen_in_the_middle_of_a_long_phase():
    one = phase(steps=10**9, limit=et.Seconds(2))
    result = trainer(one, executor="dispatch").fit()
    assert result.reason is et.Reason.TIME
    assert 0 < float(result.model) < 10**9


def test_the_best_weights_are_those_of_the_best_validation_after_a_resume(tmp_path):
    def make(*callbacks):
        one = phase(steps=12, scores=[5, 4, 1, 2, 3, 4], keep=et.Best("valid/score", "min"))
        after = phase("after", steps=3)
        return trainer(one, after, run=tmp_path / "run", callbacks=list(callbacks))

    with pytest.raises(et.Interrupted):
        make(Signal(epoch=2)).fit()
    result = make().resume()
    assert float(result.model) == 6 + 3
    assert np.isfinite(result.history[-1]["global_step"])


@pytest.mark.parametrize("asked", [True, [et.Stop()], et.Stop, "stop"], ids=str)
def test_what_a_hook_returns_and_asks_for_nothing_is_refused(asked):
    class Asks(et.Callback):
        def on_validation_end(self, event, metrics):
            return asked

    with pytest.raises(et.ConfigurationError, match=r"Asks.on_validation_end returned .*a tuple"):
        trainer(phase(steps=2, scores=[0.0]), callbacks=[Asks()]).fit()


@pytest.mark.parametrize(
    ("hook", "request_", "told"),
    [
        ("on_phase_end", et.Stop(), "on_phase_end returned Stop: the phase has ended"),
        ("on_train_end", et.Stop(), "on_train_end returned Stop: the training has ended"),
        ("on_train_end", et.Save(), "on_train_end returned Save: the training has ended"),
        ("on_steps_end", et.Exchange(0, 0, {}), "Return it from on_validation_end"),
        ("next_step", 2.5, "next_step returned 2.5; expected a number of steps"),
        ("next_step", -1, "next_step returned -1; expected"),
    ],
    ids=["stop", "end", "save", "exchange", "fraction", "negative"],
)
def test_what_comes_too_late_or_is_no_step_is_refused(hook, request_, told):
    asking = type("Asking", (et.Callback,), {hook: lambda self, *arguments: request_})
    with pytest.raises(et.ConfigurationError, match=told):
        trainer(phase(steps=4), callbacks=[asking()]).fit()


def test_a_step_that_is_past_is_asked_for_no_more():
    seen = []

    class Fixed(et.Callback):
        def next_step(self, event):
            return 2

        def on_steps_end(self, event, metrics):
            seen.append(event.step)

    class Later(et.Callback):
        def next_step(self, event):
            return 3

    result = trainer(phase(steps=5), callbacks=[Fixed(), Later()]).fit()
    assert {2, 3, 5} <= set(seen)
    assert result.history[-1]["step"] == 5
