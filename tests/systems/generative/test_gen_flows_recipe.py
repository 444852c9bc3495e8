"""`generative/flows` from its table to its samples."""

import jax
import numpy as np
import pytest

import etude as et
from etude.systems.generative.densities import DENSITIES
from etude.systems.generative.recipes import flows_recipe
from etude.systems.generative.recipes.flows import (
    FlowsConfig,
    PointOptions,
    build,
    evaluate,
    fresh,
    sample,
    split_of,
)

CONFIG = FlowsConfig(
    methods=("spline",), density="gaussian", repeats=1, steps=200, layers=2, hidden=(16,)
)


@pytest.mark.slow
def test_a_gaussian_is_found_and_never_beaten(tmp_path):
    run = tmp_path / "run"
    table = flows_recipe.run(CONFIG, run, progress=False, say=lambda line: None)
    nll, error, entropy, divergence, its_error = map(float, table.rows[0][1:])
    assert entropy == pytest.approx(DENSITIES["gaussian"].entropy, abs=1e-3)
    assert entropy - 3 * error < nll < entropy + 0.05
    assert -3 * its_error < divergence < 0.04
    # A mean over the samples says less of the divergence than one of ratios.
    assert its_error < error / 3
    assert (run / "figures/gaussian.png").exists()
    model = flows_recipe.load(CONFIG, run)
    options = PointOptions(count=5, seed=4, temperature=0.5, out=tmp_path / "samples")
    assert len(sample(model, CONFIG, [], options).rows) == 5
    wanted = model.sample(jax.random.key(4), 5, temperature=0.5)
    np.testing.assert_array_equal(np.load(tmp_path / "samples/samples.npy"), wanted)
    found = evaluate(CONFIG, 0, model, "valid")
    assert found["nll"] == pytest.approx(nll, abs=0.1)
    assert found["nll"] != nll


def test_each_step_has_samples_of_its_own_and_splits_differ():
    model = build(CONFIG, "spline", 0, progress=False).settings.model
    losses = [
        float(fresh(DENSITIES["gaussian"], 8, model, None, et.Context.at(jax.random.key(n)))[0])
        for n in (0, 1)
    ]
    assert losses[0] != losses[1]
    places = [(name, seed) for name in ("train", "valid", "test") for seed in (0, 1)]
    assert len({float(split_of(CONFIG, seed, name)[0, 0]) for name, seed in places}) == 6


def test_bins_are_for_splines():
    with pytest.raises(ValueError, match="bins is for spline"):
        FlowsConfig(methods=("maf",), bins=5)
    models = [
        build(CONFIG.model_copy(update={"bins": bins}), "spline", 0, progress=False).settings.model
        for bins in (5, 8)
    ]
    assert [m.layers.elementwise.bins for m in models] == [5, 8]


@pytest.mark.slow
def test_two_moons_within_a_fiftieth_of_a_nat():
    config = FlowsConfig(methods=("spline",), repeats=1)
    model = build(config, "spline", 0, progress=False).fit().model
    found = evaluate(config, 0, model, "test")
    assert -3 * found["divergence error"] < found["divergence"] < 0.02
    assert abs(found["nll"] - found["entropy"] - found["divergence"]) < 3 * found["error"]
