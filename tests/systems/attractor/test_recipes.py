"""The recipes at a small size, and the losses and updates that they compare."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etude.engine.rule import Context, Gradient
from etude.errors import DataError
from etude.systems.attractor import (
    SequentialState,
    Uncoupled,
    back_propagation,
    contrastive_updates,
    settle,
    softmax_cross_entropy,
    standardised,
)
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.recipes import Pictures, digits_recipe, prototypes_recipe
from etude.systems.attractor.recipes.pictures import pictures
from etude.systems.attractor.recipes.prototypes import Prototypes, prototypes
from etude.systems.attractor.recipes.shared import measured

sys.path.insert(0, str(Path(__file__).parent))
from networks import partition, tutorial_network

SIZES = (10, 20, 3)


def batch(key, sizes=SIZES, samples=6):
    x = jax.random.normal(key, (samples, sizes[0]))
    return x, 2.0 * jnp.eye(sizes[2])[jnp.arange(samples) % sizes[2]] - 1


def test_the_shipped_network_is_the_tutorial_s():
    ours, theirs = (make(jax.random.key(4)) for make in (one_hidden_layer, tutorial_network))
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_back_propagation_is_truncated_and_straight_through():
    """Against the chain rule of the last sweep, written out."""
    network = one_hidden_layer(jax.random.key(0), SIZES)
    x, y = batch(jax.random.key(1))
    trainable, rest = partition(network)
    context = Context.at(jax.random.key(0))
    proposal = Gradient(back_propagation(SIZES, 4))(trainable, rest, (x, y), context)
    s = settle(network, SequentialState(SIZES).init(x), 4, messages="forward")[1]
    layers = network.layers
    w_in, w_out = np.array(layers[1, 0].weight), np.array(layers[2, 1].weight)
    x, y, s = (np.array(a) for a in (x, y, s))
    field = x @ w_in + s @ np.array(layers[1, 1].coupling)
    scores = s @ w_out
    odds = np.exp(scores)
    error = (odds / odds.sum(1, keepdims=True) - (y + 1) / 2) / len(x)
    hidden = error @ w_out.T / (1 + np.abs(field)) ** 2
    gradients = proposal.updates.layers
    np.testing.assert_allclose(gradients[2, 1].weight, s.T @ error, atol=1e-6)
    np.testing.assert_allclose(gradients[1, 0].weight, x.T @ hidden, atol=1e-6)
    couplings = s.T @ hidden
    np.fill_diagonal(couplings, 0)
    np.testing.assert_allclose(gradients[1, 1].weight, couplings, atol=1e-6)


def test_teaching_by_small_errors_of_graded_units_is_the_gradient():
    """Free minus clamped activity tends to the derivative as the teaching tends to zero."""
    back = 1e-3
    network = one_hidden_layer(
        jax.random.key(0), SIZES, back=back, j_d=0.0, coupled=False, symmetric=True,
        response=jnp.tanh,
    )  # fmt: skip
    x, y = batch(jax.random.key(1))
    layers = network.layers

    def loss(w_in, w_out):
        scores = jnp.tanh(x @ w_in) @ w_out
        return optax.losses.softmax_cross_entropy(scores, (y + 1) / 2).mean()

    wanted = jax.grad(loss, argnums=(0, 1))(layers[1, 0].weight, layers[2, 1].weight)
    with jax.enable_x64(True):
        wide, x, y = jax.tree.map(lambda a: a.astype(float), (network, x, y))
        updates, _ = contrastive_updates(
            wide, SequentialState(SIZES, x.dtype), (x, y), readout=softmax_cross_entropy,
            clamped_steps=1, free_steps=1, teaching="error",
        )  # fmt: skip
    strength = back * np.sqrt(SIZES[1] / SIZES[2])
    np.testing.assert_allclose(
        np.asarray(updates.layers[1, 0].weight) / strength, wanted[0], atol=1e-4
    )
    np.testing.assert_allclose(updates.layers[2, 1].weight, wanted[1], atol=1e-5)
    # The backward connection gets the transpose of what the read-out gets.
    np.testing.assert_allclose(updates.layers[1, 2].weight, wanted[1].T, atol=1e-2)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_strength_of_the_label_is_the_size_of_its_message(symmetric):
    """Whatever the sizes, and however the backward connection starts."""
    for units, classes in ((4000, 4), (1000, 40)):
        network = one_hidden_layer(
            jax.random.key(0), (5, units, classes), back=0.3, symmetric=symmetric, coupled=False
        )
        labels = 2 * jnp.eye(classes) - 1
        message = np.asarray(network.layers[1, 2](labels))
        assert np.sqrt(np.mean(message**2)) == pytest.approx(0.3, rel=0.1)


def test_uncoupled_units_are_coupled_ones_with_couplings_of_zero():
    network, bare = (
        one_hidden_layer(jax.random.key(0), SIZES, j_d=2.0, coupled=c) for c in (True, False)
    )
    couplings = network.layers[1, 1].weight
    zeros = jax.tree.map(lambda a: jnp.zeros_like(a) if a is couplings else a, network)
    x, y = batch(jax.random.key(1))
    start = SequentialState(SIZES).init(x, y)
    np.testing.assert_array_equal(settle(zeros, start, 5)[1], settle(bare, start, 5)[1])
    with pytest.raises(ValueError, match="j_d has shape"):
        Uncoupled(4, jnp.ones(3))


def test_accuracy_and_confusion_count_every_sample():
    scores = jax.random.normal(jax.random.key(0), (4500, 3))
    label = jax.random.randint(jax.random.key(1), (4500,), 0, 3)
    found = measured(lambda x: x, scores, 2 * jax.nn.one_hot(label, 3) - 1)
    assert found["accuracy"] == pytest.approx(np.mean(scores.argmax(1) == label))
    assert np.sum(found["confusion_matrix"]) == 4500
    assert np.trace(found["confusion_matrix"]) == round(found["accuracy"] * 4500)


def test_pictures_are_standardised_by_the_training_images_only():
    x, y = pictures("digits")["train"]
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
    assert jnp.mean(x**2).item() == pytest.approx(1, abs=1e-4)
    assert np.all(np.sort(np.asarray(y), axis=1) == [-1.0] * 9 + [1.0])


@pytest.mark.slow
def test_samples_of_ones_own_go_into_the_recipe(tmp_path):
    """By their files, as they go into every recipe: `--data own.npz --root FOLDER`."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (y[:, None] + rng.uniform(size=(90, 6))) / 4  # classes that a linear rule tells apart
    np.savez(tmp_path / "own.npz", x=x, y=y)
    config = Pictures(
        data="own.npz", root=str(tmp_path), repeats=1, epochs=10, hidden=40, batch=10, rate=0.02,
        methods=("local rule",),
    )  # fmt: skip
    table = digits_recipe.run(config, tmp_path / "run", progress=False, say=lambda line: None)
    assert float(table.rows[0][1]) > 0.7
    assert np.shape(pictures("own.npz", str(tmp_path))["test"][1]) == (18, 3)


