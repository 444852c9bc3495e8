"""Trained machines on the command line: class probabilities of files, and samples."""

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from etude.cli.main import main
from etude.data import load
from etude.errors import ConfigurationError
from etude.systems.born_machine import BornMachine, Embedding
from etude.systems.born_machine.recipes import (
    capacity,
    digits_recipe,
    pictures,
    plane,
)
from etude.systems.born_machine.recipes.verbs import DrawOptions
from etude.verbs import PredictOptions

CONFIG = pictures.PictureConfig(methods=("sweep",), repeats=1, sweeps=2, bond_dim=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of `born/digits`, its table, its machine, and the test split."""
    run = tmp_path_factory.mktemp("born") / "run"
    table = digits_recipe.run(CONFIG, run, progress=False, say=lambda line: None)
    return run, table, digits_recipe.load(CONFIG, run), load("digits").test


def use(capsys, *arguments):
    code = main([str(word) for word in arguments])
    return code, *capsys.readouterr()


def rows_of(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_predictions_of_the_test_split_are_those_of_the_evaluation(trained, tmp_path, capsys):
    run, table, machine, test = trained
    np.save(tmp_path / "x.npy", test.x)
    assert use(capsys, "predict", run, tmp_path / "x.npy", "--out", tmp_path)[0] == 0
    rows = rows_of(tmp_path / "predictions.csv")
    right = np.mean([int(row["class"]) == y for row, y in zip(rows, test.y, strict=True)])
    assert right > 0.5
    assert f"{right:.4f}" == table.rows[0][1]
    assert list(rows[0]) == ["input", "class", *"0123456789"]
    assert rows[1]["input"].endswith("x.npy:2")
    got = [[float(row[str(c)]) for c in range(10)] for row in rows]
    wanted = machine.class_probabilities(2 * jnp.asarray(test.x).reshape(-1, 64) - 1)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_pictures_in_a_folder_are_predicted_by_their_grey_levels(trained, tmp_path, capsys):
    run, _, machine, test = trained
    levels = np.round(255 * test.x[:12]).astype(np.uint8)
    for name, values in (("dark", levels), ("light", 255 - levels)):
        (tmp_path / name).mkdir()
        for number, picture in enumerate(values):
            Image.fromarray(picture).save(tmp_path / name / f"{number:02}.png")
    wanted = machine.predict(2 * jnp.asarray(levels / np.float32(255)).reshape(-1, 64) - 1)
    for arguments in (("dark",), ("light", "--invert")):
        code, shown, _ = use(capsys, "predict", run, tmp_path / arguments[0], *arguments[1:])
        assert code == 0
        assert [int(line.split()[1]) for line in shown.splitlines()[2:]] == wanted.tolist()


def test_samples_are_those_of_the_machine(trained, tmp_path, capsys):
    run, _, machine, _ = trained
    assert use(capsys, "sample", run, "--count", 6, "--label", 3, "--seed", 5)[0] == 0
    found = np.load(run / "samples/samples.npy")
    wanted = machine.generator.sample(jax.random.key(5), 3, 6)
    np.testing.assert_allclose(found.reshape(6, 64), (np.asarray(wanted) + 1) / 2, atol=1e-6)
    assert found.shape == (6, 8, 8)
    assert [row["class"] for row in rows_of(run / "samples/samples.csv")] == ["3"] * 6
    grid = np.asarray(Image.open(run / "samples/samples.png").convert("L"))
    assert grid.shape[1] * 2 == grid.shape[0] * 3  # three pictures in each of two rows
    assert grid.std() > 20

    assert use(capsys, "sample", run, "--count", 9, "--out", tmp_path)[0] == 0
    labels = [int(row["class"]) for row in rows_of(tmp_path / "samples.csv")]
    first, second = jax.random.split(jax.random.key(0))
    of_classes = jax.random.categorical(first, machine.class_log_partition(), shape=(9,))
    assert labels == of_classes.tolist()
    wanted = machine.generator.sample(second, jnp.array(labels))
    found = np.load(tmp_path / "samples.npy").reshape(9, 64)
    np.testing.assert_allclose(found, (np.asarray(wanted) + 1) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((2, 9)), "x.npy:1 has the shape (9,); the model takes (8, 8)"),
        (np.full((1, 64), 16.0), "the inputs hold values from 16 to 16"),
        (np.full((1, 64), -0.5), "intensities from 0 to 1"),
    ],
)
def test_what_a_machine_cannot_take_is_refused(trained, tmp_path, capsys, values, words):
    np.save(tmp_path / "x.npy", values)
    code, _, err = use(capsys, "predict", trained[0], tmp_path / "x.npy")
    assert code == 1
    assert words in err


def test_labels_out_of_range_are_refused(trained, tmp_path, capsys):
    code, _, err = use(capsys, "sample", trained[0], "--label", 10, "--out", tmp_path / "new")
    assert code == 2
    assert "--label 10: the machine has 10 classes" in err
    assert not (tmp_path / "new").exists()
    code, _, err = use(capsys, "sample", trained[0], "--label", -1)
    assert code == 2
    assert "greater than or equal to 0" in err


def test_a_machine_of_the_plane_knows_the_data_of_its_trial(tmp_path):
    """Each trial has its own data, so its own range; spirals are 15 times as wide as moons."""
    config = plane.Plane(data=("moons_small", "spirals_small"), methods=("classifier",), repeats=1)
    machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 4), 3)
    spans = []
    for trial in plane.trials(config):
        handler = plane.data(trial.config.data[0])
        x, y = handler.splits["test"]
        raw = handler.scaling.inverse(x)
        spans.append(np.ptp(raw))
        np.savetxt(tmp_path / "x.csv", raw, delimiter=",", fmt="%.9g")
        table = plane.predict(machine, trial.config, [f"{tmp_path}/x.csv"], PredictOptions())
        classes = np.array([int(row[1]) for row in table.rows])
        assert classes.tolist() == machine.predict(jnp.asarray(x)).tolist()
        found = np.mean(classes == y)
        assert found == pytest.approx(float(jnp.mean(machine.predict(jnp.asarray(x)) == y)))

        options = DrawOptions(count=40, seed=2, label=1, out=tmp_path / trial.name)
        plane.draw_points(machine, trial.config, [], options)
        points = np.load(tmp_path / trial.name / "samples.npy")
        drawn = machine.generator.sample(jax.random.key(2), 1, 40)
        np.testing.assert_allclose(points, handler.scaling.inverse(np.asarray(drawn)), rtol=1e-5)
        assert (tmp_path / trial.name / "samples.png").stat().st_size > 1000
    assert spans[1] > 5 * spans[0]


def test_samples_of_one_class_are_binary_pictures(tmp_path):
    config = capacity.Capacity(data="digits", pictures=100)
    machine = BornMachine.create(jax.random.key(0), 64, 1, Embedding("onehot", 2), 3)
    options = DrawOptions(count=5, label=0, out=tmp_path)
    table = capacity.draw_pictures(machine, config, [], options)
    assert [row[0] for row in table.rows] == ["0", "1", "2", "3", "4"]
    found = np.load(tmp_path / "samples.npy")
    assert found.shape == (5, 8, 8)
    wanted = np.asarray(machine.generator.sample(jax.random.key(0), 0, 5))
    assert found.reshape(5, 64).tolist() == wanted.tolist()
    with pytest.raises(ConfigurationError, match="has 1 classes"):
        capacity.draw_pictures(machine, config, [], DrawOptions(label=1))
