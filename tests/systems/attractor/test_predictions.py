"""Trained networks on the command line: classes of files, standardised as in the training."""

import csv

import jax
import numpy as np
import pytest
from PIL import Image

from etude.cli.main import main
from etude.data import load
from etude.engine.errors import DataError
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.recipes import Pictures, Prototypes, digits_recipe
from etude.systems.attractor.recipes.prototypes import predict_prototypes, prototypes
from etude.systems.attractor.recipes.shared import measured, predicted
from etude.verbs import PredictOptions

CONFIG = Pictures(methods=("local rule", "perceptron"), repeats=1, epochs=2, hidden=30)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of `attractor/digits` with two methods, its table, and the test split."""
    run = tmp_path_factory.mktemp("attractor") / "run"
    digits_recipe.run(CONFIG, run, progress=False, say=lambda line: None)
    return run, digits_recipe.evaluate(CONFIG, run, "test"), load("digits").test


def standardised_by_hand(x):
    train = load("digits", valid=1 / 6).train.x.reshape(-1, 64).astype(np.float64)
    mean = train.mean(0)
    return (x.reshape(len(x), -1) - mean) / np.sqrt(np.mean((train - mean) ** 2))


@pytest.mark.parametrize(("row", "place"), [(0, ""), (1, "trials/perceptron-0")])
def test_predictions_of_the_test_split_are_those_of_the_evaluation(trained, tmp_path, row, place):
    run, table, test = trained
    np.save(tmp_path / "x.npy", test.x)
    assert main(["predict", str(run / place), f"{tmp_path}/x.npy", "--out", str(tmp_path)]) == 0
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([int(line["class"]) == y for line, y in zip(rows, test.y, strict=True)])
    assert right > 0.5
    assert f"{right:.4f}" == table.rows[row][1]
    model = digits_recipe.load(CONFIG, run / place)
    x = jax.numpy.asarray(standardised_by_hand(test.x), "float32")
    scores = np.asarray(jax.vmap(model)(x) if row else predicted(model, x), np.float64)
    odds = np.exp(scores - scores.max(1, keepdims=True))
    got = np.array([[float(line[str(c)]) for c in range(10)] for line in rows])
    # Rounding may turn a unit whose field is near zero.
    close = np.abs(got - odds / odds.sum(1, keepdims=True)).max(1) < 1e-3
    assert close.mean() > 0.97


def test_one_picture_and_wrong_sizes(trained, tmp_path, capsys):
    run, _, test = trained
    Image.fromarray(np.round(255 * test.x[0]).astype(np.uint8)).save(tmp_path / "one.png")
    assert main(["predict", str(run), f"{tmp_path}/one.png"]) == 0
    assert f"{tmp_path}/one.png  {test.y[0]}" in capsys.readouterr().out
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "large.png")
    assert main(["predict", str(run), f"{tmp_path}/large.png"]) == 1
    assert "large.png has the shape (9, 8); the model takes (8, 8)" in capsys.readouterr().err


def test_prototypes_are_given_the_scores_of_their_network(tmp_path):
    network = one_hidden_layer(jax.random.key(0), (100, 40, 10))
    x, y = prototypes(0)[1]["test"]
    x, y = x[:700], y[:700]
    np.save(tmp_path / "x.npy", x)
    table = predict_prototypes(network, Prototypes(), [f"{tmp_path}/x.npy"], PredictOptions())
    assert table.head[:3] == ("input", "class", "score 0")
    scores = np.array([[float(cell) for cell in row[2:]] for row in table.rows])
    np.testing.assert_allclose(scores, predicted(network, x), atol=1e-4)
    classes = [f"score {k}" for k in np.asarray(y).argmax(1)]
    right = np.mean([row[1] == label for row, label in zip(table.rows, classes, strict=True)])
    assert right == pytest.approx(measured(network, predicted, x, y)["accuracy"])
    with pytest.raises(DataError, match="the model takes"):
        np.save(tmp_path / "short.npy", x[:, :99])
        predict_prototypes(network, Prototypes(), [f"{tmp_path}/short.npy"], PredictOptions())
