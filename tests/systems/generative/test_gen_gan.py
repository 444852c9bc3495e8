"""Adversarial networks against closed forms, and who gets a gradient."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import etude as et
from etude.systems import generative
from etude.systems.generative import GAN, Adversarial, SpectralNorm
from etude.systems.generative.adversarial import OBJECTIVES, critic_loss, squared_slopes
from etude.systems.generative.densities import Gaussians
from etude.systems.generative.examples import with_labels
from etude.systems.generative.recipes import gan_recipe
from etude.systems.generative.recipes.gan import (
    METHODS,
    GANConfig,
    PointOptions,
    game,
    nearness,
    untrained,
)

KEY = jax.random.key(0)
CONTEXT = et.Context.at(jax.random.key(1))
# Two places, which the data visit 3 : 1 and the samples 1 : 3.
P, Q = np.array([0.75, 0.25]), np.array([0.25, 0.75])
DIVERGENCE = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)  # Jensen-Shannon


def small(**options):
    return GAN.create(KEY, (2,), **{"latent": 3, "hidden": (8,), **options})


def points(count=6):
    return jax.random.normal(jax.random.key(2), (count, 2))


def any_nonzero(tree):
    return any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))


@pytest.mark.parametrize(
    ("objective", "best", "least"),
    [
        ("non-saturating", np.log(P / Q), 2 * np.log(2) - 2 * DIVERGENCE),
        ("least-squares", P / (P + Q), 0.5 * np.sum(P * Q / (P + Q))),
        ("hinge", np.sign(P - Q), 2 * np.minimum(P, Q).sum()),
    ],
    ids=["logistic", "squares", "hinge"],
)
def test_the_best_critic_is_that_of_the_theory(objective, best, least):
    def loss(scores):
        return critic_loss(
            objective, scores[jnp.array([0, 0, 0, 1])], scores[jnp.array([0, 1, 1, 1])]
        )

    best = jnp.asarray(best, jnp.float32)
    assert float(loss(best)) == pytest.approx(least, rel=1e-5)
    others = best + jax.random.normal(KEY, (500, 2)) * jnp.logspace(-2, 0, 500)[:, None]
    assert float(jax.vmap(loss)(others).min()) >= least - 1e-6


def test_penalties_of_a_linear_critic_are_those_of_its_slope():
    model, x = small(hidden=()), points()
    square = float(jnp.sum(model.critic.layers[0].weight ** 2))
    _, metrics, _ = Adversarial(r1=3.0).critic(model, x, CONTEXT)
    assert float(metrics["penalty"]) == pytest.approx(1.5 * square, rel=1e-5)
    game = Adversarial("wasserstein", gradient_penalty=7.0)
    _, metrics, _ = game.critic(model, x, CONTEXT)
    assert float(metrics["penalty"]) == pytest.approx(7 * (square**0.5 - 1) ** 2, rel=1e-5)


def test_a_critic_without_slope_has_a_finite_gradient():
    model = eqx.tree_at(lambda m: m.critic.layers[0].weight, small(hidden=()), jnp.zeros((1, 2)))
    game = Adversarial("wasserstein", gradient_penalty=1.0)
    grads = eqx.filter_grad(lambda m: game.critic(m, points(), CONTEXT)[0])(model)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))


def test_slopes_are_of_each_example_by_itself():
    model, x = small(classes=3), points()
    labels = jax.nn.one_hot(jnp.array([0, 1, 2, 0, 1, 2]), 3)
    found = squared_slopes(lambda x: model.critic(with_labels(x, labels))[..., 0], x)
    for row, label, square in zip(x, labels, found, strict=True):
        slope = jax.grad(lambda x, label=label: model.critic(jnp.concatenate([x, label]))[0])(row)
        assert float(square) == pytest.approx(float(slope @ slope), rel=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("classes", [0, 2], ids=["plain", "conditional"])
def test_neither_player_moves_the_other(objective, classes):
    model = small(classes=classes, spectral=True)
    game = Adversarial(objective, r1=1.0)
    batch = (points(), jnp.array([0, 1, 0, 1, 0, 1]))
    critic = eqx.filter_grad(lambda m: game.critic(m, batch, CONTEXT)[0])(model)
    assert any_nonzero(critic.critic)
    assert not any_nonzero(critic.generator)
    generator = eqx.filter_grad(lambda m: game.generator(m, batch, CONTEXT)[0])(model)
    assert any_nonzero(generator.generator)
    assert not any_nonzero(generator.critic)
    assert not any_nonzero((critic.norm, generator.norm))


def test_spectral_norms_and_their_gradient_are_those_of_numpy():
    net, along = small(hidden=(5, 4)).critic, jax.random.normal(KEY, (4, 5))
    norm = SpectralNorm.create(jax.random.key(3), net)
    for _ in range(300):
        divided, norm = norm(net)
    for layer, other in zip(divided.layers, net.layers, strict=True):
        largest = np.linalg.svd(np.asarray(other.weight))[1][0]
        np.testing.assert_allclose(layer.weight, other.weight / largest, rtol=1e-4)
    weight = net.layers[0].weight  # 4 x 2, and its gradient through the largest singular value

    def ours(weight):
        moved = eqx.tree_at(lambda n: n.layers[0].weight, net, weight)
        return jnp.sum(norm(moved)[0].layers[0].weight * along[:, :2])

    def wanted(weight):
        return jnp.sum(weight / jnp.linalg.norm(weight, 2) * along[:, :2])

    np.testing.assert_allclose(jax.grad(ours)(weight), jax.grad(wanted)(weight), atol=1e-4)


def test_singular_vectors_move_with_the_critic_alone():
    model, adam = small(spectral=True), optax.sgd(0.0)
    data, game = et.ArrayData(points(), 3), Adversarial("hinge")
    validation = et.Validation(data, lambda m, b, c: {"score": m.score(b).mean()})
    learners = game.learners(adam, adam, repeat=2)
    phase = et.Phase("fit", learners, data, et.Epochs(2), validation)
    found = et.Trainer(model, phase, progress=False).fit().model
    # Two epochs of two batches, two turns of the critic each; no generator, no validation.
    for _ in range(8):
        _, model = model.normalised()
    for ours, wanted in zip(found.norm.vectors.value, model.norm.vectors.value, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-6)
    still = eqx.nn.inference_mode(found)
    for old, new in zip(
        found.norm.vectors.value, still.normalised()[1].norm.vectors.value, strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_singular_vectors_stay_wide_in_half_precision():
    model, adam = small(spectral=True), optax.adam(1e-3)
    learners = [
        replace(learner, precision="bfloat16", inputs=lambda batch: batch)
        for learner in Adversarial("hinge", r1=0.1).learners(adam, adam)
    ]
    phase = et.Phase("fit", learners, et.ArrayData(points(), 3), et.Steps(2))
    found = et.Trainer(model, phase, progress=False).fit().model
    assert [u.dtype for u in found.norm.vectors.value] == [jnp.float32] * 2
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_a_spectral_critic_is_as_steep_as_its_activation_lets_it_be():
    model = small(hidden=(16, 16), spectral=True)
    for _ in range(100):
        _, model = model.normalised()
    net, _ = model.normalised()
    slopes = jnp.sqrt(squared_slopes(lambda x: net(x)[..., 0], 3 * points(500)))
    # A GELU is at most 1.13 steep.
    assert float(slopes.max()) <= 1.13**2


def test_each_class_is_learnt():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    x = (np.where(labels == 0, -1.0, 2.0) + 0.3 * rng.normal(size=2000)).astype(np.float32)
    model = GAN.create(KEY, (1,), latent=2, hidden=(32, 32), classes=2)
    adam = optax.adam(2e-3, b1=0.0)
    learners = Adversarial(r1=0.3).learners(adam, adam, ema=0.99)
    data = et.ArrayData({"images": x[:, None], "labels": labels}, 100)
    phase = et.Phase("fit", learners, data, et.Steps(1500), keep="ema")
    model = et.Trainer(model, phase, progress=False).fit().model
    for label, mean in enumerate((-1.0, 2.0)):
        samples = model.sample(KEY, 2000, label)
        assert float(samples.mean()) == pytest.approx(mean, abs=0.15)
        assert float(samples.std()) == pytest.approx(0.3, abs=0.1)


def test_examples_with_bounds_stay_within_them():
    model = small(bounds=(-1.0, 3.0))
    found = np.asarray(model.sample(KEY, 100, temperature=100.0))
    assert -1 <= found.min() < found.max() <= 3
    beyond = jnp.array([[0.0, 3.0], [0.0, 3.1], [-2.0, 0.0]])
    scores = np.asarray(eqx.filter_jit(GAN.score)(model, beyond))
    assert np.isnan(scores).tolist() == [False, True, True]
    with pytest.raises(et.DataError, match=r"values from -2 to 3\.1, expected -1 to 3"):
        model.score(beyond)
    adam = optax.adam(1e-3)
    phase = et.Phase(
        "fit", Adversarial().learners(adam, adam), et.ArrayData(4 + points(), 3), et.Epochs(1)
    )
    with pytest.raises(et.DataError, match="GAN: got values from"):
        et.Trainer(model, phase, progress=False)


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_objective_is_refused_with_the_nearest():
    with pytest.raises(et.ConfigurationError, match=r"'hing' is unknown\. Did you mean 'hinge'"):
        Adversarial("hing")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Adversarial(r1=-1.0), "r1 must not be negative; got -1.0"),
        (lambda: Adversarial(r1=1.0, gradient_penalty=1.0), "give one of them"),
        (lambda: small(latent=0), "latent must be at least 1; got 0"),
        (lambda: small(hidden=(4, 0)), r"hidden\[1\] must be at least 1"),
        (lambda: small(classes=-1), "classes counts from 0"),
        (lambda: small(bounds=(1.0, 0.0)), "a lower and a higher number"),
        (lambda: small().sample(KEY, 2, temperature=-1.0), "temperature -1.0 is below 0"),
        (lambda: Adversarial("wasserstein").critic(small(), points(), CONTEXT), "no minimum"),
    ],
    ids=["r1", "two", "latent", "hidden", "classes", "bounds", "temperature", "unbounded"],
)
def test_settings_that_cannot_be_are_refused(make, words):
    with pytest.raises(et.ConfigurationError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: small(classes=2).score(points()), "2 classes, and the batch no labels"),
        (lambda: small().score(jnp.zeros((3, 4))), r"shape \(4,\), expected \(2,\)"),
        (lambda: small().score(jnp.zeros((3, 2), jnp.int32)), "real numbers; got int32"),
        (lambda: small().sample(KEY, 2, 1), "not trained with labels"),
        (lambda: small(classes=2).sample(KEY, 2), "2 classes. Give labels"),
        (lambda: small(classes=2).sample(KEY, 2, jnp.zeros(3, jnp.int32)), "for 2 samples"),
    ],
    ids=["labels", "shape", "integers", "useless", "missing", "count"],
)
def test_data_that_cannot_be_are_refused(make, words):
    with pytest.raises(et.DataError, match=words):
        make()


def test_a_gan_is_made_from_data_and_needs_phases_of_two_learners():
    given = {"bounds": [0.0, 1.0], "spectral": True, "classes": 2}
    config = generative.ModelConfig(
        model_class="GAN", input_dim=(4,), hidden_dims=(8,), output_dim=3, parameters=given
    )
    model = generative.create_model(config, 0)
    assert (model.latent, model.classes, model.bounds) == (3, 2, (0.0, 1.0))
    assert model.norm is not None
    adam = generative.OptimizerConfig(optimizer_type="adam", learning_rate=1e-3)
    training = generative.TrainingConfig(optimizer=adam, batch_size=6, num_epochs=1)
    with pytest.raises(et.ConfigurationError, match=r"several learners, as a GAN"):
        generative.Trainer(model, training)


def test_modes_and_distances_are_counted_right():
    density = Gaussians()
    x = np.asarray(density.sample(KEY, 20_000))
    share = nearness(density, x)
    np.testing.assert_allclose(share, (1 - np.exp(-4.5)) / 8, atol=0.01)
    lost = x[np.linalg.norm(x - density.centres[0], axis=1) > 1]
    assert (nearness(density, lost) > 0.01).tolist() == [False] + [True] * 7
    # A shift by s has the distance 2 |s| / pi, the mean of a cosine.
    moved = x + np.array([0.3, 0.4], np.float32)
    assert generative.sliced_distance(x, moved) == pytest.approx(1 / np.pi, rel=1e-3)


def test_every_method_of_the_recipe_is_another_game():
    config = GANConfig()
    games = {(game(config, m), untrained(config, m, 0).norm is None) for m in METHODS}
    assert len(games) == len(METHODS)
    with pytest.raises(ValueError, match="r1 is for methods that end with -r1"):
        GANConfig(methods=("hinge",), r1=0.5)


def test_the_recipe_has_a_table_a_figure_and_samples(tmp_path):
    config = GANConfig(methods=("hinge-r1",), repeats=1, steps=300, hidden=(32,), points=2000)
    run = tmp_path / "run"
    table = gan_recipe.run(config, run, progress=False, say=lambda line: None)
    modes, near, distance, floor = map(float, table.rows[0][1:])
    assert 0 <= modes <= 8
    assert 0 < near < 1
    assert floor < distance
    assert (run / "figures/samples.png").exists()
    model = gan_recipe.load(config, run)
    options = PointOptions(count=5, seed=3, temperature=0.5, out=tmp_path / "samples")
    assert gan_recipe.sample is not None
    rows = gan_recipe.sample.run(model, config, [], options).rows
    wanted = np.asarray(model.sample(jax.random.key(3), 5, temperature=0.5))
    np.testing.assert_array_equal(np.load(tmp_path / "samples/samples.npy"), wanted)
    assert [row[1] for row in rows] == [f"{x:.4f}" for x in wanted[:, 0]]
    assert (tmp_path / "samples/samples.png").exists()


@pytest.mark.slow
def test_three_seeds_of_three_cover_all_modes():
    config = GANConfig(methods=("non-saturating-r1",), steps=3000, ema=0.99)
    for trial in gan_recipe.trials(config):
        model = trial.build(progress=False).fit().model
        assert trial.evaluate(model, "valid")["modes"] == 8
