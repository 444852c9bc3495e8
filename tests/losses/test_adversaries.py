"""Adversarial losses against closed forms; the penalty against slopes that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads
from scipy.special import expit

from etude import losses


def _scores(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, 5).astype(np.float32), rng.normal(0, 2, 7).astype(np.float32)


@given(st.integers(0, 10**6))
def test_closed_forms(seed):
    real, fake = _scores(seed)
    r, f = jnp.asarray(real), jnp.asarray(fake)
    expected = {
        losses.bce_critic_loss: -np.log(expit(real)).mean() - np.log(1 - expit(fake)).mean(),
        losses.hinge_critic_loss: np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean(),
        losses.wasserstein_critic_loss: fake.mean() - real.mean(),
    }
    for loss, value in expected.items():
        np.testing.assert_allclose(loss(r, f), value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(losses.bce_generator_loss(f), -np.log(expit(fake)).mean(), rtol=1e-4)
    for loss in (losses.hinge_generator_loss, losses.wasserstein_generator_loss):
        np.testing.assert_allclose(loss(f), -fake.mean(), rtol=1e-5)


def test_bce_takes_logits_of_any_size_and_the_generator_still_learns_there():
    assert jnp.isfinite(losses.bce_critic_loss(jnp.array([-200.0]), jnp.array([200.0])))
    # The saturating form log(1 - sigmoid) has no gradient where the critic is sure of a fake.
    assert jax.grad(losses.bce_generator_loss)(jnp.array([-200.0])) == pytest.approx(-1.0)


def test_hinge_gradient_is_zero_past_the_margin():
    real, fake = jax.grad(losses.hinge_critic_loss, (0, 1))(
        jnp.array([2.0, 0.5]), jnp.array([-2.0, -0.5])
    )
    np.testing.assert_allclose(real, [0, -0.5])
    np.testing.assert_allclose(fake, [0, 0.5])


@given(st.integers(0, 10**6))
def test_penalty_of_a_quadratic_critic(seed):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(2, 4, 3, 2)).astype(np.float32)
    key = jax.random.key(seed)
    got = losses.gradient_penalty(
        lambda x: (x**2).sum() / 2, jnp.asarray(real), jnp.asarray(fake), key
    )
    share = np.asarray(jax.random.uniform(key, (4,)))[:, None, None]
    points = share * real + (1 - share) * fake  # the gradient of |x|^2 / 2 is x
    norms = np.sqrt((points.astype(np.float64) ** 2).sum((1, 2)))
    np.testing.assert_allclose(got, ((norms - 1) ** 2).mean(), rtol=1e-4)


def test_penalty_is_of_each_sample_not_of_the_batch():
    """A critic of slope one has no penalty, whatever the batch, although the whole batch's
    gradient has the norm sqrt(batch)."""
    x = jnp.ones((16, 2))
    penalty = losses.gradient_penalty(lambda s: s[:1], x, -x, jax.random.key(0))
    assert penalty == pytest.approx(0, abs=1e-6)


def test_points_lie_between_and_differ_between_samples():
    """The gradient of x^2 / 2 is the point, so the penalty is E[(1 - u)^2] = 1/3 of u in 0..1."""
    real, fake = jnp.ones((4000, 1)), jnp.zeros((4000, 1))
    penalty = losses.gradient_penalty(lambda x: x @ x / 2, real, fake, jax.random.key(0))
    assert float(penalty) == pytest.approx(1 / 3, abs=0.02)


def test_gradient_of_the_penalty():
    x = jax.random.normal(jax.random.key(0), (4, 3))

    def penalty(weight):
        return losses.gradient_penalty(
            lambda s: jnp.tanh(s @ jnp.asarray(weight)).sum(), x, x + 1, jax.random.key(1)
        )

    check_grads(penalty, (jnp.array([0.5, -0.3, 0.2]),), 1, ["rev"], rtol=2e-2)
    flat = jax.grad(penalty)(jnp.zeros(3))
    assert jnp.isfinite(flat).all()


def test_a_critic_of_batches_is_refused():
    with pytest.raises(ValueError, match="critic of one sample"):
        losses.gradient_penalty(lambda x: x, jnp.ones((4, 3)), jnp.ones((4, 3)), jax.random.key(0))
