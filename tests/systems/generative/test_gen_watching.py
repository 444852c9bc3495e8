"""Samples drawn in the midst of a training: when, of what, and that they change nothing."""

import jax
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
        f"fit-{step:06}.{end}" for step in (4, 8) for end in ("npy", "png")
    ]
    assert shown.pictures == [(step, "samples", np.uint8, 3) for step in (4, 8)]
    by_hand = trainer([et.ModelCheckpoint(et.Steps(4), keep_last=5)], tmp_path / "b")
    plain = by_hand.fit()
    for a, b in zip(jax.tree.leaves(result.model), jax.tree.leaves(plain.model), strict=True):
        assert np.array_equal(a, b)
    for step in (4, 8):
        model = by_hand.load(checkpoint=f"step-{step}")
        expected = model.sample(jax.random.key(3), 6, temperature=0.5, noise=False)
        assert np.array_equal(np.load(folder / f"fit-{step:06}.npy"), expected)


def test_averaged_weights_and_epochs(tmp_path):
    """After 3 of 3 batches of an epoch, of the average."""
    kept = {}

    class Keep(et.Callback):
        def on_epoch_end(self, event):
            kept[event.step] = event.model(ema=True)

    watching = gen.Samples(et.Epochs(2), 5, ema=True, folder=tmp_path / "here")
    trainer([watching, Keep()], None).fit()
    assert [path.name for path in (tmp_path / "here").glob("*.npy")] == ["fit-000006.npy"]
    expected = kept[6].sample(jax.random.key(0), 5)
    assert np.array_equal(np.load(tmp_path / "here" / "fit-000006.npy"), expected)


def test_pictures_reach_tensorboard(tmp_path):
    board = et.TensorBoardLogger(every=1)
    trainer([gen.Samples(et.Steps(5), 4), board], tmp_path / "a").fit()
    (file,) = (tmp_path / "a" / "tensorboard").iterdir()
    text = file.read_bytes()
    assert text.count(b"fit/samples") == 2
    assert text.count(b"\x89PNG") == 2


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(et.ConfigurationError, match="count"):
        gen.Samples(et.Steps(1), 0)
    with pytest.raises(et.ConfigurationError, match="no run to write to"):
        trainer([gen.Samples(et.Steps(5))], None).fit()
    with pytest.raises(et.ConfigurationError, match=r"\(3, 4, 5\).*draw="):
        gen.figure_of(np.zeros((2, 3, 4, 5)))
    assert len(gen.figure_of(np.zeros((7, 2))).axes) == 1
    assert len(gen.figure_of(np.zeros((2, 4, 4, 1))).axes) == 1
