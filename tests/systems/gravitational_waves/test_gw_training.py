"""The three phases: what moves in each, what the weights of the losses do, and resuming."""

import os
import signal
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.callbacks import Callback
from etude.data.arrays import ArrayData
from etude.engine.phase import Validation
from etude.engine.rule import Context
from etude.errors import ConfigurationError
from etude.losses import focal_loss
from etude.run import History
from etude.systems.gravitational_waves.encoder import CPCEncoder
from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.spiking import SNNClassifier, SpikeBridge
from etude.systems.gravitational_waves.training import UnifiedTrainer, create_composite_loss
from etude.trainer import Trainer
from etude.training.signals import Interrupted

pytestmark = pytest.mark.usefixtures("listening")

SAMPLES = 1024  # half a second: 16 steps


def parts(seed=0, **encoder):
    keys = jax.random.split(jax.random.key(seed))
    first = CPCEncoder(8, filters=2, channels=8, key=keys[0], **encoder)
    bridge = SpikeBridge(0.1, "multi_threshold", levels=2, learnable=True)
    last = SNNClassifier(bridge.channels(8), 2, (8,), dt=first.dt, key=keys[1])
    return first, bridge, last


def unified(**options):
    return UnifiedTrainer(*parts(), **{"batch_size": 8, "progress": False, **options})


@pytest.fixture(scope="module")
def batch():
    labels = jnp.arange(16) % 2
    windows = jax.random.normal(jax.random.key(3), (16, SAMPLES, 2))
    return windows * (1.0 + labels[:, None, None].astype(jnp.float32)), labels


def same(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return [np.array_equal(a, b) for a, b in leaves if eqx.is_array(a)]


def arrays(model):
    return eqx.filter(model, eqx.is_inexact_array)


def test_the_order_of_the_windows_is_chosen(batch):
    for shuffle in ("exact", False):
        for phase in unified(shuffle=shuffle).phases(*batch):
            assert phase.data.shuffle == shuffle


def test_each_phase_moves_its_own_part(batch):
    trainer = unified()
    before = trainer.network
    for length, moved, still in (
        ((1, 0, 0), ("encoder", "predictors"), ("bridge", "classifier")),
        ((0, 2, 0), ("bridge", "classifier"), ("encoder", "predictors")),
        ((0, 0, 1), ("encoder", "predictors", "bridge", "classifier"), ()),
    ):
        after = trainer.train(*batch, num_epochs=length).model
        for name in still:
            assert all(same(getattr(before, name), getattr(after, name))), name
        for name in moved:
            assert not all(same(arrays(getattr(before, name)), arrays(getattr(after, name)))), name
    assert all(same(before, trainer.network))  # the model passed in is unharmed


@pytest.mark.slow
def test_phases_start_where_the_one_before_ended(batch):
    trainer = unified()
    phases = trainer.phases(*batch, num_epochs=1)
    assert [phase.name for phase in phases] == ["cpc", "snn", "joint"]
    model = trainer.network
    for phase in phases:  # randomness and data order follow from the name of a phase and the seed
        model = Trainer(model, phase, progress=False).fit().model
    assert all(same(model, trainer.train(*batch, num_epochs=1).model))


def test_the_weight_of_the_contrastive_loss_changes_the_gradient(batch):
    network = unified().network

    def gradient(weight):
        loss = create_composite_loss(weight, 1.0)
        context = Context.at(jax.random.key(0))
        return eqx.filter_jit(eqx.filter_grad(lambda m: loss(m, batch, context)[0]))(network)

    none, one, two = (gradient(weight) for weight in (0.0, 1.0, 2.0))
    assert all(jax.tree.leaves(jax.tree.map(lambda g: not g.any(), none.predictors)))
    kernels = [g.encoder.join.kernel for g in (none, one, two)]
    assert jnp.abs(kernels[1] - kernels[0]).max() > 1e-4
    np.testing.assert_allclose(
        kernels[2] - kernels[1], kernels[1] - kernels[0], rtol=1e-2, atol=1e-5
    )
    # The spikes let the gradient of the classification through to the first layer.
    assert jnp.abs(none.encoder.filters.kernels).max() > 1e-7


def test_the_total_is_the_weighted_sum(batch):
    network = unified().network
    context = Context.at(jax.random.key(0))
    total, metrics = eqx.filter_jit(create_composite_loss(0.3, 0.7))(network, batch, context)
    expected = 0.3 * metrics["cpc_loss"] + 0.7 * metrics["classification_loss"]
    assert total == pytest.approx(float(expected), rel=1e-6)
    assert jnp.log(2) / 4 < metrics["classification_loss"] < 4.0


@pytest.mark.slow
def test_learns_to_tell_loud_windows_from_quiet_ones(batch):
    windows, labels = batch
    held = jax.random.normal(jax.random.key(9), (16, SAMPLES, 2)) * (
        1.0 + labels[:, None, None].astype(jnp.float32)
    )
    valid = Validation(ArrayData((held, labels), 16), create_composite_loss(0.0, 1.0))
    result = unified(learning_rate=1e-2, validation=valid).train(windows, labels, (1, 20, 20))
    assert result.metrics["valid/accuracy"] == 1.0
    logits = result.model(held)
    np.testing.assert_allclose(result.model.statistic(held), logits[:, 1] - logits[:, 0])


@pytest.mark.slow
def test_options_of_the_engine(batch):
    windows, _ = batch

    def augment(signals, key):
        noisy = signals + jax.random.normal(key, signals.shape)
        return noisy, jnp.arange(len(signals)) % 2

    trainer = unified(
        augment=augment,
        mixup_alpha=0.2,
        criterion=partial(focal_loss, gamma=2.0),
        accumulate=2,
        hard_negatives=4,
        learning_rate=(1e-3, 2e-3, 1e-4),
        cpc_weight=0.5,
    )
    result = trainer.train(windows, num_epochs=1, key=jax.random.key(5))
    losses = [r["train/loss"] for r in result.history if "train/loss" in r]
    assert np.isfinite(losses).all()
    assert len(losses) == 6


class Terminate(Callback):
    """Asks for the end of the process once, as a scheduler does, in the middle of a phase."""

    def __init__(self, phase):
        self.phase, self.done = phase, False

    def next_step(self, event):
        return 3 if event.phase == self.phase and event.step < 3 else None

    def on_steps_end(self, event, metrics):
        if event.phase == self.phase and event.step == 3 and not self.done:
            self.done = True
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "phase", ["snn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cpc", "joint"))]
)
def test_resumes_inside_a_phase_to_the_same_bits(batch, tmp_path, phase):
    epochs = {"cpc": (2, 1, 0), "snn": (1, 2, 0), "joint": (0, 1, 2)}[phase]
    lengths = {"num_epochs": epochs, "key": jax.random.key(1)}
    straight = unified().train(*batch, **lengths)
    options = {"run": tmp_path / "run"}
    with pytest.raises(Interrupted):
        unified(callbacks=[Terminate(phase)], **options).train(*batch, **lengths)
    steps = [r["phase"] for r in History.open(tmp_path / "run") if "train/loss" in r]
    assert steps.count(phase) == 3
    again = unified(**options).trainer(*batch, **lengths).resume()
    assert all(same(straight.model, again.model))