def test_what_cannot_be_standardised():
    x, y = np.ones((4, 2)), np.arange(4) % 2
    with pytest.raises(ValueError, match="are alike"):
        standardised({"train": (x, y)})
    with pytest.raises(DataError, match="Label -1 of sample 0"):
        standardised({"train": (x, y - 1)})


def test_held_out_prototypes_are_of_the_same_prototypes_and_fresh():
    data, splits = prototypes(0)
    rows = [set(map(bytes, np.asarray(x, np.int8))) for x, _ in splits.values()]
    assert len(set.union(*rows)) == sum(map(len, rows)) == 7000
    x, y = splits["test"]
    right = jnp.argmax(data.nearest_prototype(x), -1) == jnp.argmax(y, -1)
    assert jnp.mean(right.astype(float)).item() > 0.98


@pytest.mark.slow
def test_the_prototypes_recipe_reaches_its_goals(tmp_path):
    config = Prototypes(repeats=3)
    table = prototypes_recipe.run(config, tmp_path / "run", progress=False)
    found = {method: float(cell.split()[0]) for method, cell in table.rows}
    assert found["no couplings"] >= 0.975
    assert found["the tutorial"] >= 0.945
    assert found["the tutorial"] > found["read-out alone"] + 0.05


@pytest.mark.slow
def test_the_digits_recipe_runs_and_draws(tmp_path):
    config = Pictures(repeats=1, epochs=2, uncoupled_hidden=100, hidden=60)
    table = digits_recipe.run(config, tmp_path / "run", progress=False)
    assert [float(cell) > 0.6 for _, cell in table.rows] == [True] * len(config.methods)
    drawn = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert drawn >= {"overlap", "flips", "stability", "weights"}
