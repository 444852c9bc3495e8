"""Recipes of diffusion and flow matching from their table to their samples."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.cli.main import main
from etude.systems.generative.densities import DENSITIES
from etude.systems.generative.recipes import (
    conditional,
    diffusion_recipe,
    flow_matching_recipe,
    judged,
    pictures_recipe,
    recognition,
)
from etude.systems.generative.recipes.conditional import PicturesConfig
from etude.systems.generative.recipes.diffusion import DiffusionConfig
from etude.systems.generative.recipes.flow_matching import FlowConfig
from etude.systems.generative.recipes.recognition import (
    Classifier,
    features,
    recognised,
    recogniser,
)

SMALL = {"data": ("gaussian",), "repeats": 1, "steps": 300, "hidden": (32,), "ema": 0.9}


def use(capsys, *arguments):
    code = main([str(word) for word in arguments])
    return code, *capsys.readouterr()


def test_a_flow_is_judged_by_its_likelihood(tmp_path, capsys):
    pytest.importorskip("diffrax")
    config = FlowConfig(**SMALL, solved=20)
    run = tmp_path / "run"
    table = flow_matching_recipe.run(config, run, progress=False, say=lambda line: None)
    nll, entropy, distance, floor = map(float, table.rows[0][1:])
    assert entropy == pytest.approx(DENSITIES["gaussian"].entropy, abs=1e-4)
    # Ten thousand points: the mean of -log p has an error of .01.
    assert entropy - 0.03 < nll < entropy + 0.1
    assert 0 < floor < distance < 0.3
    assert (run / "figures/samples-gaussian.png").exists()
    assert use(capsys, "sample", run, "--count", 5, "--solver", "euler", "--solved", 7)[0] == 0
    model = flow_matching_recipe.load(config, run)
    wanted = model.sample(jax.random.key(0), 5, steps=7, solver="euler")
    np.testing.assert_allclose(np.load(run / "samples/samples.npy"), wanted, atol=1e-6)


def test_a_diffusion_is_judged_by_its_samples(tmp_path, capsys):
    config = DiffusionConfig(**SMALL, visited=30, eta=0.0, levels=100)
    run = tmp_path / "run"
    table = diffusion_recipe.run(config, run, progress=False, say=lambda line: None)
    distance, floor = map(float, table.rows[0][1:])
    assert 0 < floor < distance < 0.4
    model = diffusion_recipe.load(config, run)
    for words, options in [
        ((), {"steps": 30, "eta": 0.0}),
        (("--eta", 1, "--visited", 9), {"steps": 9, "eta": 1.0}),
    ]:
        assert use(capsys, "sample", run, "--count", 5, "--overwrite", *words)[0] == 0
        wanted = model.sample(jax.random.key(0), 5, **options)
        np.testing.assert_allclose(np.load(run / "samples/samples.npy"), wanted, atol=1e-6)


@pytest.mark.slow
def test_pictures_of_a_class_are_drawn(tmp_path, capsys, monkeypatch):
    judge = Classifier((8, 8), 10, key=jax.random.key(0))
    monkeypatch.setattr(judged, "recogniser", lambda *_: judge)
    monkeypatch.setattr(conditional, "COUNT", 500)
    config = PicturesConfig(repeats=1, methods=("diffusion",), widths=(8,), epochs=2, solved=5)
    run = tmp_path / "run"
    table = pictures_recipe.run(config, run, progress=False, say=lambda line: None)
    measures = dict(zip(table.head[1:], map(float, table.rows[0][1:]), strict=True))
    # Two passes make noise: far from the data, and near none of them.
    assert measures["Frechet distance"] > 2 * measures["of data"]
    assert measures["recall"] < measures["of the data"]
    assert 0 <= measures["memorised"] <= 1
    assert (run / "figures/samples-diffusion.png").exists()
    code, *_ = use(capsys, "sample", run, "--count", 6, "--label", 3, "--guidance", 2)
    assert code == 0
    found = np.load(run / "samples/samples.npy")
    model = pictures_recipe.load(config, run)
    wanted = model.sample(jax.random.key(0), 6, 3, steps=5, guidance=2.0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert found.shape == (6, 8, 8)
    assert (run / "samples/samples.csv").read_text().splitlines()[1] == "0,3"
    assert use(capsys, "sample", run, "--count", 6, "--guidance", 0, "--overwrite")[0] == 0
    wanted = model.sample(jax.random.key(0), 6, steps=5, guidance=0.0)
    np.testing.assert_allclose(np.load(run / "samples/samples.npy"), wanted, atol=1e-5)
    for words, problem in [
        (("--label", 10), "--label 10: the model has 10 classes"),
        (("--label", 1, "--guidance", 0), "--label has no effect at --guidance 0"),
    ]:
        code, _, said = use(capsys, "sample", run, "--overwrite", *words)
        assert code != 0
        assert problem in said
        assert "Traceback" not in said


@pytest.mark.slow
def test_the_judge_recognises_real_pictures(monkeypatch):
    monkeypatch.setattr(recognition, "STEPS", 400)
    judge = recogniser.__wrapped__("digits", None)
    found = conditional.pictures("digits", None)
    assert recognised(judge, found.test.x, found.test.y) > 0.95
    assert recognised(judge, found.test.x, (found.test.y + 1) % 10) < 0.05
    # The last layer reads the features.
    seen = features(judge, found.test.x)
    scores = seen @ np.asarray(judge.head.weight).T + np.asarray(judge.head.bias)
    np.testing.assert_allclose(scores, judge(jnp.asarray(found.test.x)), rtol=1e-4, atol=1e-4)


def test_every_choice_of_loss_is_another(tmp_path):
    plain, weighted = DiffusionConfig(), DiffusionConfig(min_snr=5.0)
    losses = [diffusion_recipe.trials(c)[0].build(progress=False) for c in (plain, weighted)]
    rules = [trainer.settings.phases[0].turns[0].rule.loss for trainer in losses]
    assert rules[0] != rules[1]
    kinds = [conditional.objective(PicturesConfig(), m) for m in get_args(conditional.Method)]
    assert len(set(kinds)) == len(kinds)
    assert jnp.all(rules[1].weights(losses[1].settings.model) <= 5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: PicturesConfig(methods=("flow-matching",), min_snr=5.0),
            "min_snr is for diffusion",
        ),
        (lambda: PicturesConfig(methods=("flow-matching",), eta=0.0), "eta is for diffusion"),
        (lambda: DiffusionConfig(data=("spiral",)), "expected 'moons'"),
        (lambda: FlowConfig(methods=()), "methods"),
    ],
    ids=["min_snr", "eta", "data", "methods"],
)
def test_choices_that_nothing_reads_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
