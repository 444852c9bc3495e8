"""Signals: the state is saved, callbacks are closed, the message says how to go on."""

import signal
import threading
import time

import drill
import pytest
import small

import etude as et
from etude.training import signals
from etude.training.signals import NUMBERS


class Closing(et.Callback):
    """Notes that it was closed, once."""

    def __init__(self):
        self.errors = []

    def on_exception(self, event, error):
        self.errors.append(error)


pytestmark = pytest.mark.usefixtures("listening")
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)


def interrupt(folder, kind, *callbacks):
    """Trains until the interruption that a callback makes; checks that it ends well."""
    closing = Closing()
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(et.Interrupted) as caught:
        drill.train(drill.trainer(folder, kind, (*callbacks, closing)))
    assert [signal.getsignal(n) for n in NUMBERS] == before
    assert closing.errors == [caught.value]
    assert f"saved in {folder}; go on with: trainer.resume()" in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights and history of a run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = drill.trainer(folder).fit()
    return drill.weights(result), drill.history(folder)


@pytest.mark.slow
def test_interrupted_again_and_again(whole, tmp_path):
    folder = tmp_path / "run"
    interruptions = [
        ("on_steps_end", 4, signal.SIGTERM),
        ("on_validation_end", 3, signal.SIGINT),  # of the phase, or in its rescue
        ("on_checkpoint", 5, signal.SIGINT),
        ("on_phase_begin", 2, signal.SIGHUP),  # before the second compilation
    ]
    for hook, count, number in interruptions:
        message = interrupt(folder, "loop", drill.At(hook, count, lambda n=number: drill.send(n)))
        assert f"Interrupted by {number.name} at step" in message
    result = drill.train(drill.trainer(folder))
    assert (drill.weights(result), drill.history(folder)) == whole


@SIGNALS
def test_inside_a_validation(number, tmp_path):
    class Data(drill.HostData):
        """Gets the signal between two batches of a validation."""

        def sequential(self):
            for index, batch in enumerate(super().sequential()):
                if index == 2 and armed:
                    armed.pop()
                    drill.send(number)
                yield batch

    armed = []

    def trainer(name):
        data = Data((small.DATA,), 3)
        phase = small.phase(small.learner("a"), validation=et.Validation(data, every=et.Steps(5)))
        return small.trainer(phase, run=tmp_path / name)

    expected = trainer("whole").fit()
    cut = trainer("cut")
    armed.append(True)
    with pytest.raises(et.Interrupted, match=f"{number.name} at step 5"):
        cut.fit()
    result = cut.resume()
    assert drill.weights(result) == drill.weights(expected)
    assert drill.history(tmp_path / "cut") == drill.history(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["loop", "dispatch"])
@SIGNALS
def test_during_the_first_compilation(kind, number, tmp_path):
    ended = []

    def loss(model, batch, context):
        if threading.current_thread() is threading.main_thread() and armed:
            armed.pop()
            drill.send(number)  # in the middle of the trace that is compiled
            ended.append(time.monotonic())
        return small.rule("a").loss(model, batch, context)

    armed = []
    learner = et.Learner(et.Gradient(loss), small.optax.sgd(0.1), lambda m: m["a"])
    trainer = small.trainer(small.phase(learner, kind=kind), kind=kind, run=tmp_path / "run")
    armed.append(True)
    with pytest.raises(et.Interrupted, match=rf"Interrupted by {number.name} at step [01]\. The"):
        trainer.fit()
    assert time.monotonic() - ended[-1] < 10
    reference = small.trainer(small.phase(small.learner("a"), kind=kind), kind=kind).fit()
    assert drill.weights(trainer.resume()) == drill.weights(reference)


def test_while_data_come_slowly(tmp_path):
    class Slow(drill.HostData):
        """After some fast batches, the next ones take a second each."""

        def batches(self, entropy, epoch, position):
            for batch in super().batches(entropy, epoch, position):
                if epoch >= 20:
                    if not sent:
                        sent.append(time.monotonic())
                        threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM]).start()
                        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
                    time.sleep(0.5)
                yield batch

    sent = []
    phase = et.Phase("fit", small.learner("a"), Slow((small.DATA,), 3), et.Steps(4000))
    with pytest.raises(et.Interrupted):
        small.trainer(phase, kind="hosted", run=tmp_path / "run").fit()
    assert time.monotonic() - sent[0] < 10


def test_a_stop_that_was_asked_for_survives_the_signal(tmp_path):
    def stop_and_signal():
        drill.send(signal.SIGTERM)
        return et.Stop(detail="enough")

    def trainer(*callbacks):
        every = et.ModelCheckpoint(et.Steps(5))
        return small.trainer(small.phase(), run=tmp_path / "run", callbacks=[every, *callbacks])

    with pytest.raises(et.Interrupted):
        trainer(drill.At("on_epoch_end", 2, stop_and_signal)).fit()
    result = trainer().resume()
    assert result.reason is et.Reason.CALLBACK
    assert result.history[-1] == result.history[-1] | {"step": 8, "detail": "enough"}


def test_a_second_interrupt_ends_hard_but_closes(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])

    class Stubborn(et.Callback):
        def on_steps_end(self, event, metrics):
            drill.send(signal.SIGINT)
            now[0] += 2 * signals.MOMENT
            drill.send(signal.SIGINT)

    closing = Closing()
    with pytest.raises(KeyboardInterrupt) as caught:
        small.trainer(small.phase(), run=tmp_path / "run", callbacks=[Stubborn(), closing]).fit()
    assert not isinstance(caught.value, et.Interrupted)
    assert closing.errors == [caught.value]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_is_delivered_twice_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(signals.time, "monotonic", lambda: 100.0)

    def twice():
        drill.send(signal.SIGINT)
        drill.send(signal.SIGINT)

    interrupt(tmp_path / "run", "loop", drill.At("on_steps_end", 2, twice))


def test_without_a_run_the_message_says_so():
    at = drill.At("on_epoch_end", 1, lambda: drill.send(signal.SIGTERM))
    with pytest.raises(et.Interrupted, match=r"at step 4\. Nothing is saved"):
        small.trainer(small.phase(), callbacks=[at]).fit()


def test_in_another_thread_signals_are_left_alone():
    before, found = signal.getsignal(signal.SIGTERM), []
    trainer = small.trainer(small.phase())
    thread = threading.Thread(target=lambda: found.append(trainer.fit()))
    thread.start()
    thread.join()
    assert found[0].reason is et.Reason.LENGTH
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", NUMBERS, ids=lambda n: n.name)
def test_a_signal_that_is_ignored_stays_ignored(number):
    """Shells start background jobs with SIGINT ignored, and `nohup` ignores SIGHUP."""
    signal.signal(number, signal.SIG_IGN)
    at = drill.At("on_epoch_end", 2, lambda: drill.send(number))
    result = small.trainer(small.phase(), callbacks=[at]).fit()
    assert at.left <= 0
    assert result.reason is et.Reason.LENGTH
    assert signal.getsignal(number) is signal.SIG_IGN
