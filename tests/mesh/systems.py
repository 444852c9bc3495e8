"""The trainings of the systems on several devices; run by `test_mesh_systems.py`."""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from trained import assert_equal, fit

import etude as et
from etude.optim import OptimizerConfig
from etude.systems.attractor import (
    AttractorTrainer,
    FullyConnected,
    LayerMap,
    OutputLayer,
    PrototypeData,
    RecurrentDiscrete,
    SequentialOrchestrator,
    SequentialState,
    local_updates,
)
from etude.systems.born_machine import BornMachine, Embedding
from etude.systems.born_machine.criteria import JointNLL
from etude.systems.generative import VAE, Bound, Gaussian
from etude.systems.gravitational_waves.encoder import CPCEncoder
from etude.systems.gravitational_waves.spiking import LIF, FastSigmoid, SNNClassifier, SpikeBridge
from etude.systems.gravitational_waves.training import UnifiedTrainer
from etude.systems.machinery import CNN1D, PINNTrainer, SommerfeldConsistencyLoss

STEPS = et.Steps(50)
RNG = np.random.default_rng(0)


def double(tree):
    """A model whose constants are in double precision as well."""
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x,
        tree,
    )


def in_both_precisions(make, counts):
    """`make()` gives a model and its phase, of the precision that holds when it is called."""
    # Some constants of the models are in single precision whatever the rest is in.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        model, phase = make()
        assert_equal(double(model), phase, counts)
    assert_equal(*make(), counts, 1e-3)


@dataclass(frozen=True)
class Relaxed(FastSigmoid):
    """Spikes without a threshold, so that rounding cannot turn into a spike more or less."""

    def __call__(self, v):
        return jax.nn.sigmoid(self.slope * jnp.asarray(v))


def waves(surrogate):
    def make():
        keys = jax.random.split(jax.random.key(0))
        encoder = CPCEncoder(8, filters=2, channels=8, key=keys[0])
        bridge = SpikeBridge(0.1, "multi_threshold", levels=2, learnable=True, surrogate=surrogate)
        neurons = partial(LIF, surrogate=surrogate)
        sizes = bridge.channels(8), 2, (8,)
        last = SNNClassifier(*sizes, dt=encoder.dt, neurons=neurons, key=keys[1])
        windows = RNG.normal(size=(80, 1024, 2)) * (1.0 + np.arange(80)[:, None, None] % 2)
        windows, labels = jnp.asarray(windows), jnp.arange(80) % 2
        unified = UnifiedTrainer(encoder, bridge, last, batch_size=16)
        [joint] = unified.phases(windows, labels, (0, 0, 10))
        return unified.network, joint

    return make


def check_gravitational_waves_relaxed(counts):
    in_both_precisions(waves(Relaxed()), counts)


def check_gravitational_waves_with_spikes(counts):
    """The losses of the first steps: later, rounding has turned into other spikes."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        model, joint = waves(FastSigmoid())()
        model = double(model)
        losses = [fit(model, joint, n).history["train/loss"].value[:10] for n in (None, *counts)]
    for found in losses[1:]:
        np.testing.assert_allclose(found, losses[0], rtol=1e-5)


def attractor():
    a, b, c = jax.random.split(jax.random.key(0), 3)
    rows = {
        1: {0: FullyConnected(20, 40, 1.0, 1.0, a), 1: RecurrentDiscrete(40, 1.0, 1.0, b)},
        2: {1: FullyConnected(40, 3, 1.0, 1.0, c), 2: OutputLayer()},
    }
    network = SequentialOrchestrator(LayerMap.from_dict(rows))
    data = PrototypeData(jax.random.key(1), 16, 3, 20, 160, p_noise=0.1).source()
    arrays = [jnp.asarray(x, jnp.result_type(float)) for x in data.arrays]
    data = et.ArrayData(tuple(arrays), 16)

    def update(network, state, batch):
        return local_updates(network, SequentialState((20, 40, 3), batch[0].dtype), batch)

    trainer = AttractorTrainer(
        network, (20, 40, 3), data, STEPS, optimizer=optax.adam(5e-3), update=update
    )
    return network, trainer.phases()


def check_attractor_local_rule(counts):
    in_both_precisions(attractor, counts)


def born():
    machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 5), 4)
    loss = JointNLL()
    x, y = RNG.uniform(-0.9, 0.9, (100, 2)), np.arange(100) % 2
    data = et.ArrayData((jnp.asarray(x), y), 24)
    learner = et.Learner(et.Gradient(loss), optax.adam(1e-2))
    return machine, et.Phase("nll", learner, data, STEPS)


def check_born_nll(counts):
    in_both_precisions(born, counts)


def vae():
    model = VAE.create(jax.random.key(0), (5,), latent=2, hidden=(16,), likelihood=Gaussian(0.5))
    learner = et.Learner(et.Gradient(Bound()), optax.adam(1e-2))
    x = np.random.default_rng(1).normal(size=(100, 5))
    return model, et.Phase("elbo", learner, et.ArrayData(jnp.asarray(x), 24), STEPS)


def check_vae(counts):
    in_both_precisions(vae, counts)


def pinn():
    rng = np.random.default_rng(2)
    data = {
        "signal": rng.normal(size=(40, 32)),
        "label": (np.arange(40) % 2).astype(np.int32),
        "sommerfeld": np.full(40, 0.01),
    }
    data = {name: np.asarray(jnp.asarray(value)) for name, value in data.items()}
    network = CNN1D(2, (3,), key=jax.random.key(0), kernels=3, strides=4, hidden=(), dropout=0.0)
    trainer = PINNTrainer(
        network, data, data, lambda_freq=0.0, lambda_temporal=0.0,
        sommerfeld=SommerfeldConsistencyLoss([0, 1]), batch_size=8,
        optimizer=OptimizerConfig(optimizer_type="adam", learning_rate=0.02),
    )  # fmt: skip
    return network, trainer.phases(10)


def check_pinn(counts):
    in_both_precisions(pinn, counts)
