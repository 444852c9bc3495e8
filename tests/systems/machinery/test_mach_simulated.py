"""The recipes on simulated records: their data, their controls, and that each learns."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

import etude as et
from etude.recipe import Outcome
from etude.systems.machinery.recipes import (
    distillation_recipe,
    multi_tfr_recipe,
    pinn_recipe,
    progressive_recipe,
    simulated_recipe,
    spectrogram_recipe,
)
from etude.systems.machinery.recipes.simulated import Simulated
from etude.systems.machinery.recipes.simulated_data import Records, noisier, parts
from etude.systems.machinery.recipes.simulated_distillation import Distillation
from etude.systems.machinery.recipes.simulated_networks import (
    MODELS,
    TOLD,
    Sight,
    network,
    scores_of,
    small_cnn,
)
from etude.systems.machinery.recipes.simulated_physics import Pinn, draw_physics, expected, term
from etude.systems.machinery.recipes.simulated_pictures import MultiTFR, Spectrogram
from etude.systems.machinery.recipes.simulated_progressive import Progressive, cost_of

#: Seconds to simulate and to train, not minutes.
TOY: dict[str, Any] = {"repeats": 1, "per_class": 8, "duration": 1.0, "steps": 3, "batch": 16}
SHORT: dict[str, Any] = {**TOY, "window": 0.5}


def only(recipe, config):
    (trial,) = recipe.trials(config)
    return trial


def test_no_record_is_in_two_parts_and_every_class_in_each():
    data = parts(Records(per_class=8, duration=1.0, window=0.5), 0)
    records = [set(np.unique(part.groups.recording)) for part in data[:3]]
    assert len(set.union(*records)) == sum(map(len, records)) == 88
    assert all(len(np.unique(part.labels)) == 11 for part in data[:3])
    assert all(part.signals.shape[1] == 3200 for part in data[:3])


def test_another_seed_draws_other_records_and_another_split():
    one, other = (parts(Records(per_class=8, duration=1.0, window=1.0), seed) for seed in (0, 1))
    assert not np.intersect1d(one.test.signals[:, 0], other.test.signals[:, 0]).size
    assert not np.array_equal(one.test.groups.recording, other.test.groups.recording)


def test_few_labels_are_so_many_records_of_each_class():
    config = Records(per_class=8, duration=1.0, window=0.5, labels=2)
    data, whole = parts(config, 0), parts(config.model_copy(update={"labels": None}), 0)
    for label in range(11):
        records = np.unique(data.train.metadata["record"][data.train.labels == label])
        assert len(records) == 2
    assert len(data.train) == 44 < len(whole.train)
    assert np.array_equal(data.test.signals, whole.test.signals)
    with pytest.raises(et.ConfigurationError, match="'healthy'"):
        parts(config.model_copy(update={"labels": 6}), 0)


@pytest.mark.parametrize("snr", [10.0, 0.0])
def test_the_noise_has_the_stated_ratio(snr):
    windows = parts(Records(per_class=8, duration=1.0, window=1.0), 0).test
    noise = noisier(windows, snr, 0).signals - windows.signals
    ratio = np.mean(windows.signals**2, axis=1) / np.mean(noise**2, axis=1)
    np.testing.assert_allclose(10 * np.log10(ratio), snr, atol=0.2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 0.33}, "window is 0.33 s"),
        ({"window": 6.0}, "longer than a record"),
        ({"window": 0.05, "rate": 6401.0}, "320.05 samples"),
        ({"rate": 3000.0}, "6000"),
    ],
    ids=["no block", "long", "samples", "rate"],
)
def test_records_that_cannot_be_cut_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        Records(**settings)


def test_what_is_seen_is_normalised_by_the_training_alone():
    data = parts(Records(per_class=8, duration=1.0, window=0.5), 0)
    for model in ("features", "spectrogram"):
        see = Sight(model, data.train)
        seen = see(data.train)["signal"]
        np.testing.assert_allclose(seen.mean(), 0, atol=1e-4)
        louder = replace(data.test, signals=3 * data.test.signals)
        alone = see(louder[:1])["signal"]
        np.testing.assert_allclose(see(louder)["signal"][:1], alone, atol=2e-3)


def test_the_physics_term_knows_the_classes_and_its_controls_do_not():
    """Over the windows of the training: the true class costs less than the others, by its lines."""
    train = parts(Records(per_class=8, duration=1.0, window=1.0), 0).train
    gap = {}
    for kind in ("lines", "scrambled", "random"):
        loss = term(kind, train, 0)
        found = np.asarray(
            loss.penalties(
                jax.numpy.asarray(train.signals),
                jax.numpy.asarray(train.metadata["speed"]),
                classes=11,
            )
        )
        own = found[np.arange(len(train)), train.labels]
        gap[kind] = np.mean((found.sum(1) - own) / 10 - own)
    assert gap["lines"] > 0.4
    assert gap["lines"] > gap["scrambled"] + 0.2
    assert gap["lines"] > gap["random"] + 0.2


@pytest.mark.parametrize("physics", [("lines", "nothing"), ("lines", "random"), ("nothing",)])
def test_what_physics_gains_is_drawn_where_there_is_none_to_compare_with(physics, tmp_path):
    config = Pinn(repeats=2, physics=physics)
    names = ("window_accuracy", "windows_10dB", "windows_5dB", "windows_0dB")
    outcomes = [
        Outcome(trial, dict.fromkeys(names, 0.5), lambda: None)
        for trial in pinn_recipe.trials(config)
    ]
    draw_physics(config, outcomes, tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == ({"snr.png", "gain.png"} if physics == ("lines", "nothing") else {"snr.png"})


@pytest.mark.parametrize("seed", range(3))
def test_scrambled_lines_are_those_of_other_classes(seed):
    lines, scrambled = expected("lines", seed), expected("scrambled", seed)
    assert sorted(map(str, scrambled.values())) == sorted(map(str, lines.values()))
    assert all(scrambled[label] != lines[label] for label in lines)
    assert expected("random", seed) != expected("random", seed + 1)


def test_the_schedule_costs_what_it_says():
    config = Progressive()
    stages = {method: config.schedule(method, 1056) for method in config.methods}
    whole, growing, same = (cost_of(stages[method]) for method in config.methods)
    assert growing / whole <= 0.6
    assert same / whole == pytest.approx(growing / whole, abs=0.02)
    assert [length for length, _ in stages["progressive"]] == [3200, 6400, 12800]


@pytest.mark.parametrize(
    "settings",
    [{"lengths": (1.0, 2.0)}, {"lengths": (1.0, 0.5, 2.0)}, {"lengths": (0.5, 1.0, 3.0)}],
    ids=["number", "order", "end"],
)
def test_stages_that_do_not_fit_are_refused(settings):
    with pytest.raises(ValueError, match="Progressive"):
        Progressive(**settings)


def test_a_recipe_measures_draws_and_says_the_level(tmp_path):
    config = Simulated(**{**SHORT, "steps": 60, "learning_rate": 0.02}, model=("features",))
    table = simulated_recipe.run(config, tmp_path / "run", progress=False, say=lambda line: None)
    assert table.head[1] == "test windows, recording-wise"
    (row,) = table.rows
    assert 0.4 < float(row[1]) <= 1
    assert float(row[table.head.index("forest, windows")]) > 0.5
    assert (tmp_path / "run" / "figures" / "snr.png").stat().st_size > 5000
    assert simulated_recipe.evaluate(config, tmp_path / "run", "test") == table
    assert (
        simulated_recipe.evaluate(config, tmp_path / "run", "valid").head[1][:13] == "valid windows"
    )


TRIALS = {
    "pinn": (pinn_recipe, Pinn(**TOY, window=1.0, physics=("lines",))),
    "spectrogram": (spectrogram_recipe, Spectrogram(**SHORT, masks=("masked",))),
    "multi-tfr": (
        multi_tfr_recipe,
        MultiTFR(**SHORT, methods=("turns",), pictures=("spectrogram", "wigner-ville")),
    ),
    "distillation": (distillation_recipe, Distillation(**SHORT, methods=("taught",))),
    "progressive": (
        progressive_recipe,
        Progressive(
            **TOY, window=1.0, lengths=(0.5, 1.0), shares=(0.5, 0.5), methods=("progressive",)
        ),
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "pinn" else pytest.mark.slow) for name in TRIALS],
)
def test_a_trial_trains_and_is_measured(name):
    recipe, config = TRIALS[name]
    trial = only(recipe, config)
    result = trial.build(progress=False).fit()
    shape = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")]  # noqa: E731
    assert shape(trial.skeleton()) == shape(result.model)
    found = trial.evaluate(result.model, "test")
    assert set(recipe.columns.values()) <= set(found)
    assert found["confusion_matrix"].sum() == len(parts(config, config.seed).test)
    if name == "distillation":
        assert found["compression"] >= 10
        # The teacher is what the first phase made of it, and infers.
        assert [phase for phase, _ in result.reasons] == ["teach", "distil"]
        assert result.model["teacher"].trunk.layers[0].norm.inference


@pytest.mark.parametrize("model", MODELS)
def test_networks_of_full_size_take_whole_records(model):
    """Of 102,400 samples; by shapes alone, nothing is computed."""
    shown = {"features": (2, 36), "spectrogram": (2, 48, 100)}.get(model, (2, 102400))
    seen = jax.ShapeDtypeStruct(shown, np.float32)
    told = {name: jax.ShapeDtypeStruct((2,), np.float32) for name in TOLD}

    def logits(x, known):
        made = network(model, 11, "full", key=jax.random.key(0))
        return made(x, known) if model == "hybrid" else made(x)

    assert jax.eval_shape(logits, seen, told).shape == (2, 11)


def test_scores_are_those_of_the_network_in_whatever_parts():
    data = parts(Records(per_class=8, duration=1.0, window=0.5), 0)
    network = small_cnn(11, key=jax.random.key(0))
    wanted = np.asarray(network(data.test.signals))
    np.testing.assert_allclose(scores_of(network, data.test.arrays()), wanted, atol=1e-4)
