"""Trained networks on the command line: classes of files, standardised as in the training."""

import csv

import equinox as eqx
import jax
import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from etude.cli.main import main
from etude.data import load
from etude.errors import DataError
from etude.predictions import PictureOptions
from etude.systems.attractor import PrototypeData
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.recipes import Pictures, Prototypes, digits_recipe
from etude.systems.attractor.recipes.pictures import picture_trials, predict_pictures
from etude.systems.attractor.recipes.prototypes import predict_prototypes
from etude.systems.attractor.recipes.shared import measured, predicted
from etude.verbs import PredictOptions

CONFIG = Pictures(methods=("local rule",), repeats=1, epochs=3, hidden=40, rate=0.02)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of `attractor/digits`, its table, and the test split."""
    run = tmp_path_factory.mktemp("attractor") / "run"
    table = digits_recipe.run(CONFIG, run, progress=False, say=lambda line: None)
    return run, table, load("digits").test


def standardised_by_hand(x):
    train = load("digits", valid=1 / 6).train.x.reshape(-1, 64).astype(np.float64)
    mean = train.mean(0)
    return (x.reshape(len(x), -1) - mean) / np.sqrt(np.mean((train - mean) ** 2))


def test_predictions_of_the_test_split_are_those_of_the_evaluation(trained, tmp_path):
    run, table, test = trained
    np.save(tmp_path / "x.npy", test.x)
    assert main(["predict", str(run), f"{tmp_path}/x.npy", "--out", str(tmp_path)]) == 0
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([int(line["class"]) == y for line, y in zip(rows, test.y, strict=True)])
    assert right > 0.5
    assert f"{right:.4f}" == table.rows[0][1]
    x = jax.numpy.asarray(standardised_by_hand(test.x), "float32")
    scores = np.asarray(predicted(digits_recipe.load(CONFIG, run), x), np.float64)
    got = np.array([[float(line[str(c)]) for c in range(10)] for line in rows])
    # Rounding may turn a unit whose field is near zero.
    close = np.abs(got - softmax(scores, axis=1)).max(1) < 1e-3
    assert close.mean() > 0.97


def test_the_perceptron_beside_it_is_standardised_as_well(tmp_path):
    test = load("digits").test
    np.save(tmp_path / "x.npy", test.x)
    model = eqx.nn.MLP(64, 10, 20, 1, key=jax.random.key(0))
    table = predict_pictures(model, CONFIG, [f"{tmp_path}/x.npy"], PictureOptions())
    (trial,) = picture_trials(CONFIG)
    right = np.mean([int(row[1]) == y for row, y in zip(table.rows, test.y, strict=True)])
    assert right == pytest.approx(trial.evaluate(model, "test")["accuracy"])
    scores = jax.vmap(model)(jax.numpy.asarray(standardised_by_hand(test.x), "float32"))
    got = [[float(cell) for cell in row[2:]] for row in table.rows]
    np.testing.assert_allclose(got, softmax(np.asarray(scores), axis=1), atol=1e-5)


def test_one_picture_and_wrong_sizes(trained, tmp_path, capsys):
    run, _, test = trained
    grey = np.round(255 * test.x[:1]).astype(np.uint8)
    Image.fromarray(grey[0]).save(tmp_path / "one.png")
    assert main(["predict", str(run), f"{tmp_path}/one.png"]) == 0
    x = jax.numpy.asarray(standardised_by_hand(grey / 255), "float32")
    found = predicted(digits_recipe.load(CONFIG, run), x).argmax()
    assert f"{tmp_path}/one.png  {found}" in capsys.readouterr().out
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "large.png")
    assert main(["predict", str(run), f"{tmp_path}/large.png"]) == 1
    assert "large.png has the shape (9, 8); the model takes (8, 8)" in capsys.readouterr().err


def test_prototypes_are_given_the_scores_of_their_network(tmp_path):
    network = one_hidden_layer(jax.random.key(0), (100, 40, 10))
    data = PrototypeData(jax.random.key(1), num_data=600)
    x, y = data.x, data.y
    np.save(tmp_path / "x.npy", x)
    table = predict_prototypes(network, Prototypes(), [f"{tmp_path}/x.npy"], PredictOptions())
    assert table.head[:3] == ("input", "class", "score 0")
    scores = np.array([[float(cell) for cell in row[2:]] for row in table.rows])
    np.testing.assert_allclose(scores, predicted(network, x), atol=1e-4)
    classes = [f"score {k}" for k in np.asarray(y).argmax(1)]
    right = np.mean([row[1] == label for row, label in zip(table.rows, classes, strict=True)])
    assert right == pytest.approx(measured(network, x, y)["accuracy"])
    np.save(tmp_path / "short.npy", x[:, :99])
    with pytest.raises(DataError, match="the model takes"):
        predict_prototypes(network, Prototypes(), [f"{tmp_path}/short.npy"], PredictOptions())