@pytest.mark.parametrize(
    ("problem", "options", "arguments"),
    [
        ("expected one rate", {"learning_rate": (1e-3, 1e-3)}, {}),
        ("none below 0", {"cpc_weight": -1.0}, {}),
        ("expected one length", {}, {"num_epochs": (1, 1)}),
        ("one above", {}, {"num_epochs": 0}),
        ("there are no labels", {}, {"train_labels": None}),
        ("seed=3 was given", {"seed": 3}, {"key": jax.random.key(0)}),
    ],
)
def test_refuses_contradictions(batch, problem, options, arguments):
    windows, labels = batch
    with pytest.raises(ConfigurationError, match=problem):
        unified(**options).trainer(windows, **{"train_labels": labels, **arguments})


def test_a_seed_is_that_of_the_trainer(batch):
    assert unified(seed=3).trainer(*batch).settings.seed == 3
    key = jax.random.key(5)
    assert unified().trainer(*batch, key=key).settings.seed == int(jax.random.bits(key) >> 1)


def test_an_assembled_network_fits_for_every_encoding():
    windows = jax.random.normal(jax.random.key(0), (2, SAMPLES, 2))
    for encoding in ("temporal_contrast", "latency", "rate"):
        network = SpikingNetwork.build(
            8, (4,), bridge=SpikeBridge(0.2, encoding, steps=2), filters=2, key=jax.random.key(1)
        )
        logits = network(windows, key=jax.random.key(2))
        assert logits.shape == (2, 2)
    assert network.classifier.readout.neurons.dt == pytest.approx(network.encoder.dt / 2)
