"""The seed's trainer on the two devices of the tests trains what it trains on one."""

import jax
import numpy as np
import pytest

import etude as et
from etude.systems import generative as gen

IMAGES = np.asarray(jax.random.bernoulli(jax.random.key(3), 0.4, (22, 6)), np.float32)


def made(kind, **options):
    adam = gen.OptimizerConfig(optimizer_type="adam", learning_rate=1e-2)
    config = gen.TrainingConfig(batch_size=4, num_epochs=2, optimizer=adam)
    model = gen.VAE.create(jax.random.key(0), (6,), latent=2, hidden=(8,))
    return kind(model, config, train_data_loader=IMAGES, val_data_loader=IMAGES, **options)


def close(one, other):
    for a, b in zip(jax.tree.leaves(one.model), jax.tree.leaves(other.model), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_epochs_steps_and_checkpoints(tmp_path):
    sharding = et.Sharded(at_least=64)
    one, two = made(gen.Trainer), made(gen.DistributedTrainer, sharding=sharding)
    assert two.devices == jax.devices()
    for trainer in (one, two):
        trainer.train_epoch()
        trainer.save_checkpoint(tmp_path / type(trainer).__name__)
        trainer.train_step({"images": IMAGES[:4]})
        trainer.train_step({"images": IMAGES[:3]})  # which two devices do not divide
    close(one, two)
    assert jax.tree.leaves(two.model)[0].devices() == set(jax.devices())
    assert one.evaluate(IMAGES, 4) == pytest.approx(two.evaluate(IMAGES, 4), rel=1e-4)
    for trainer in (one, two):
        trainer.load_checkpoint(tmp_path / "Trainer")
        trainer.train_epoch()
    close(one, two)


def test_batches_that_the_devices_do_not_divide_are_refused():
    trainer = made(gen.DistributedTrainer)
    with pytest.raises(et.ConfigurationError, match="batch_size 3 is not divisible by the 2"):
        trainer.train(IMAGES, 1, 3)
