"""What a training must not touch, and what must not touch a training."""

import signal
import threading

import drill
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

import etude as et
from etude.training.chunk_length import Pace

pytestmark = pytest.mark.usefixtures("listening")


def same(a, b):
    assert drill.weights_of(a) == drill.weights_of(b)


@pytest.mark.parametrize("kind", ["loop", "dispatch", "hosted"])
def test_the_model_passed_in_is_unchanged_also_after_an_exception(kind):
    model = small.model()
    before = jax.tree.map(np.array, model)
    for callbacks in ([], [drill.At("on_steps_end", 2, lambda: 1 / 0)]):
        phase = small.phase(kind=kind)
        listed = [et.ModelCheckpoint(et.Steps(3)), *callbacks]
        trainer = et.Trainer(model, phase, progress=False, callbacks=listed)
        if callbacks:
            with pytest.raises(ZeroDivisionError):
                trainer.fit()
        else:
            trainer.fit()
        same(model, before)


def test_fit_twice_is_the_same(tmp_path):
    # More than two are all written, however fast the disk is.
    trainer = drill.trainer(tmp_path / "run", keep_last=3, overwrite=True)
    first, bytes_of_first = trainer.fit(), drill.history(tmp_path / "run")
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    second = trainer.fit()
    same(first.model, second.model)
    assert drill.history(tmp_path / "run") == bytes_of_first
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == kept


def test_two_trainers_of_one_model_do_not_disturb_each_other():
    model, data = small.model(), small.data()

    def trainer(rate, *callbacks):
        learner = et.Learner(small.rule("a"), optax.adam(rate))
        phase = et.Phase("fit", learner, data, et.Steps(20))
        return et.Trainer(model, phase, progress=False, callbacks=callbacks)

    alone = trainer(0.1).fit(), trainer(0.2).fit()
    inner = []
    nested = trainer(0.1, drill.At("on_epoch_end", 2, lambda: inner.append(trainer(0.2).fit())))
    outer = nested.fit()
    same(outer.model, alone[0].model)
    same(inner[0].model, alone[1].model)


def test_a_trainer_that_is_training_is_refused_another_time():
    """Its callbacks would count the validations of both."""
    refused = []

    def refuses():
        with pytest.raises(et.ConfigurationError, match="is training already"):
            trainer.fit()
        refused.append(True)

    def again():
        refuses()
        thread = threading.Thread(target=refuses)
        thread.start()
        thread.join()

    phase = small.phase(validation=et.Validation(small.data(), every=et.Steps(4)))
    stopping = et.EarlyStopping("valid/loss", 3)
    callbacks = [stopping, drill.At("on_validation_end", 2, again)]
    trainer = et.Trainer(small.model(), phase, callbacks=callbacks, progress=False)
    first = trainer.fit()
    assert len(refused) == 2
    callbacks[1].on_validation_end = lambda event, metrics: None
    assert trainer.fit().history == first.history  # and it is free afterwards


def test_signal_handlers_are_put_back_after_every_end():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    small.trainer(small.phase()).fit()
    with pytest.raises(ZeroDivisionError):
        small.trainer(small.phase(), callbacks=[drill.At("on_train_begin", 1, lambda: 1 / 0)]).fit()
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("kind", ["loop", "dispatch", "hosted"])
def test_the_same_seed_gives_the_same_bits_whatever_the_chunks(kind, tmp_path, monkeypatch):
    found = []
    for length in (1, 5, 4096):
        monkeypatch.setattr(Pace, "steps", lambda self, length=length: length)
        learners = small.learner("a", noise=0.3), small.learner("b", noise=0.3, repeat=2)
        phase = small.phase(*learners, kind=kind, steps=37)
        folder = tmp_path / str(length)
        result = small.trainer(phase, kind=kind, run=folder, seed=5).fit()
        found.append((drill.weights(result), drill.history(folder)))
    assert found[0] == found[1] == found[2]


def test_watching_does_not_change_the_training(tmp_path):
    def fit(folder, callbacks=(), progress=False, **options):
        phase = small.phase(small.learner("a", noise=0.3), **options)
        run = None if folder is None else tmp_path / folder
        trainer = et.Trainer(small.model(), phase, run=run, callbacks=callbacks, progress=progress)
        return trainer.fit()

    plain = fit(None)
    watched = fit(
        "run",
        [et.ModelCheckpoint(et.Steps(3)), drill.At("on_epoch_end", 99, None)],
        progress=True,
        validation=et.Validation(small.data(), every=et.Steps(2)),
    )
    same(plain.model, watched.model)
    losses = [
        np.float32([r["train/loss"] for r in result.history if "train/loss" in r])
        for result in (plain, watched)
    ]
    assert losses[0].tobytes() == losses[1].tobytes()


def test_a_callback_that_writes_into_the_metrics_changes_nothing(tmp_path):
    class Writes(et.Callback):
        def on_validation_end(self, event, metrics):
            metrics["valid/loss"], metrics["note"] = -1.0, object()
            return et.Save()

    def fit(*callbacks, **options):
        goal = et.AtMost("valid/loss", -0.5)
        validation = et.Validation(small.data(), every=et.Steps(4))
        phase = small.phase(validation=validation, goal=goal)
        stopping = et.EarlyStopping(min_delta=0.01)
        trainer = small.trainer(phase, callbacks=[*callbacks, stopping], **options)
        return trainer.fit(), stopping.counts

    disturbed, plain = fit(Writes(), run=tmp_path / "a"), fit(run=tmp_path / "b")
    assert disturbed[0].reason is et.Reason.LENGTH
    assert disturbed[0].history == plain[0].history
    assert disturbed[1] == plain[1]


def test_an_optimizer_that_keeps_the_parameters_can_be_trained():
    def keep(params):
        return params

    def update(updates, state, params=None):
        return jax.tree.map(lambda u, s: -0.1 * u + 0.0 * s, updates, state), state

    learner = et.Learner(small.rule("a"), optax.GradientTransformation(keep, update))
    result = small.trainer(small.phase(learner)).fit()
    assert float(result.model["a"]) == pytest.approx(small.by_hand(20), abs=1e-5)


def test_a_model_whose_leaves_share_memory_can_be_trained():
    shared = jnp.array(2.0)
    learner = et.Learner(small.rule("a"), optax.sgd(0.1), where=lambda m: m["a"])
    result = et.Trainer(
        {"a": shared, "b": et.Carry(shared)}, small.phase(learner), progress=False
    ).fit()
    assert float(result.model["b"].value) == 2.0
    assert eqx.is_array(shared)
    assert float(shared) == 2.0


def test_scalars_that_python_gave_promote_as_before_after_a_resume(tmp_path):
    def loss(model, batch, context):
        # Strict promotion lets a float meet an integer that Python gave, and no other.
        return jnp.mean((model["a"] - batch[0]) ** 2) * 0.9 ** model["power"]

    def make(*callbacks):
        model = {"a": jnp.array(2.0), "power": jnp.array(3)}
        phase = small.phase(et.Learner(et.Gradient(loss), optax.sgd(0.1)))
        return et.Trainer(model, phase, run=tmp_path / "run", callbacks=callbacks, progress=False)

    signalled = drill.At("on_epoch_end", 2, lambda: drill.send(signal.SIGTERM))
    with pytest.raises(et.Interrupted):
        make(signalled).fit()
    assert make().resume().reason is et.Reason.LENGTH
