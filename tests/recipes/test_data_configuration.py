"""Every field that recipes on samples from files share changes something."""

import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

import etude as et
from etude.recipe import DataConfiguration, Recipe, Trial
from fields import Change, check_field, fields_of


def first_sample(config):
    return config.load().train.x[0].tolist()


def table(config):
    """What a recipe reports of trials by the seed of its configuration."""

    def build(**options):
        phase = et.Phase("fit", et.Learner(draw), None, et.Steps(1))
        return et.Trainer(np.zeros((), np.float32), phase, seed=config.seed, **options)

    def draw(trainable, rest, batch, context):
        return et.Proposal(model=jax.random.normal(context.key))

    def evaluate(model, split):
        return {"value": float(model)}

    trials = [Trial("one", config.seed, build, evaluate)]
    recipe = Recipe("draw", "Draws.", DataConfiguration, lambda _: trials, {"value": "value"})
    with tempfile.TemporaryDirectory() as folder:
        found = recipe.run(config, Path(folder) / "run", progress=False, say=lambda line: None)
    return found.rows


CHANGES = {
    "seed": Change(0, 1, table),
    "data": Change("one.npz", "two.npz", first_sample),
    "root": Change("a", "b", first_sample, {"data": "one.npz"}),
}


@pytest.mark.parametrize("field", fields_of(DataConfiguration, CHANGES))
def test_every_field_changes_something(field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y = np.arange(20) % 2
    for number, name in enumerate(["one.npz", "two.npz", "a/one.npz", "b/one.npz"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.savez(tmp_path / name, x=np.full((20, 3), number / 4, np.float32), y=y)
    check_field(DataConfiguration, field, CHANGES)


def test_a_root_that_nothing_is_read_from_is_refused():
    with pytest.raises(et.DataError, match=r"nothing is read from the root x\."):
        DataConfiguration(root="x").load()
