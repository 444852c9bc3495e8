"""A model comes back from its run without the trainer: neither phases nor data are needed."""

import equinox as eqx
import jax
import optax
import pytest
from problems import blobs, cross_entropy, learner, mlp, same

import etude as et
from etude.run import Run
from etude.training.restoring import restore_model


class Noisy(eqx.Module):
    """A model with a random key among its arrays."""

    mlp: eqx.nn.MLP
    key: jax.Array

    def __call__(self, x):
        return self.mlp(x)


def noisy(width: int = 8) -> Noisy:
    return Noisy(mlp(width=width), jax.random.key(3, impl="rbg"))


def loaded(folder, width: int = 8):
    with Run.open(folder, lock=False) as run:
        return restore_model(run, eqx.filter_eval_shape(noisy, width))


def bits(model):
    return eqx.tree_at(lambda m: m.key, model, jax.random.key_data(model.key))


DATA = et.ArrayData(blobs(), 50)
WILD = et.Learner(et.Gradient(cross_entropy), optax.sgd(30.0))  # its last weights are not its best
PARTS = [
    learner(where=lambda m: m.mlp.layers[0], ema=0.9, name="first"),
    learner(where=lambda m: m.mlp.layers[1], name="second"),
]


@pytest.mark.parametrize(
    ("learners", "keep"),
    [(WILD, "last"), (WILD, et.Best("valid/loss")), (PARTS, "ema"), (PARTS, "last")],
)
def test_what_the_phase_keeps_is_loaded(learners, keep, tmp_path):
    phase = et.Phase("fit", learners, DATA, et.Epochs(9), et.Validation(DATA), keep=keep)
    trainer = et.Trainer(noisy(), phase, run=tmp_path / "a", progress=False)
    model = trainer.fit().model
    assert same(bits(loaded(tmp_path / "a")), bits(model))
    assert same(bits(trainer.load()), bits(model))


def test_a_model_in_a_rescue_is_loaded(tmp_path):
    class Cut(et.Callback):
        def on_steps_end(self, event, metrics):
            if event.phase == "mend" and event.step > 40:
                raise RuntimeError("no power")

    mend = et.Phase("mend", learner(), DATA, et.Epochs(20))
    rescue = et.Rescue(mend, when=lambda validations: True)
    phase = et.Phase("fit", learner(), DATA, et.Epochs(3), et.Validation(DATA), rescue=rescue)
    saving = et.ModelCheckpoint(every=et.Steps(10))
    trainer = et.Trainer(
        noisy(), phase, callbacks=[saving, Cut()], run=tmp_path / "a", progress=False
    )
    with pytest.raises(RuntimeError, match="no power"):
        trainer.fit()
    with Run.open(tmp_path / "a", lock=False) as run:
        assert [visit["phase"] for visit in run.checkpoints.restore().meta["visits"]] == [
            "fit", "mend"
        ]  # fmt: skip
    assert same(bits(loaded(tmp_path / "a")), bits(trainer.load()))


def test_another_model_is_refused(tmp_path):
    phase = et.Phase("fit", learner(), DATA, et.Steps(1))
    et.Trainer(noisy(), phase, run=tmp_path / "a", progress=False).fit()
    with pytest.raises(et.ResumeError, match=r"layers\[0\].weight.*float32\[16, 2\]"):
        loaded(tmp_path / "a", width=16)
