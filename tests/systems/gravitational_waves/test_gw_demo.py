"""The demo recipe at a size at which it runs in seconds."""

import equinox as eqx
import jax.numpy as jnp
import optax
import pytest

import etude as et
from etude.systems.gravitational_waves.recipes import shared
from etude.systems.gravitational_waves.recipes.demo import Demo, recipe

TINY = {
    "signals": 64,
    "filters": 2,
    "latent": 8,
    "context": 4,
    "hidden": (8,),
    "batch": 32,
    "cpc_epochs": 1,
    "snn_epochs": 1,
    "joint_epochs": 1,
    "test_windows": 1024,
}


@pytest.mark.slow
def test_the_demo_trains_and_is_judged():
    config = Demo(**TINY)
    result = shared.staged(config, progress=False).fit()
    assert [name for name, _ in result.reasons] == ["cpc", "snn", "joint"]
    judged = shared.evaluate(config, result.model, "test")
    low, high = judged["auc_interval"]
    assert low <= judged["auc"] <= high
    # Untrained networks and the splits' own signals: the columns of the table are all there.
    assert set(recipe.columns.values()) <= set(judged)


def test_a_run_is_loaded_without_signals(tmp_path, monkeypatch):
    """What `etude detect` does first; a bank can take minutes."""

    def none(*_, **__):
        raise AssertionError("signals are made")

    monkeypatch.setattr(shared, "signal_bank", none)
    shared.bank.cache_clear()
    config = Demo(**TINY)
    (trial,) = recipe.trials(config)
    with pytest.raises(AssertionError, match="signals are made"):
        trial.build(progress=False)

    def loss(network, batch, context):
        return network.classifier.readout.weight.sum() + batch.sum()

    learner = et.Learner(et.Gradient(loss), optax.sgd(1.0), where=lambda n: n.classifier)
    phase = et.Phase("joint", learner, et.ArrayData(jnp.zeros(2), 2), et.Steps(1))
    network = shared.untrained(config, chirps=False)
    trained = et.Trainer(network, phase, run=tmp_path / "run", progress=False).fit().model
    assert eqx.tree_equal(trial.load(tmp_path / "run"), trained)
    assert not eqx.tree_equal(network, trained)
