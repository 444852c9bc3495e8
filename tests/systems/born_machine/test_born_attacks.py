"""Attacks: closed forms for linear classifiers, geometry, and what an original got wrong."""

from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from etude.augment import pgd as augment_pgd
from etude.systems.born_machine.attacks import (
    ascend,
    fgm,
    joint_pgd,
    log_odds_against,
    pgd,
    project,
)

KEY = jax.random.key(3)
DOMAIN = (-1.0, 1.0)
W = jnp.array([[1.0, -2.0, 0.0, 0.5], [-1.0, 0.5, 1.0, 0.25], [0.0, 0.3, -0.4, 1.0]])
NORMS = ("linf", "l2")


def linear(x):
    return x @ W.T


def wavy(x):
    return jnp.stack([jnp.sin(5 * x).sum(axis=1), jnp.cos(3 * x).sum(axis=1), x[:, 0]], axis=1)


def inputs(count, seed=0, spread=1.0):
    x = jax.random.uniform(jax.random.key(seed), (count, 4), minval=-spread, maxval=spread)
    return x, jax.random.randint(jax.random.key(seed + 1), (count,), 0, 3)


def sizes(moved, x, norm):
    offset = np.asarray(moved - x, np.float64)
    return np.abs(offset).max(axis=1) if norm == "linf" else np.linalg.norm(offset, axis=1)


@cache
def compiled(attack, scores, norm="linf", **options):
    return jax.jit(partial(attack, scores, norm=norm, domain=DOMAIN, **options))


def loss(scores, x, labels):
    return -np.asarray(jax.nn.log_softmax(scores(x)))[np.arange(len(x)), np.asarray(labels)]


def two_classes(x):
    return jnp.stack([x @ W[0], -x @ W[0]], axis=1)


def test_fgm_of_a_linear_model_closed_form():
    x, _ = inputs(5, spread=0.5)
    labels = jnp.zeros(5, jnp.int32)
    moved = compiled(fgm, two_classes)(x, labels, epsilon=0.2)
    np.testing.assert_allclose(moved, x - 0.2 * jnp.sign(W[0]), atol=1e-6)
    moved = compiled(fgm, two_classes, "l2")(x, labels, epsilon=0.2)
    np.testing.assert_allclose(moved, x - 0.2 * W[0] / jnp.linalg.norm(W[0]), atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_of_a_linear_model_reaches_the_far_side(norm):
    x, _ = inputs(50, spread=0.5)
    labels = jnp.ones(50, jnp.int32)
    moved = compiled(pgd, two_classes, norm, num_steps=40)(x, labels, KEY, epsilon=0.3)
    gained = (moved - x) @ W[0]
    dual = jnp.abs(W[0]).sum() if norm == "linf" else jnp.linalg.norm(W[0])
    assert np.all((gained > 0.95 * 0.3 * dual) & (gained <= 0.30001 * dual))


@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=15)
@given(epsilon=st.floats(0, 3), seed=st.integers(0, 99))
def test_stays_in_ball_and_domain(norm, epsilon, seed):
    """No attack of the original clipped to the domain of the embedding."""
    x, labels = inputs(20, seed)
    key = jax.random.key(seed)
    for attack in (fgm, pgd):
        moved = compiled(attack, wavy, norm)(x, labels, key, epsilon=jnp.asarray(epsilon))
        assert sizes(moved, x, norm).max() <= epsilon * (1 + 1e-5) + 1e-6
        assert np.all(np.abs(moved) <= 1)


