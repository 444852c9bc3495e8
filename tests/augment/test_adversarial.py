"""Adversarial perturbations against closed forms for linear and quadratic losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.augment import fgsm, pgd

KEY = jax.random.key(2)
W = jnp.array([1.0, -2.0, 0.0, 0.5])
X = jnp.array([[0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.6]])


def linear(x):
    return x @ W


def test_fgsm_of_a_linear_model_closed_form():
    np.testing.assert_allclose(fgsm(linear, X, 0.25), X + 0.25 * np.sign(W), rtol=1e-6)


def test_fgsm_relative_to_the_scale_of_each_sample():
    """A fixed 0.01 means nothing until the scale of the signal is known."""
    scales = jnp.array([[0.01], [100.0]])
    moved = fgsm(linear, X * scales, 0.1, relative=True) - X * scales
    expected = 0.1 * np.std(X * scales, axis=1, keepdims=True) * np.sign(W)
    np.testing.assert_allclose(moved, expected, rtol=1e-3)


def test_fgsm_clips():
    np.testing.assert_allclose(
        fgsm(linear, X, 0.25, clip=(0.0, 1.0)), np.clip(X + 0.25 * np.sign(W), 0, 1), rtol=1e-6
    )


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("key", [None, KEY])
def test_zero_epsilon_is_the_identity(relative, key):
    np.testing.assert_array_equal(fgsm(linear, X, 0.0, relative=relative), X)
    for norm in ("linf", "l2"):
        moved = pgd(linear, X, key, 0.0, norm=norm, relative=relative)
        np.testing.assert_array_equal(moved, X)


def test_pgd_of_a_linear_model_reaches_the_far_side_of_the_ball():
    sign = np.sign(W) * 0.25
    np.testing.assert_allclose(pgd(linear, X, epsilon=0.25), X + sign, rtol=1e-5)
    length = jnp.linalg.norm(W)
    moved = pgd(linear, X, epsilon=0.25, norm="l2")
    np.testing.assert_allclose(moved, X + 0.25 * W / length, rtol=1e-5)
    from_anywhere = jax.jit(lambda x: pgd(linear, x, KEY, 0.25, norm="l2"))(X)
    gained = linear(from_anywhere) - linear(X)
    assert jnp.all((gained > 0.95 * 0.25 * length) & (gained <= 0.25001 * length))


def test_pgd_relative_l2_is_a_fraction_of_the_deviation_from_the_mean():
    moved = pgd(linear, X, epsilon=0.1, norm="l2", relative=True) - X
    expected = 0.1 * np.linalg.norm(X - X.mean(axis=1, keepdims=True), axis=1)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), expected, rtol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_stays_in_ball_and_domain_and_raises_the_loss(norm):
    """An original left the domain, and projected correctly for one norm only."""

    def loss(x):
        return jnp.sum(jnp.sin(5 * x) * W, axis=-1)

    x = jax.random.uniform(jax.random.key(0), (50, 4))
    moved = pgd(loss, x, KEY, 0.3, norm=norm, clip=(0.0, 1.0))
    offset = np.asarray(moved - x)
    sizes = np.abs(offset).max(axis=1) if norm == "linf" else np.linalg.norm(offset, axis=1)
    assert sizes.max() <= 0.3 * (1 + 1e-5)
    assert np.all((moved >= -1e-7) & (moved <= 1 + 1e-7))
    assert np.mean(loss(moved) > loss(x)) > 0.95


def test_random_start_is_uniform_in_the_l2_ball():
    """A Gaussian direction times a uniform radius would crowd the centre."""
    x = jnp.zeros((20_000, 3))
    start = pgd(lambda x: jnp.sum(x), x, KEY, 1.0, norm="l2", num_steps=0)
    radii = np.sort(np.linalg.norm(start, axis=1))
    np.testing.assert_allclose(radii**3, np.linspace(0, 1, 20_000), atol=0.03)


def test_random_start_is_uniform_in_the_linf_ball():
    start = pgd(lambda x: jnp.sum(x), jnp.zeros((20_000, 1)), KEY, 0.5, num_steps=0)
    np.testing.assert_allclose(
        np.sort(np.asarray(start)[:, 0]), np.linspace(-0.5, 0.5, 20_000), atol=0.02
    )


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_the_gradient_of_the_model_is_that_at_a_constant_input(attack):
    """An original wiped the parameter gradients; here the attack is a constant to training."""

    def loss(w, x):
        return jnp.mean(jnp.square(x @ w - 1.0))

    def robust(w):
        return loss(w, attack(lambda x: loss(w, x), X, epsilon=0.1))

    constant = attack(lambda x: loss(W, x), X, epsilon=0.1)
    np.testing.assert_allclose(jax.grad(robust)(W), jax.grad(loss)(W, constant), rtol=1e-5)


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_keeps_dtype_and_shape_compiled(attack):
    x = jnp.ones((3, 2, 8), jnp.bfloat16)
    moved = jax.jit(lambda x: attack(lambda x: jnp.sum(x * x), x, epsilon=0.1))(x)
    assert (moved.shape, moved.dtype) == (x.shape, x.dtype)


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_refuses_with_the_cure(attack):
    with pytest.raises(ValueError, match=r"got epsilon=-0\.1, expected"):
        attack(linear, X, epsilon=-0.1)
    with pytest.raises(ValueError, match="clip must rise"):
        attack(linear, X, clip=(1.0, 0.0))
