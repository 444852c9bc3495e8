"""Cross-entropy and focal loss against formulas written in NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.special import log_softmax

from etude.losses import cross_entropy, focal_loss


def _data(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (6, 4)).astype(np.float32)
    return logits, rng.integers(0, 4, 6), rng.uniform(0.1, 3, 4).astype(np.float32)


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_weighted_smoothed_cross_entropy(seed, smoothing):
    logits, labels, weight = _data(seed)
    q = (1 - smoothing) * np.eye(4)[labels] + smoothing / 4
    expected = -(weight * q * log_softmax(logits, -1)).sum() / weight[labels].sum()
    options = {"smoothing": smoothing, "weight": jnp.asarray(weight)}
    hard = cross_entropy(jnp.asarray(logits), jnp.asarray(labels, jnp.int32), **options)
    soft = cross_entropy(
        jnp.asarray(logits), jnp.asarray(np.eye(4)[labels], jnp.float32), **options
    )
    np.testing.assert_allclose(hard, expected, rtol=1e-4)
    np.testing.assert_allclose(soft, expected, rtol=1e-4)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 2.0]), st.booleans())
def test_focal_honours_float_and_per_class_alpha(seed, gamma, per_class):
    logits, labels, weight = _data(seed)
    log_p = log_softmax(logits.astype(np.float64), -1)[np.arange(6), labels]
    alpha = weight[labels] if per_class else 0.25
    got = focal_loss(
        jnp.asarray(logits),
        jnp.asarray(labels, jnp.int32),
        alpha=jnp.asarray(weight) if per_class else 0.25,
        gamma=gamma,
        reduction="none",
    )
    expected = -alpha * (1 - np.exp(log_p)) ** gamma * log_p
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_gradient_is_finite_at_certainty(gamma):
    logits = jnp.array([[200.0, -200.0], [-200.0, 200.0]])
    gradient = jax.grad(lambda x: focal_loss(x, jnp.array([0, 0]), gamma=gamma))(logits)
    assert jnp.isfinite(gradient).all()


def test_labels_out_of_range_are_refused_and_poison_under_jit():
    logits, labels = jnp.zeros((2, 3)), jnp.array([0, 3])
    with pytest.raises(ValueError, match="expected 0 to 2"):
        cross_entropy(logits, labels)
    assert jnp.isnan(jax.jit(cross_entropy)(logits, labels))


def test_a_class_ruled_out_by_minus_infinity_costs_nothing_and_has_no_gradient():
    logits = jnp.array([[1.0, -jnp.inf, 2.0]])
    value, gradient = jax.value_and_grad(lambda x: cross_entropy(x, jnp.array([0])))(logits)
    assert float(value) == pytest.approx(np.log1p(np.e), rel=1e-6)
    assert gradient[0, 1] == 0
    assert jnp.isfinite(gradient).all()


@given(st.integers(0, 10**6))
def test_gradients_are_closed_forms(seed):
    logits, labels, _ = _data(seed)
    x, y = jnp.asarray(logits), jnp.asarray(labels, jnp.int32)
    p = np.exp(log_softmax(logits.astype(np.float64), -1))
    onehot = np.eye(4)[labels]
    plain = jax.grad(lambda v: cross_entropy(v, y, reduction="sum"))(x)
    np.testing.assert_allclose(plain, p - onehot, atol=1e-5)
    p_t = p[np.arange(6), labels][:, None]
    slope = (1 - p_t) ** 2 - 2 * p_t * (1 - p_t) * np.log(p_t)  # of the loss in -log p_t
    focal = jax.grad(lambda v: focal_loss(v, y, reduction="sum"))(x)
    np.testing.assert_allclose(focal, slope * (p - onehot), atol=1e-4)


def test_confident_mistakes_are_not_cut_off_by_an_epsilon():
    logits, labels = jnp.array([[60.0, -60.0]]), jnp.array([1])
    assert float(focal_loss(logits, labels)) == pytest.approx(120.0)
    assert float(cross_entropy(logits, labels)) == pytest.approx(120.0)
    slope = jax.grad(lambda x: focal_loss(x, labels))(logits)
    np.testing.assert_allclose(slope, [[1.0, -1.0]], atol=1e-5)