@pytest.mark.parametrize("norm", NORMS)
@given(
    offset=st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=3),
    radius=st.floats(0.0, 3.0, width=32),
)
def test_projection_is_the_nearest_point_of_the_ball(norm, offset, radius):
    """Rescaling, as the original did for every norm, is the projection for p = 2 only."""
    point = np.asarray(offset, np.float32)
    found = np.asarray(project(jnp.asarray(point)[None], radius, norm))[0]
    probes = np.random.default_rng(0).normal(size=(500, 3))
    length = np.abs(probes).max(1) if norm == "linf" else np.linalg.norm(probes, axis=1)
    inside = radius * probes / np.maximum(length, 1e-9)[:, None]
    inside = np.concatenate([inside, inside * np.linspace(0, 1, 500)[:, None]])
    nearest = np.linalg.norm(inside - point, axis=1).min()
    assert np.linalg.norm(found - point) <= nearest + 1e-5
    assert sizes(jnp.asarray(found)[None], jnp.zeros((1, 3)), norm)[0] <= radius * (1 + 1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_is_at_least_as_strong_as_fgm(norm):
    x, labels = inputs(200)
    plain = loss(wavy, x, labels)
    once = loss(wavy, compiled(fgm, wavy, norm)(x, labels, epsilon=0.3), labels)
    moved = compiled(pgd, wavy, norm, num_steps=30)(x, labels, epsilon=0.3)
    many = loss(wavy, moved, labels)
    assert np.all(many >= plain - 1e-5)
    assert np.mean(many >= once - 1e-3) > 0.95
    assert many.mean() > once.mean()


@pytest.mark.parametrize("norm", NORMS)
def test_equals_the_engines_pgd_where_the_path_only_rises(norm):
    x, labels = inputs(30, spread=0.3)
    options = {"epsilon": 0.1, "norm": norm, "num_steps": 3}
    objective = log_odds_against(linear, labels)
    theirs = jax.jit(lambda x: augment_pgd(objective, x, clip=DOMAIN, **options))(x)
    ours = jax.jit(lambda x: pgd(linear, x, labels, domain=DOMAIN, **options))(x)
    higher = objective(ours) >= objective(theirs) - 1e-6
    same = np.abs(ours - theirs).max(axis=1) < 1e-5
    assert np.all(higher)
    assert same.mean() > 0.9


def test_a_sample_is_attacked_alike_in_any_batch():
    x, labels = inputs(12)
    run = compiled(pgd, wavy, epsilon=0.2)
    whole = run(x, labels, KEY)
    np.testing.assert_allclose(run(x[:7], labels[:7], KEY), whole[:7], atol=1e-6)
    keys = jax.random.split(KEY, 12)
    whole = run(x, labels, keys)
    np.testing.assert_allclose(run(x[5:], labels[5:], keys[5:]), whole[5:], atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_random_start_is_uniform_in_the_ball(norm):
    """The original drew direction * U, which crowds the centre; radius^d must be uniform."""
    x = jnp.zeros((4000, 3))
    start = ascend(
        lambda x: x.sum(axis=1), x, KEY, epsilon=0.5, domain=DOMAIN, norm=norm, num_steps=0
    )
    radii = sizes(start, x, norm) / 0.5
    assert stats.kstest(radii**3, "uniform").pvalue > 1e-3
    assert np.abs(np.asarray(start).mean(axis=0)).max() < 0.02


def test_a_certain_classifier_is_attacked_all_the_same():
    """-log p(label|x) is exactly zero there, and so is its gradient: masked, not robust."""

    def certain(x):
        return 400 * two_classes(x)

    x = jnp.full((1, 4), 0.5) * jnp.sign(W[0])
    labels = jnp.zeros(1, jnp.int32)
    naive = eqx.filter_jit(jax.grad(lambda x: -jax.nn.log_softmax(certain(x))[0, 0]))(x)
    assert not np.any(naive)
    moved = compiled(pgd, certain)(x, labels, epsilon=0.7)
    assert certain(x)[0].argmax() == 0
    assert certain(moved)[0].argmax() == 1


def test_small_gradients_keep_their_direction():
    def objective(x):
        return 1e-30 * x @ jnp.array([3.0, 4.0])

    moved = ascend(objective, jnp.zeros((1, 2)), epsilon=0.5, domain=DOMAIN, norm="l2")
    np.testing.assert_allclose(moved[0], [0.3, 0.4], rtol=1e-4)


def test_log_odds_rise_with_the_loss_and_ignore_a_common_shift():
    x, labels = inputs(100)
    odds = log_odds_against(wavy, labels)(x)
    expected = loss(wavy, x, labels)
    np.testing.assert_allclose(np.log1p(np.exp(odds)), expected, rtol=1e-4, atol=1e-5)
    shifted = log_odds_against(lambda x: wavy(x) + x[:, :1], labels)(x)
    np.testing.assert_allclose(shifted, odds, atol=1e-5)


def test_joint_pgd_raises_the_best_wrong_class():
    x, labels = inputs(60)
    moved = compiled(joint_pgd, wavy)(x, labels, epsilon=0.3)

    def best_wrong(x):
        found = np.array(wavy(x))
        found[np.arange(len(x)), np.asarray(labels)] = -np.inf
        return found.max(axis=1)

    assert np.all(best_wrong(moved) >= best_wrong(x) - 1e-6)
    assert np.mean(best_wrong(moved) > best_wrong(x) + 0.1) > 0.9


@pytest.mark.parametrize("attack", [fgm, pgd])
def test_training_sees_a_constant(attack):
    """The derivative by the weights is that at the attacked input, compiled and with a schedule."""
    x, labels = inputs(6)

    def robust(w, epsilon):
        def scores(x):
            return x @ w.T

        moved = attack(scores, x, labels, KEY, epsilon=epsilon, domain=DOMAIN)
        return -jnp.take_along_axis(jax.nn.log_softmax(scores(moved)), labels[:, None], 1).mean()

    moved = compiled(attack, linear)(x, labels, KEY, epsilon=0.25)

    def at_constant(w):
        found = jax.nn.log_softmax(moved @ w.T)
        return -jnp.take_along_axis(found, labels[:, None], 1).mean()

    by_weights, by_epsilon = jax.jit(jax.grad(robust, argnums=(0, 1)))(W, jnp.asarray(0.25))
    np.testing.assert_allclose(by_weights, eqx.filter_jit(jax.grad(at_constant))(W), atol=1e-5)
    assert by_epsilon == 0


def test_refuses_with_the_cure():
    x, labels = inputs(2)
    with pytest.raises(ValueError, match="expected a radius of 0 or more"):
        pgd(linear, x, labels, epsilon=-0.1, domain=DOMAIN)
    with pytest.raises(ValueError, match="low < high"):
        fgm(linear, x, labels, epsilon=0.1, domain=(1.0, -1.0))
    with pytest.raises(ValueError, match="num_steps=-1"):
        pgd(linear, x, labels, epsilon=0.1, domain=DOMAIN, num_steps=-1)
    with pytest.raises(ValueError, match="one class"):
        pgd(lambda x: x[:, :1], x, labels, epsilon=0.1, domain=DOMAIN)
