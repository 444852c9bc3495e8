"""Samples drawn in the midst of a training: when, of what, and that they change nothing."""

import jax
import jaxtyping
import numpy as np
import optax
import pytest

import etude as et
from etude.systems import generative as gen

X = np.asarray(jax.random.bernoulli(jax.random.key(0), 0.5, (12, 4, 4)), np.float32)


def trainer(callbacks, run, **changes):
    model = gen.VAE.create(jax.random.key(0), (4, 4), latent=2, hidden=(8,))
    learner = et.Learner(et.Gradient(gen.Bound()), optax.adam(1e-2), ema=0.5)
    phase = et.Phase("fit", learner, et.ArrayData(X, 4), et.Steps(10))
    return et.Trainer(model, phase, callbacks=callbacks, run=run, progress=False, **changes)


class Shown(et.Callback):
    def __init__(self):
        self.pictures = []

    def on_picture(self, event, name, pixels):
        self.pictures.append((event.step, name, pixels.dtype, pixels.shape[2]))


def test_samples_are_of_the_model_at_that_step(tmp_path):
    shown = Shown()
    watching = gen.Samples(et.Steps(4), 6, seed=3, temperature=0.5, noise=False)
    result = trainer([watching, shown], tmp_path / "a").fit()
    folder = tmp_path / "a" / "samples"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"fit-{step:06}.{end}" for step in (4, 8, 10) for end in ("npy", "png")
    ]
    assert shown.pictures == [(step, "samples", np.uint8, 3) for step in (4, 8, 10)]
    by_hand = trainer([et.ModelCheckpoint(et.Steps(4), keep_last=5)], tmp_path / "b")
    plain = by_hand.fit()
    for a, b in zip(jax.tree.leaves(result.model), jax.tree.leaves(plain.model), strict=True):
        assert np.array_equal(a, b)
    for step in (4, 8, 10):
        model = plain.model if step == 10 else by_hand.load(checkpoint=f"step-{step}")
        expected = model.sample(jax.random.key(3), 6, temperature=0.5, noise=False)
        assert np.array_equal(np.load(folder / f"fit-{step:06}.npy"), expected)


def test_averaged_weights_and_epochs(tmp_path):
    """After 3 of 3 batches of an epoch, and where the phase ends; of the average."""
    kept = {}

    class Keep(et.Callback):
        def on_epoch_end(self, event):
            kept[event.step] = event.model(ema=True)

    watching = gen.Samples(et.Epochs(2), 5, ema=True, folder=tmp_path / "here")
    trainer([watching, Keep()], None).fit()
    names = sorted(path.name for path in (tmp_path / "here").glob("*.npy"))
    assert names == ["fit-000006.npy", "fit-000010.npy"]
    expected = kept[6].sample(jax.random.key(0), 5)
    assert np.array_equal(np.load(tmp_path / "here" / "fit-000006.npy"), expected)


def test_pictures_reach_tensorboard(tmp_path):
    board = et.TensorBoardLogger(every=1)
    trainer([gen.Samples(et.Steps(5), 4), board], tmp_path / "a").fit()
    (file,) = (tmp_path / "a" / "tensorboard").iterdir()
    text = file.read_bytes()
    assert text.count(b"fit/samples") == 2
    assert text.count(b"\x89PNG") == 2


def test_a_phase_that_is_shorter_than_the_interval_is_drawn_at_its_end(tmp_path):
    trainer([gen.Samples(et.Steps(100), 4)], tmp_path / "a").fit()
    names = sorted(path.name for path in (tmp_path / "a" / "samples").iterdir())
    assert names == ["fit-000010.npy", "fit-000010.png"]


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Steps(et.Callback):
    """Whether anything was trained."""

    made = 0

    def on_steps_end(self, event, metrics):
        self.made = event.step


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temprature": 1.0}, r"VAE.sample: .*'temprature'.*temperature"),
        ({"key": 1}, "VAE.sample: .*'key'"),
        ({"temperature": -1.0}, "temperature -1.0 is below 0"),
        ({"temperature": "warm"}, "temperature"),
        ({"labels": 1}, "label"),
    ],
    ids=["unknown", "key", "range", "type", "labels"],
)
@pytest.mark.usefixtures("unchecked")
def test_options_are_refused_before_training(options, words, tmp_path):
    steps = Steps()
    with pytest.raises((et.ConfigurationError, et.DataError), match=words):
        trainer([gen.Samples(et.Steps(5), **options), steps], tmp_path / "a").fit()
    assert not steps.made


def conditional(callbacks, **changes):
    """A model of rows of three values, with classes."""
    model = gen.Flow.create(jax.random.key(0), (3,), layers=1, hidden=(4,), classes=2)
    learner = et.Learner(et.Gradient(gen.NegativeLogLikelihood()), optax.adam(1e-2))
    rows = np.ones((12, 3), np.float32)
    data = et.ArrayData((rows, np.arange(12) % 2), 4)
    phase = et.Phase("fit", learner, data, et.Steps(4))
    return et.Trainer(model, phase, callbacks=callbacks, progress=False, **changes)


def test_labels_figures_and_averages_are_looked_at_before_training(tmp_path):
    def watching(**options):
        return gen.Samples(et.Steps(2), 4, folder=tmp_path, **options)

    for callback, error, words in [
        (watching(), et.DataError, "has 2 classes. Give labels"),
        (watching(labels=2), et.DataError, "labels"),
        (watching(labels=[0, 1]), et.DataError, r"shape \(2,\) for 4 samples"),
        (watching(labels=1), et.ConfigurationError, r"\(3,\) are neither pictures"),
        (watching(labels=1, draw=gen.figure_of, ema=True), et.ConfigurationError, "neither"),
        (
            watching(labels=1, draw=lambda x: gen.figure_of(x[:, :2]), ema=True),
            et.ConfigurationError,
            "ema",
        ),
    ]:
        steps = Steps()
        with pytest.raises(error, match=words):
            conditional([callback, steps]).fit()
        assert not steps.made
    conditional([watching(labels=1, draw=lambda x: gen.figure_of(x[:, :2]))]).fit()
    assert len(list(tmp_path.iterdir())) == 4


def test_a_figure_that_fails_leaves_no_array(tmp_path):
    def fails(x):
        raise RuntimeError("no figure")

    with pytest.raises(RuntimeError, match="no figure"):
        trainer([gen.Samples(et.Steps(5), draw=fails, folder=tmp_path)], None).fit()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_drawn_is_refused():
    for arguments, words in [
        ({"every": 5}, r"every is Steps\(n\) or Epochs\(n\); got 5"),
        ({"count": 2.5}, "count must be a whole number"),
        ({"seed": -1}, "seed counts from 0 on"),
        ({"draw": "grid"}, "draw is a function"),
    ]:
        with pytest.raises(et.ConfigurationError, match=words):
            gen.Samples(**{"every": et.Steps(1), **arguments})
    with pytest.raises(et.ConfigurationError, match="count"):
        gen.Samples(et.Steps(1), 0)
    with pytest.raises(et.ConfigurationError, match="no run to write to"):
        trainer([gen.Samples(et.Steps(5))], None).fit()
    with pytest.raises(et.ConfigurationError, match=r"\(3, 4, 5\).*draw="):
        gen.figure_of(np.zeros((2, 3, 4, 5)))
    assert len(gen.figure_of(np.zeros((7, 2))).axes) == 1
    assert len(gen.figure_of(np.zeros((2, 4, 4, 1))).axes) == 1
