"""Trainers of classifiers: what they are given does something, or is refused by name."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.losses import cross_entropy
from etude.optim import OptimizerConfig, SchedulerConfig, create_plateau_scheduler
from etude.systems import machinery
from etude.systems.machinery import (
    CNN1D,
    CallbackList,
    CNNTrainer,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    SpectrogramCNN,
    SpectrogramTrainer,
)
from etude.systems.machinery.training.batches import read_batch, source_of
from etude.systems.machinery.training.rates import optimizer_of

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


def rates(lr_scheduler):
    """The rates of nine steps, three in each epoch."""
    chain = optimizer_of("mine", FAST, lr_scheduler, steps_per_epoch=3, epochs=3)
    state, found = chain.init(jnp.zeros(2)), []
    for _ in range(9):
        _, state = chain.update(jnp.ones(2), state, jnp.zeros(2))
        found.append(float(state.hyperparams["learning_rate"]))
    return found


def test_a_schedule_counts_epochs_or_steps():
    tenth = [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001]
    assert rates(LearningRateScheduler(lambda epoch: 0.1 * 0.1**epoch)) == pytest.approx(tenth)
    linear = SchedulerConfig(scheduler_type="linear")
    by_step = [0.02 * (1 - step / 9) for step in range(9)]
    assert rates(linear) == pytest.approx(by_step, abs=1e-6)
    by_epoch = [0.02 * (1 - step // 3 / 3) for step in range(9)]
    assert rates(LearningRateScheduler(linear)) == pytest.approx(by_epoch, abs=1e-6)


def test_the_schedule_reaches_the_engine():
    """A rate of 0 from the second epoch on: nothing moves any more but the statistics."""
    trainer = CNNTrainer(
        network(dropout=0.0), et.ArrayData((X, Y), 12, shuffle=False), optimizer=FAST,
        lr_scheduler=LearningRateScheduler(lambda epoch: jnp.where(epoch < 1, 0.02, 0.0)),
        progress=False,
    )  # fmt: skip
    losses = trainer.train(3).history["train/loss"].value
    assert losses[0] > losses[1] == losses[2]


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
    check_source(source_of("mine", SOURCES[kind], None))


def check_source(source):
    samples = [read_batch("mine", batch) for batch, _ in source.sequential()]
    np.testing.assert_array_equal(np.concatenate([one.signals for one in samples]), X)
    np.testing.assert_array_equal(np.concatenate([one.targets for one in samples]), Y)


def test_it_learns_from_a_loader_of_torch_and_from_windows():
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(pairs, batch_size=4)
    check_source(source_of("mine", loader, None))
    groups = machinery.Groups.of(bearing=[str(i) for i in range(12)])
    windows = machinery.Records(X, 100.0, Y, ("a", "b"), groups).windows(32)
    check_source(source_of("mine", windows, 5))
    slower = machinery.Records(X, 50.0, Y, ("a", "b"), groups).windows(32)
    with pytest.raises(et.ConfigurationError, match=r"sample_rate=50.0, those of train_loader 100"):
        CNNTrainer(network(), windows, slower).trainer()
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


def test_targets_of_several_labels_are_shares():
    logits, wrong = jnp.zeros((1, 2)), jnp.array([[0, 2]])
    with pytest.raises(et.DataError, match="targets from 0 to 2, expected 0 to 1"):
        machinery.multi_label_loss(logits, wrong)
    assert jnp.isnan(jax.jit(machinery.multi_label_loss)(logits, wrong))
    found = jax.jit(machinery.multi_label_loss)(logits, jnp.array([[0, 1]]))
    assert float(found) == pytest.approx(np.log(2))


@pytest.mark.parametrize("place", ["train", "valid"])
@pytest.mark.parametrize(
    ("make", "x"),
    [
        (CNNTrainer, X),
        (machinery.MixedPrecisionTrainer, X),
        (machinery.Trainer, X),
        (SpectrogramTrainer, X.reshape(12, 8, 4)),
    ],
    ids=["cnn", "mixed", "stateful", "spectrogram"],
)
def test_labels_that_the_network_has_no_class_for_are_refused_at_once(make, x, place):
    model = network() if x.ndim == 2 else picture()
    right, wrong = (x, Y), {"signal": x, "label": Y + 1}
    train, valid = (wrong, right) if place == "train" else (right, wrong)
    with pytest.raises(et.DataError, match=r"labels from 1 to 2 .* make the network with 3"):
        make(model, train, val_loader=valid, progress=False)
    with pytest.raises(et.DataError, match="labels from -1 to 0"):
        make(model, (x, jnp.asarray(Y - 1)), progress=False)
    windows = machinery.Records(
        X, 100.0, Y + 1, ("a", "b", "c"), machinery.Groups.of(range(12))
    ).windows(32)
    with pytest.raises(et.DataError, match="labels from 1 to 2 for a network of 2 classes"):
        make(model, windows, progress=False)

    def own(logits, targets):
        return cross_entropy(logits, targets - 1)

    make(model, (x, Y + 1), criterion=own, progress=False)


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
    """Without them, the loss of the first step is that of the spectrograms as they are."""
    data = et.ArrayData((X.reshape(12, 8, 4), Y), 12, shuffle=False)
    first = {
        masked: SpectrogramTrainer(
            picture(), data, optimizer=FAST, use_specaugment=masked, time_mask_param=4,
            freq_mask_param=8, progress=False,
        ).train(1).history["train/loss"].value[0]
        for masked in (True, False)
    }  # fmt: skip
    logits, _ = eqx.filter_jit(lambda net, x: net.forward(x))(picture(), X.reshape(12, 8, 4))
    assert first[False] == pytest.approx(float(cross_entropy(logits, Y)), rel=1e-4)
    assert first[True] != pytest.approx(first[False], rel=1e-3)
    with pytest.raises(et.ConfigurationError, match="something to mask"):
        SpectrogramTrainer(picture(), data, num_time_masks=0, num_freq_masks=0)


def test_callbacks_of_lists_within_keep_their_order():
    first, second, third = et.Timing(), EarlyStopping(), et.Timing()
    assert list(CallbackList([first, [second], CallbackList([third])])) == [first, second, third]
