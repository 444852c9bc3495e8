"""`generative/autoregressive` from its table to its samples."""

import jax
import numpy as np
import pytest

import etude as et
from etude.systems.generative import MADE
from etude.systems.generative.recipes import autoregressive_recipe
from etude.systems.generative.recipes.autoregressive import (
    AutoregressiveConfig,
    DrawOptions,
    drawn,
    sample,
    untrained,
)
from etude.systems.generative.recipes.pictures import data

CONFIG = AutoregressiveConfig(
    methods=("conditional-made",), repeats=1, epochs=20, hidden=(64,), rate=3e-3
)


@pytest.mark.slow
def test_pixels_know_of_each_other_and_samples_are_of_the_class(tmp_path):
    run = tmp_path / "run"
    table = autoregressive_recipe.run(CONFIG, run, progress=False, say=lambda line: None)
    nll, error, bits, independent = map(float, table.rows[0][1:])
    assert nll + 3 * error < independent
    assert bits == pytest.approx(nll / 64 / np.log(2), abs=1e-4)
    assert (run / "figures/samples-conditional-made.png").exists()
    model = autoregressive_recipe.load(CONFIG, run)
    options = DrawOptions(count=5, label=3, seed=4, temperature=0.5, out=tmp_path / "samples")
    assert sample(model, CONFIG, [], options).rows[0] == ("0", "3")
    wanted = model.sample(jax.random.key(4), 5, 3, temperature=0.5)
    np.testing.assert_array_equal(np.load(tmp_path / "samples/samples.npy"), wanted)
    with pytest.raises(et.ConfigurationError, match="has 10 classes"):
        drawn(model, 1, 0, 10, 1.0)
    # Many zeros are closer to the mean zero than to the mean one.
    found = data("digits", None).train
    means = np.stack([found.x[found.y == label].mean(0) for label in range(10)])
    labels = np.arange(200) % 10
    x = np.asarray(model.sample(jax.random.key(0), 200, labels))
    nearest = ((x[:, None] - means) ** 2).sum((2, 3)).argmin(1)
    assert (nearest == labels).mean() > 0.3  # by chance, a tenth


def test_a_random_order_is_one_for_each_seed():
    config = AutoregressiveConfig(methods=("made",), order="random", hidden=(4,))
    orders = [untrained(config, "made", seed).net.order for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    plain = untrained(AutoregressiveConfig(hidden=(4,)), "made", 0)
    assert isinstance(plain, MADE)
    assert plain.net.order == tuple(range(64))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": ("made",), "width": 8, "heads": 4}, "width is for transformer.*heads is"),
        ({"methods": ("transformer",), "order": "random"}, "order is for made"),
        ({"methods": ()}, "methods"),
    ],
)
def test_choices_that_no_method_reads_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        AutoregressiveConfig(**settings)
