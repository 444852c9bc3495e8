"""The recipe at a small size, its data and its losses."""

import csv
import html
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.datasets import load_digits

from etude.catalogue import offered_recipe, recipe_names
from etude.cli.main import main
from etude.engine.rule import Context
from etude.recipe import Configuration
from etude.systems.quickstart import Digits, Network, augment, info_nce, recipe
from etude.systems.quickstart.data import digits
from etude.systems.quickstart.losses import TEMPERATURE


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_called_as_it_is_offered_and_documents_every_field(name):
    found = offered_recipe(name)
    assert found.name == name
    assert found.summary.endswith(".")
    for field, info in found.configuration.model_fields.items():
        assert info.description, f"{field} has no description"
        assert not info.is_required(), f"{field} has no default"
    assert isinstance(found.configuration(), Configuration)


ENTRY = re.compile(r"@(\w+)\{(\w+),\n(.*)\n\}", re.DOTALL)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_says_its_ceiling_its_sources_and_the_licence_of_its_data(name):
    found = offered_recipe(name)
    assert found.ceiling.endswith(".")
    assert found.data_licence.endswith(".")
    keys = []
    for citation in found.citations:
        match = ENTRY.fullmatch(citation)
        assert match, citation
        keys.append(match[2])
        fields = re.findall(r"^  (\w+) = \{", match[3], re.MULTILINE)
        assert {"author", "title", "year"} <= set(fields), citation
        assert citation.count("{") == citation.count("}")
        assert "\\\\" not in citation  # a single backslash, as BibTeX has it
    assert keys
    assert len(set(keys)) == len(keys)


def test_ceiling_and_licence_are_shown(capsys):
    assert main(["train", recipe.name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert recipe.ceiling in shown
    assert recipe.data_licence in shown


def test_the_splits_are_disjoint_and_together_all_of_the_digits():
    rows = np.concatenate([split.images for split in digits().values()])
    images = load_digits().data.astype(np.float32) / 16
    assert sorted(map(tuple, rows)) == sorted(map(tuple, images))


@given(count=st.integers(50, 980), seed=st.integers(0, 100))
def test_labelled_images_are_training_images_with_classes_in_proportion(count, seed):
    train = digits()["train"]
    subset = train.labelled(count, seed)
    known = {(image.tobytes(), label) for image, label in zip(train.images, train.labels)}  # noqa: B905
    assert {(i.tobytes(), y) for i, y in zip(subset.images, subset.labels)} <= known  # noqa: B905
    share = np.bincount(subset.labels, minlength=10) / count
    assert np.abs(share - np.bincount(train.labels) / 1149).max() <= 1 / count + 1e-9


def test_info_nce_is_the_sum_over_pairs_of_its_equation():
    model, key = Network(jax.random.key(0), 8, 8), jax.random.key(3)
    images = jnp.asarray(digits()["train"].images[:5])
    first, second = jax.random.split(key)
    views = jnp.concatenate([augment(images, first), augment(images, second)])
    z = np.asarray(model.project(views), np.float64)
    similarity = np.exp(z @ z.T / TEMPERATURE)
    terms = [
        -np.log(similarity[i, (i + 5) % 10] / sum(similarity[i, k] for k in range(10) if k != i))
        for i in range(10)
    ]
    got = info_nce(model, images, Context.at(key))
    np.testing.assert_allclose(got, np.mean(terms), rtol=1e-5)


def test_augmentation_moves_images_only_a_little():
    images = jnp.asarray(digits()["train"].images[:200])
    moved = augment(images, jax.random.key(1))
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(images, moved, strict=True)]
    assert np.mean(correlation) > 0.85
    assert not np.array_equal(images, moved)


def test_the_recipe_at_a_small_size(tmp_path):
    config = Digits(repeats=1, pretrain_epochs=4, head_steps=150, tune_steps=150, width=32)
    lines = []
    table = recipe.run(config, tmp_path / "run", progress=False, say=lines.append)
    assert [row[0] for row in table.rows] == ["pre-trained", "from scratch"]
    assert all(float(row[1]) > 0.3 for row in table.rows)
    assert lines[-1].endswith("report.html")
    for name in ("embedding", "confusion-test", "loss"):
        assert (tmp_path / f"run/figures/{name}.png").exists()
    # Loaded models give the numbers that training gave.
    assert recipe.evaluate(config, tmp_path / "run", "test") == table
    page = (tmp_path / "run/report.html").read_text()
    for text in (recipe.ceiling, recipe.data_licence, *recipe.citations):
        assert html.escape(text) in page
    # The other command finds the same.
    test = digits()["test"]
    np.save(tmp_path / "x.npy", test.images.reshape(-1, 8, 8))
    assert main(["predict", f"{tmp_path}/run", f"{tmp_path}/x.npy", "--out", f"{tmp_path}"]) == 0
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([int(row["class"]) == y for row, y in zip(rows, test.labels, strict=True)])
    assert f"{right:.4f}" == table.rows[0][1]
    logits = np.asarray(recipe.load(config, tmp_path / "run").logits(jnp.asarray(test.images)))
    odds = np.exp(logits)
    got = [[float(row[str(c)]) for c in range(10)] for row in rows]
    np.testing.assert_allclose(got, odds / odds.sum(1, keepdims=True), atol=1e-5)


@pytest.mark.slow
def test_pretraining_helps_where_labels_are_few(tmp_path):
    table = recipe.run(Digits(), tmp_path / "run", progress=False, say=lambda line: None)
    pretrained, scratch = (float(row[1].split()[0]) for row in table.rows)
    assert pretrained > scratch + 0.01
