"""Several representations, a teacher, growing lengths, and a trainer that keeps its place."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.losses import DistillationLoss, cross_entropy
from etude.optim import OptimizerConfig, SchedulerConfig
from etude.systems.machinery import (
    CNN1D,
    CNNTrainer,
    DistillationTrainer,
    EarlyStopping,
    Groups,
    LearningRateScheduler,
    MultiTFRTrainer,
    ProgressiveResizingTrainer,
    Records,
    ResizableSignalDataset,
    SpectrogramCNN,
    Trainer,
    compare_teacher_student,
    resize,
)
from etude.systems.machinery.training.batches import read_batch

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
Y = (np.arange(12) % 2).astype(np.int32)
X = RNG.normal(size=(12, 32)).astype(np.float32)
X[Y == 1] += np.sin(2.0 * np.arange(32)).astype(np.float32)
TALL, WIDE = X.reshape(12, 8, 4), RNG.normal(size=(8, 4, 16)).astype(np.float32)
LINEAR = SchedulerConfig(scheduler_type="linear")
FAST = OptimizerConfig(optimizer_type="adam", learning_rate=0.02)


def network(channels=3, **changed):
    settings = {"kernels": 3, "strides": 4, "hidden": (), "dropout": 0.0, **changed}
    return CNN1D(2, (channels,), key=KEY, **settings)


def several(mode="together", **changed):
    settings = {
        "train_loaders": {"stft": (TALL, Y), "cwt": (WIDE, Y[:8])},
        "val_loaders": {"stft": (TALL, Y), "cwt": (WIDE[:6], Y[:6])},
        "tfr_weights": {"stft": 1, "cwt": 3},
        "optimizer": FAST,
        "batch_size": 4,
        "time_mask_param": 2,
        "freq_mask_param": 2,
        "progress": False,
        **changed,
    }
    return MultiTFRTrainer(SpectrogramCNN(2, (3,), key=KEY), mode=mode, **settings)


def same(one, other):
    arrays = (jax.tree.leaves(eqx.filter(model, eqx.is_array)) for model in (one, other))
    pairs = zip(*arrays, strict=True)
    return all(bool(jnp.all(a == b)) for a, b in pairs)


def test_every_representation_is_learnt_and_validated_by_its_weight():
    result = several(use_specaugment=False, keep="last").train(2)
    row = [record for record in result.history if "train/loss" in record][-1]
    assert row["train/loss"] == pytest.approx(
        0.25 * row["train/loss_stft"] + 0.75 * row["train/loss_cwt"], rel=1e-5
    )
    of = {
        "stft": float(cross_entropy(result.model(TALL), Y)),
        "cwt": float(cross_entropy(result.model(WIDE[:6]), Y[:6])),
    }
    for name, value in of.items():
        assert result.metrics[f"valid/loss_of/{name}"] == pytest.approx(value, rel=1e-4)
    mean = 0.25 * of["stft"] + 0.75 * of["cwt"]
    assert result.metrics["valid/loss"] == pytest.approx(mean, rel=1e-4)
    phase, = several("turns").phases(1)  # fmt: skip
    assert sorted(phase.data.pattern) == ["cwt", "cwt", "cwt", "stft"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mode": "turn"}, "Did you mean 'turns'"),
        ({"val_loaders": {"stft": (TALL, Y)}}, r"val_loaders \['stft'\]"),
        ({"tfr_weights": {"stft": 1.0}}, r"numbers above 0 of \['stft', 'cwt'\]"),
        ({"mode": "turns", "tfr_weights": {"stft": 0.5, "cwt": 1}}, "whole numbers from 1"),
        ({"device": "cuda"}, "no device"),
    ],
    ids=["mode", "names", "missing", "halves", "device"],
)
def test_representations_that_do_not_fit_are_refused(given, told):
    with pytest.raises(et.ConfigurationError, match=told):
        several(**given)


def test_a_teacher_stays_as_it_is_and_the_student_comes_to_agree():
    teacher = network(8)
    trainer = DistillationTrainer(
        teacher, network(2), DistillationLoss(temperature=2.0, alpha=1.0), FAST, progress=False
    )
    result = trainer.train((X, 1 - Y), (X, Y), epochs=200)  # the labels are wrong, and of no weight
    student = result.model["student"]
    assert same(teacher, result.model["teacher"])
    found = compare_teacher_student(teacher, student, (X, Y), batch_size=5)
    said, meant = (eqx.filter_jit(model)(X).argmax(-1) for model in (student, teacher))
    assert found.agreement == pytest.approx(float((said == meant).mean()))
    assert found.agreement > 0.8
    assert found.teacher_accuracy == pytest.approx(float((meant == Y).mean()))
    assert found.student_per_class == pytest.approx(
        [float((said == Y)[c == Y].mean()) for c in (0, 1)]
    )
    assert found.compression_ratio == (8 * 3 + 16 + 18) / (2 * 3 + 4 + 6)
    measured = trainer.evaluate(student, (X, Y))
    assert measured["agreement"] == pytest.approx(found.agreement)


def test_agreement_is_of_predictions_also_where_both_are_wrong():
    wrong = compare_teacher_student(network(), network(), (X, np.zeros(12, np.int32)))
    assert wrong.agreement == 1.0
    assert np.isnan(wrong.student_per_class[1])
    assert wrong.accuracy_gap == 0.0


def line(frequency, rate, samples):
    return np.sin(2 * np.pi * frequency * np.arange(samples) / rate).astype(np.float32)[None]


def peak(signals, rate):
    power = np.abs(np.fft.rfft(signals[0] * np.hanning(signals.shape[-1])))
    return np.fft.rfftfreq(signals.shape[-1], 1 / rate)[power.argmax()]


@pytest.mark.parametrize(
    ("method", "rate"), [("crop", 4000), ("truncate", 4000), ("decimate", 1000)]
)
def test_a_line_stays_at_its_frequency_whatever_the_method(method, rate):
    found, at = resize(line(160.0, 4000, 4000), 1000, method, sample_rate=4000.0)
    assert (found.shape, at) == ((1, 1000), rate)
    assert peak(found, at) == pytest.approx(160.0, abs=5)
    # What lies above half the new rate is gone, and not somewhere else.
    high, _ = resize(line(900.0, 4000, 4000), 1000, method, sample_rate=4000.0)
    assert high[0, 100:-100].std() == pytest.approx(0.0 if method == "decimate" else 0.71, abs=0.02)


def test_interpolation_warns_that_it_folds():
    with pytest.warns(UserWarning, match="above 500 Hz folds back"):
        found, rate = resize(line(900.0, 4000, 4000), 1000, "interpolate", sample_rate=4000.0)
    assert rate == 1000
    assert peak(found, rate) == pytest.approx(100.0, abs=5)
    with pytest.warns(UserWarning, match="folds back"):
        longer, rate = resize(line(100.0, 1000, 500), 1000, "interpolate", sample_rate=1000.0)
    expected = line(100.0, 2000, 1000)
    np.testing.assert_allclose(longer[0, :-2], expected[0, :-2], atol=0.06)


def test_whole_numbers_are_interpolated_too():
    ramp = np.arange(0, 80, 10, dtype=np.int16)[None]
    with pytest.warns(UserWarning, match="folds back"):
        found, _ = resize(ramp, 16, "interpolate", sample_rate=1.0)
    assert found.dtype == np.float32
    assert found[0, :6].tolist() == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize(
    ("length", "method", "told"),
    [
        (64, "crop", "Take 'pad'"),
        (16, "pad", "Take 'crop' or 'truncate'"),
        (64, "decimate", "cannot make 64 samples of 32"),
        (16, "trim", "there is no method 'trim'"),
        (0, "crop", "target_length=0"),
    ],
)
def test_lengths_and_methods_that_do_not_go_together_are_refused(length, method, told):
    with pytest.raises(et.ConfigurationError, match=told):
        ResizableSignalDataset((X, Y), length, method)


def test_a_resizable_data_set_takes_windows_arrays_and_any_other():
    records = Records(X, 100.0, Y, ("a", "b"), Groups.of(bearing=[str(i) for i in range(12)]))
    windows = ResizableSignalDataset(records.windows(32), 8, "truncate")
    assert (len(windows), windows.sample_rate) == (12, 100.0)
    np.testing.assert_array_equal(windows[3]["signal"], X[3, :8])
    padded = ResizableSignalDataset(list(zip(X, Y, strict=True)), 40, "pad")
    assert padded[1][0].shape == (40,)
    assert not padded[1][0][32:].any()
    data = et.AccessData(windows, 4)
    assert next(iter(data.sequential()))[0]["signal"].shape == (4, 8)
    with pytest.raises(et.ConfigurationError, match="for windows at 100 Hz"):
        ResizableSignalDataset(records.windows(32), 8, sample_rate=50.0)


def test_stages_crop_at_random_and_are_validated_at_full_length():
    trainer = ProgressiveResizingTrainer(network(), FAST, schedule=[(8, 1), (32, 1)])
    short, full = trainer.phases((X, Y), (X, Y), batch_size=4)
    cut, _ = short.augment((jnp.asarray(X), jnp.asarray(Y)), KEY)
    places = [
        next(p for p in range(25) if np.array_equal(row, x[p : p + 8]))
        for row, x in zip(np.asarray(cut), X, strict=True)
    ]
    assert len(set(places)) > 3
    assert full.augment is None
    for phase in (short, full):
        (validation,) = phase.validations
        batch, _ = next(iter(validation.data.sequential()))
        assert batch[0].shape == (4, 32)


@pytest.mark.parametrize("method", ["truncate", "crop"])
def test_a_dictionary_of_arrays_is_resized_as_a_tuple_is(method):
    both = {}
    for kind, data in {"tuple": (X, Y), "mapping": {"signal": X, "label": Y}}.items():
        both[kind] = ProgressiveResizingTrainer(
            network(), FAST, schedule=[(16, 1), (32, 1)], resize_method=method, progress=False
        ).train(data, data, batch_size=6)
    assert eqx.tree_equal(both["tuple"].model, both["mapping"].model)
    one = ResizableSignalDataset({"signal": X, "label": Y}, 16, method)
    assert (len(one), one[2]["signal"].shape, one[2]["label"]) == (12, (16,), Y[2])
    with pytest.raises(et.DataError, match=r"\['label', 'x'\], but no 'signal'"):
        ProgressiveResizingTrainer(network(), FAST, schedule=[(16, 1)]).train({"x": X, "label": Y})


@pytest.mark.parametrize("method", ["truncate", "decimate", "crop"])
def test_a_data_set_that_is_read_one_by_one_is_resized_as_well(method):
    pairs = list(zip(X, Y, strict=True))
    result = ProgressiveResizingTrainer(
        network(), FAST, schedule=[(16, 1)], resize_method=method, progress=False
    ).train_progressive(pairs, pairs, batch_size=6)
    assert np.isfinite(result.metrics["valid/loss"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"schedule": [(16, 0)]}, "expected \\(samples, epochs\\)"),
        ({"schedule": [(16, 1), (16, 2)]}, "no length twice"),
        ({"resize_method": "cut"}, "there is no method 'cut'"),
        ({"batch_size": 4}, "pass batch_size to train"),
    ],
    ids=["epochs", "twice", "method", "batch"],
)
def test_schedules_that_cannot_be_are_refused(given, told):
    with pytest.raises(et.ConfigurationError, match=told):
        ProgressiveResizingTrainer(network(), **given)


def test_a_trainer_that_keeps_its_place_makes_the_same_bits():
    settings = {"batch_size": 5, "progress": False}  # 12 samples: the last batch is short
    straight = CNNTrainer(network(), (X, Y), (X, Y), FAST, keep="last", **settings).train(3)
    trainer = Trainer(network(), (X, Y), (X, Y), FAST, **settings)
    trainer.fit(1)
    epoch = trainer.train_epoch()
    trainer.fit(1)
    assert same(trainer.model, straight.model)
    rows = straight.history["train/loss"].value[3:6]
    assert epoch["loss"] == pytest.approx(np.average(rows, weights=[5, 5, 2]), rel=1e-6)
    assert (trainer.state.epoch, trainer.state.global_step) == (3, 9)
    assert len(trainer.state.history["val_loss"]) == 2
    assert trainer.state.best_val_loss == min(trainer.state.history["val_loss"])
    found = trainer.validate_epoch()
    assert found["loss"] == pytest.approx(straight.metrics["valid/loss"], rel=1e-6)


def test_a_trainer_tells_that_it_stopped_early():
    slow = OptimizerConfig(optimizer_type="sgd", learning_rate=1e-12)
    trainer = Trainer(
        network(), (X, Y), (X, Y), slow, callbacks=[EarlyStopping("val_acc", 2, "max")],
        progress=False,
    )  # fmt: skip
    trainer.fit(10)
    assert trainer.state.early_stopped
    assert trainer.state.epoch == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"keep": et.Best("valid/loss")}, "there is no keep"),
        (
            {"lr_scheduler": LearningRateScheduler(SchedulerConfig(scheduler_type="linear"))},
            "Build it",
        ),
    ],
    ids=["keep", "schedule"],
)
def test_what_a_trainer_without_a_length_cannot_do_is_refused(given, told):
    with pytest.raises(et.ConfigurationError, match=told):
        Trainer(network(), (X, Y), **given)
    with pytest.raises(et.ConfigurationError, match="there is no val_loader"):
        Trainer(network(), (X, Y)).validate_epoch()


def test_metadata_of_a_batch_are_those_that_were_asked_for():
    batch = {"signal": X, "label": Y, "speed": Y, "load": Y}
    assert set(read_batch("mine", batch, ["load"]).metadata) == {"load"}
    assert set(read_batch("mine", batch).metadata) == {"speed", "load"}


@pytest.mark.parametrize("place", ["train", "valid"])
def test_labels_of_no_class_are_refused_before_anything_is_trained(place):
    wrong = (X, Y + 1)
    train, valid = (wrong, (X, Y)) if place == "train" else ((X, Y), wrong)
    told = r"labels from 1 to 2 for a network of 2 classes.*make the network with 3"
    with pytest.raises(et.DataError, match=told):
        DistillationTrainer(network(), network(), progress=False).phases(train, valid)
    stages = ProgressiveResizingTrainer(network(), schedule=[(16, 1)], progress=False)
    with pytest.raises(et.DataError, match=told):
        stages.phases(train, valid)
    pictures = {"stft": (TALL, Y), "cwt": (WIDE, Y[:8] + 1)}
    with pytest.raises(et.DataError, match=told):
        several(**{"train_loaders" if place == "train" else "val_loaders": pictures})
