"""Every trainer: a run that was broken off ends in the same bits, and the best is handed back."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.optim import OptimizerConfig
from etude.systems.machinery import (
    CNN1D,
    CNNTrainer,
    DistillationTrainer,
    MixedPrecisionTrainer,
    MultiTFRTrainer,
    PINNTrainer,
    ProgressiveResizingTrainer,
    SommerfeldConsistencyLoss,
    SpectrogramCNN,
    SpectrogramTrainer,
)

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(12, 32)).astype(np.float32)
Y = (np.arange(12) % 2).astype(np.int32)
TALL = X.reshape(12, 8, 4)
KNOWN = {"signal": X, "label": Y, "sommerfeld": np.full(12, 0.01, np.float32)}
FAST = OptimizerConfig(optimizer_type="adam", learning_rate=0.02)
COMMON = {"optimizer": FAST, "progress": False}
SMALL = {**COMMON, "batch_size": 4}


def network(channels=3, dropout=0.3):
    return CNN1D(2, (channels,), kernels=3, strides=4, hidden=(), dropout=dropout, key=KEY)


def picture():
    return SpectrogramCNN(2, (3,), key=KEY)


def several(mode):
    loaders = {"stft": (TALL, Y), "cwt": (X.reshape(12, 4, 8), Y)}
    half = mode == "together"
    return MultiTFRTrainer(
        picture(), loaders, loaders, mode=mode, time_mask_param=2, freq_mask_param=2,
        mixed_precision=half, **SMALL,
    )  # fmt: skip


PAIR = {"teacher": eqx.nn.inference_mode(network(8)), "student": network(2)}
#: name -> the trainer, what is trained, and the arguments of its phases
MAKERS = {
    "cnn": lambda: (CNNTrainer(network(), (X, Y), (X, Y), **SMALL), network(), (3,)),
    "half": lambda: (
        MixedPrecisionTrainer(network(), (X, Y), val_loader=(X, Y), **SMALL), network(), (3,)
    ),
    "spectrogram": lambda: (
        SpectrogramTrainer(picture(), (TALL, Y), (TALL, Y), time_mask_param=2, **SMALL),
        picture(),
        (3,),
    ),
    "pinn": lambda: (
        PINNTrainer(
            network(), KNOWN, KNOWN, lambda_freq=0.0, lambda_temporal=0.0,
            sommerfeld=SommerfeldConsistencyLoss([0, 1]), **SMALL,
        ),
        network(),
        (3,),
    ),
    "together": lambda: (several("together"), picture(), (3,)),
    "turns": lambda: (several("turns"), picture(), (3,)),
    "distillation": lambda: (
        DistillationTrainer(network(8), network(2), **SMALL), PAIR, ((X, Y), (X, Y), 3)
    ),
    "progressive": lambda: (
        ProgressiveResizingTrainer(network(), schedule=[(16, 1), (32, 2)], **COMMON),
        network(),
        ((X, Y), (X, Y), 4),
    ),
}  # fmt: skip


class PowerCut(et.Callback):
    """Breaks off once, at the end of the second epoch of the run."""

    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, event):
        self.epochs += 1
        if self.epochs == 2:
            raise RuntimeError("power cut")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("cnn", "pinn", "together") else pytest.mark.slow)
        for name in MAKERS
    ],
)
def test_a_run_that_was_broken_off_ends_in_the_same_bits(name, tmp_path):
    named, model, arguments = MAKERS[name]()
    phases = named.phases(*arguments)
    straight = named.settings.trainer(model, phases).fit()
    cut = replace(named.settings, checkpoint_dir=tmp_path / "run", callbacks=[PowerCut()])
    trainer = cut.trainer(model, phases)
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.fit()
    resumed = trainer.resume()
    assert same(straight.model, resumed.model)
    assert not same(straight.model, model)
    for column in straight.history.names:
        values = [one.history[column].value for one in (straight, resumed)]
        np.testing.assert_array_equal(*values, err_msg=column)
    losses = [
        record["valid/loss"]
        for record in straight.history
        if "valid/loss" in record and record["phase"] == phases[-1].name
    ]
    assert straight.metrics["valid/loss"] == pytest.approx(min(losses), rel=1e-6)


def same(one, other):
    arrays = (jax.tree.leaves(eqx.filter(model, eqx.is_array)) for model in (one, other))
    return all(bool(jnp.all(a == b)) for a, b in zip(*arrays, strict=True))
