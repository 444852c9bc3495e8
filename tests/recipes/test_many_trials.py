"""An experiment of many trials must not fill the memory of its process with programs."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

import etude as et
from etude.recipe import Configuration, Recipe, Trial

MAPS = Path("/proc/self/maps")  # a process may have 65,530; every compiled function takes some


@partial(jax.jit, static_argnums=0)
def measured(judge: object, x):
    """Compiled for each judge anew, as methods of evaluators are; JAX's cache keeps them all."""
    return jnp.sort(jax.random.normal(jax.random.key(0), (50,)) * x).sum()


class Many(Configuration):
    """No choices of its own."""


def trials(config: Many) -> list[Trial]:
    data = et.ArrayData(jnp.ones(8), batch_size=8)

    def trial(seed):
        def loss(w, batch, context):
            return jnp.mean((w - batch) ** 2)

        def build(**options):
            phase = et.Phase(
                "fit", et.Learner(et.Gradient(loss), optax.sgd(0.5)), data, et.Steps(5)
            )
            return et.Trainer(jnp.zeros(()), phase, seed=seed, **options)

        def evaluate(model, split):
            measured(object(), model)
            return {"maps": len(MAPS.read_text().splitlines())}

        return Trial("plain", seed, build, evaluate)

    return [trial(seed) for seed in range(6)]


@pytest.mark.skipif(not MAPS.exists(), reason="memory maps are counted by Linux")
def test_programs_of_a_finished_trial_are_given_back(tmp_path):
    recipe = Recipe("many", "Fits a constant many times.", Many, trials, {"maps": "maps"})
    seen = []
    recipe.run(Many(), tmp_path / "many", progress=False, say=seen.append)
    maps = [float(line.split()[-1]) for line in seen if line.startswith("test maps")]
    assert len(maps) == 6
    assert max(maps[2:]) <= maps[1] + 20, maps


def test_two_trials_of_one_name_are_refused_before_anything_is_trained(tmp_path):
    def twice(config):
        return [*trials(config)[:2], trials(config)[1]]

    recipe = Recipe("twice", "Counts a seed two times.", Many, twice, {"maps": "maps"})
    with pytest.raises(et.ConfigurationError, match=r"trials of the name plain-1; .* Give it once"):
        recipe.run(Many(), tmp_path / "twice", progress=False)
    assert not (tmp_path / "twice").exists()


def test_a_column_that_is_not_measured_and_a_split_that_is_none_are_named(tmp_path):
    recipe = Recipe("typed", "Has a typing error.", Many, trials, {"test maps": "mpas"})
    with pytest.raises(et.ConfigurationError, match=r"column 'test maps' .* Did you mean 'maps'"):
        recipe.run(Many(), tmp_path / "typed", progress=False, say=lambda line: None)
    with pytest.raises(et.ConfigurationError, match=r"no split 'tets'. Did you mean 'test'"):
        recipe.evaluate(Many(), tmp_path / "typed", "tets")
