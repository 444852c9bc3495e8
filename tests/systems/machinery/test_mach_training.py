"""Trainers of classifiers: what they are given does something, or is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.optim import OptimizerConfig, SchedulerConfig, create_plateau_scheduler
from etude.systems import machinery
from etude.systems.machinery import (
    CNN1D,
    CallbackList,
    CNNTrainer,
    EarlyStopping,
    LearningRateScheduler,
    MixedPrecisionTrainer,
    ModelCheckpoint,
    SpectrogramCNN,
    SpectrogramTrainer,
)

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(12, 32)).astype(np.float32)
Y = (np.arange(12) % 2).astype(np.int32)
X[Y == 1] += np.sin(2.0 * np.arange(32)).astype(np.float32)
FAST = OptimizerConfig(optimizer_type="adam", learning_rate=0.02)


def network(**changed):
    settings = {"kernels": 3, "strides": 4, "hidden": (), "dropout": 0.3, **changed}
    return CNN1D(2, (3,), key=KEY, **settings)


def picture():
    return SpectrogramCNN(2, (3,), key=KEY)


class Fails(et.Callback):
    """Breaks off after the epoch that the third step begins."""

    def on_epoch_end(self, event):
        if event.epoch == 2:
            raise RuntimeError("power cut")


MAKERS = {
    "cnn": lambda **kw: CNNTrainer(
        network(), (X, Y), (X, Y), FAST, batch_size=4, progress=False, **kw
    ),
    "half": lambda **kw: MixedPrecisionTrainer(
        network(), (X, Y), FAST, val_loader=(X, Y), batch_size=4, progress=False, **kw
    ),
    "spectrogram": lambda **kw: SpectrogramTrainer(
        picture(), (X.reshape(12, 8, 4), Y), (X.reshape(12, 8, 4), Y), FAST, time_mask_param=2,
        freq_mask_param=2, batch_size=4, progress=False, **kw,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_that_was_broken_off_ends_in_the_same_bits(name, tmp_path):
    straight = MAKERS[name]().train(num_epochs=4)
    broken = MAKERS[name](checkpoint_dir=tmp_path / "run", callbacks=[Fails()])
    with pytest.raises(RuntimeError, match="power cut"):
        broken.train(num_epochs=4)
    resumed = MAKERS[name](checkpoint_dir=tmp_path / "run").trainer(4).resume()
    assert resumed.history["train/loss"].value.tolist() == (
        straight.history["train/loss"].value.tolist()
    )
    assert same(straight.model, resumed.model)
    assert not same(straight.model, broken.model)  # and what was passed in is as it was


def same(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(bool(jnp.all(a == b)) for a, b in pairs)


def test_the_best_is_handed_back_and_metrics_may_have_the_names_of_the_seed(tmp_path):
    trainer = CNNTrainer(
        network(),
        (X, Y),
        (X, Y),
        OptimizerConfig(optimizer_type="sgd", learning_rate=2.0),
        batch_size=4,
        progress=False,
        checkpoint_dir=tmp_path / "run",
        max_grad_norm=None,
        keep=et.Best("val_acc", "max"),
        callbacks=[EarlyStopping("val_loss", patience=2), ModelCheckpoint(save_top_k=1)],
    )
    result = trainer.train(num_epochs=20)
    assert result.reason is et.Reason.PATIENCE
    seen = result.history["valid/accuracy"].value
    assert result.metrics["valid/accuracy"] == pytest.approx(max(seen))
    assert jnp.mean(result.model(X).argmax(-1) == Y) == pytest.approx(max(seen))
    with pytest.raises(et.ConfigurationError, match="'valid/f1', which no validation"):
        CNNTrainer(
            network(), (X, Y), (X, Y), callbacks=[EarlyStopping("val_f1", mode="max")]
        ).trainer(1)


def rates(lr_scheduler, epochs=3):
    trainer = CNNTrainer(
        network(), (X, Y), None, FAST, batch_size=4, progress=False, lr_scheduler=lr_scheduler,
        callbacks=[et.LearningRateMonitor()],
    )  # fmt: skip
    history = trainer.train(epochs).history
    (name,) = (one for one in history.names if one.endswith("learning_rate"))
    return history[name].value.round(6).tolist()


def test_a_schedule_counts_epochs_or_steps():
    tenth = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001]
    assert rates(LearningRateScheduler(lambda epoch: 0.1 * 0.1**epoch)) == pytest.approx(tenth)
    linear = SchedulerConfig(scheduler_type="linear")
    by_step = [0.02 * (1 - step / 9) for step in range(9)]
    assert rates(linear) == pytest.approx(by_step, abs=1e-6)
    by_epoch = [0.02 * (1 - step // 3 / 3) for step in range(9)]
    assert rates(LearningRateScheduler(linear)) == pytest.approx(by_epoch, abs=1e-6)


def test_schedules_that_cannot_work_are_refused():
    with pytest.raises(et.ConfigurationError, match="a plateau is told the loss of every step"):
        LearningRateScheduler(create_plateau_scheduler(0.1))
    with pytest.raises(et.ConfigurationError, match="lr_scheduler is given, and an optimizer"):
        CNNTrainer(
            network(), (X, Y), optimizer=optax.sgd(0.1), lr_scheduler=lambda step: 0.1
        ).trainer()
    with pytest.raises(et.ConfigurationError, match="goes into lr_scheduler"):
        CNNTrainer(
            network(), (X, Y), callbacks=[LearningRateScheduler(lambda epoch: 0.1)]
        ).trainer()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"device": "cuda"}, "there is no device. JAX chooses"),
        ({"max_grad_nrom": 1.0}, "Did you mean 'max_grad_norm'"),
        ({"mixed_precision": "fp16"}, "got 'fp16'"),
        ({"checkpoint_dir": "a", "run": "b"}, "the same folder"),
    ],
    ids=["device", "misspelt", "precision", "folders"],
)
def test_settings_that_would_be_ignored_are_refused(given, told):
    with pytest.raises(et.ConfigurationError, match=told):
        CNNTrainer(network(), (X, Y), **given)


def learner_of(**settings):
    phase, = CNNTrainer(network(), (X, Y), **settings).phases(1)  # fmt: skip
    return phase.learners


def test_every_setting_reaches_the_engine():
    learner = learner_of(gradient_accumulation_steps=3, max_grad_norm=0.5, mixed_precision=True)
    assert (learner.accumulate, learner.clip_norm, learner.precision) == (3, 0.5, "bfloat16")
    assert learner_of(max_grad_norm=0).clip_norm is None
    assert learner_of(mixed_precision="float16").precision == "float16"


SOURCES = {
    "arrays": (X, Y),
    "dictionary": {"signal": X, "label": Y},
    "source": et.ArrayData((X, Y), 4),
    "list": [(X[:6], Y[:6]), (X[6:], Y[6:])],
}


@pytest.mark.parametrize("kind", SOURCES)
def test_it_learns_from_any_source(kind):
    losses = CNNTrainer(network(), SOURCES[kind], progress=False, seed=1).train(1).history
    assert np.isfinite(losses["train/loss"].value).all()


def test_it_learns_from_a_loader_of_torch_and_from_windows():
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(pairs, batch_size=4)
    assert CNNTrainer(network(), loader, loader, progress=False).train(1).metrics
    records = machinery.Records(
        X, 100.0, Y, ("a", "b"), machinery.Groups.of(bearing=[str(i) for i in range(12)])
    )
    windows = records.windows(32)
    assert CNNTrainer(network(), windows, windows, progress=False).train(1).metrics
    with pytest.raises(et.ConfigurationError, match="batch_size=4 is for windows and arrays"):
        CNNTrainer(network(), loader, batch_size=4).trainer()


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ({"signal": X}, "no 'label'"),
        (X, "a batch is"),
        ((X, Y, Y), "expected a dictionary of metadata"),
    ],
    ids=["unlabelled", "lone", "metadata"],
)
def test_batches_of_another_form_are_refused(batch, told):
    trainer = CNNTrainer(network(), et.ArrayData(batch, 4), progress=False)
    with pytest.raises(et.ConfigurationError, match=told):
        trainer.train(1)


def test_several_labels_at_once_are_learnt_by_their_own_loss():
    both = np.stack([Y, 1 - Y], axis=1)
    trainer = CNNTrainer(
        network(multi_label=True, dropout=0.0), (X, both), (X, both), FAST, progress=False
    )
    result = trainer.train(60)
    assert result.metrics["valid/accuracy"] > 0.8
    assert result.metrics["valid/loss"] == pytest.approx(
        float(machinery.multi_label_loss(result.model(X), jnp.asarray(both))), rel=1e-4
    )


def test_masks_are_for_training_alone():
    """Without them, the loss of the first step is that of the validation with like statistics."""
    data = et.ArrayData((X.reshape(12, 8, 4), Y), 12, shuffle=False)
    first = {
        masked: SpectrogramTrainer(
            picture(), data, optimizer=FAST, use_specaugment=masked, time_mask_param=4,
            freq_mask_param=8, progress=False,
        ).train(1).history["train/loss"].value[0]
        for masked in (True, False)
    }  # fmt: skip
    plain = CNNTrainer(picture(), data, optimizer=FAST, progress=False).train(1)
    assert first[False] == plain.history["train/loss"].value[0] != first[True]
    with pytest.raises(et.ConfigurationError, match="something to mask"):
        SpectrogramTrainer(picture(), data, num_time_masks=0, num_freq_masks=0)


def test_callbacks_of_lists_within_keep_their_order():
    first, second, third = et.Timing(), EarlyStopping(), et.Timing()
    assert list(CallbackList([first, [second], CallbackList([third])])) == [first, second, third]
