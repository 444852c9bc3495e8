"""The demo recipe at a size at which it runs in seconds."""

import pytest

from etude.systems.gravitational_waves.recipes.demo import Demo, evaluate, recipe, trainer

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
    result = trainer(config, progress=False).fit()
    assert [name for name, _ in result.reasons] == ["cpc", "snn", "joint"]
    judged = evaluate(config, result.model, "test")
    low, high = judged["auc_interval"]
    assert low <= judged["auc"] <= high
    # Untrained networks and the splits' own signals: the columns of the table are all there.
    assert set(recipe.columns.values()) <= set(judged)
