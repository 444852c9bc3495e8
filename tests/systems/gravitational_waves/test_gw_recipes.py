"""The comparisons at sizes at which they run in seconds; the demo has a file of its own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.recipes import (
    Encodings,
    Exchange,
    Labels,
    Search,
    encodings_recipe,
    joint_recipe,
    labels_recipe,
    search_recipe,
    twin_recipe,
)
from etude.systems.gravitational_waves.recipes.labels import labelled
from etude.systems.gravitational_waves.recipes.shared import seeded
from etude.systems.gravitational_waves.spiking import SpikeBridge

TINY: dict[str, Any] = {
    "signals": 64,
    "filters": 2,
    "latent": 4,
    "context": 2,
    "hidden": (3,),
    "batch": 32,
    "cpc_epochs": 1,
    "repeats": 1,
}
JUDGED: dict[str, Any] = {**TINY, "test_windows": 512}
SHORT: dict[str, Any] = {"snn_epochs": 1, "joint_epochs": 1}


def test_fewer_labels_are_the_first_of_more_and_come_again():
    config, other = seeded(Labels(**TINY, windows=64), 2)
    every, labels = labelled(config, 1.0)
    few, known = labelled(config, 0.1)
    assert every.shape == few.shape == (64, 2048, 2)
    assert 0 < labels.sum() < 64
    np.testing.assert_array_equal(few, every[jnp.arange(64) % 6])
    np.testing.assert_array_equal(known, labels[jnp.arange(64) % 6])
    assert not np.array_equal(labelled(other, 1.0)[0], every)


def test_the_methods_of_labels_differ_in_what_learns():
    config = Labels(**TINY, windows=64, shares=(0.5,), epochs=1)
    trials = {trial.method: trial for trial in labels_recipe.trials(config)}
    phases = {
        method: [phase.name for phase in trial.build(progress=False).settings.phases]
        for method, trial in trials.items()
    }
    assert phases == {
        "CPC, fine-tuned, 50%": ["cpc", "joint"],
        "CPC, frozen, 50%": ["cpc", "snn"],
        "supervised, 50%": ["joint"],
        "random, frozen, 50%": ["snn"],
    }


@pytest.mark.slow
def test_a_labels_trial_is_trained_and_judged():
    config = Labels(**JUDGED, windows=64, shares=(0.5,), epochs=1)
    trial = labels_recipe.trials(config)[0]
    judged = trial.evaluate(trial.build(progress=False).fit().model, "test")
    assert set(labels_recipe.columns.values()) <= set(judged)
    low, high = judged["auc_interval"]
    assert low <= judged["auc"] <= high
    # About half of 512 windows are noise: one false alarm among them is the best they resolve.
    assert 1 / 300 < judged["resolution"] < 1 / 200


@pytest.mark.parametrize(
    ("recipe", "config", "methods"),
    [
        (twin_recipe, Exchange(**TINY, **SHORT), 2),
        (encodings_recipe, Encodings(**TINY, epochs=1), 6),
        (joint_recipe, Exchange(**TINY, **SHORT), 6),
        (search_recipe, Search(**TINY, **SHORT, taps=96), 2),
    ],
)
def test_every_trial_builds_what_its_skeleton_says(recipe, config, methods):
    trials = recipe.trials(config)
    assert len({trial.method for trial in trials}) == methods
    assert len({trial.name for trial in trials}) == len(trials) == methods
    for trial in trials:
        settings = trial.build(progress=False, config={}).settings
        assert settings.phases
        built = eqx.filter_eval_shape(lambda model: model, settings.model)
        assert eqx.tree_equal(eqx.filter_eval_shape(trial.skeleton), built)


def test_the_encoder_of_a_frozen_trial_gets_all_its_steps_elsewhere():
    config = Exchange(**TINY, snn_epochs=2, joint_epochs=3)
    lengths = {
        trial.method: {
            phase.name: phase.length.count for phase in trial.build(progress=False).settings.phases
        }
        for trial in joint_recipe.trials(config)
    }
    assert lengths["CPC, joint"] == {"cpc": 1, "snn": 2, "joint": 3}
    assert lengths["no CPC, frozen"] == {"snn": 5}


@pytest.mark.parametrize("encoding", ["multi_threshold", "rate"])
def test_operations_are_counted(encoding):
    """`rate` draws its spikes, so that judging needs a key; nothing is trained here."""
    config = Encodings(**JUDGED, encodings=(encoding,), steps=2)
    trial = encodings_recipe.trials(config)[0]
    judged = trial.evaluate(trial.build(progress=False).settings.model, "test")
    assert set(encodings_recipe.columns.values()) <= set(judged)
    channels, steps = (16, 48) if encoding == "multi_threshold" else (4, 96)
    assert 0 < judged["operations"] < steps * (channels * 3 + 3 * 2) / 1000


def test_a_twin_sends_a_number_in_every_step():
    config = Exchange(**JUDGED, **SHORT)
    trial = twin_recipe.trials(config)[-1]
    judged = trial.evaluate(trial.build(progress=False).settings.model, "test")
    assert judged["messages"] == 64.0
    assert judged["operations"] == pytest.approx(48 * (16 * 3 + 3 * 2) / 1000)


def test_the_statistic_of_a_bridge_that_draws_is_of_the_window_alone():
    """Detection ranks windows: a statistic that changes with its neighbours would rank nothing."""
    bridge = SpikeBridge(0.2, "rate", steps=4)
    network = SpikingNetwork.build(8, (4,), bridge=bridge, filters=2, key=jax.random.key(1))
    windows = jax.random.normal(jax.random.key(0), (3, 1024, 2))
    statistic = jax.jit(lambda windows: network.statistic(windows))
    np.testing.assert_allclose(
        statistic(windows)[::-1], statistic(windows[::-1]), rtol=1e-5, atol=1e-6
    )
    assert network.spikes(windows[0]).shape[1] == 4


def test_filters_that_have_no_signals_to_start_from_are_refused():
    with pytest.raises(ValidationError, match="raise signals, lower filters"):
        Labels(filters=65, signals=64)
    Labels(filters=65, signals=64, chirps=False)
