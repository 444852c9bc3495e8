"""Contrastive losses against the definitions written as loops, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st
from jax.test_util import check_grads

from etude.losses import info_nce, supervised_contrastive


def _rows(seed, batch=6, dim=3):
    return np.random.default_rng(seed).normal(0, 2, (batch, dim)).astype(np.float32)


def _supcon(z, pair_weight, temperature):
    """The definition: mean over anchors with positives of the mean of -log p over these."""
    z = z.astype(np.float64)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    losses = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        denominator = sum(np.exp(z[i] @ z[j] / temperature) for j in others)
        weights = [pair_weight(i, j) for j in others]
        if sum(weights) > 0:
            logs = [z[i] @ z[j] / temperature - np.log(denominator) for j in others]
            losses.append(-np.dot(weights, logs) / sum(weights))
    return np.mean(losses) if losses else 0.0


@given(st.integers(0, 10**6), st.sampled_from([0.07, 0.5, 2.0]))
def test_supcon_is_its_definition_also_with_lone_anchors(seed, temperature):
    z = _rows(seed)
    labels = np.random.default_rng(seed).integers(0, 4, 6)
    got = supervised_contrastive(
        jnp.asarray(z), jnp.asarray(labels, jnp.int32), temperature=temperature
    )
    expected = _supcon(z, lambda i, j: float(labels[i] == labels[j]), temperature)
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-5)


@given(st.integers(0, 10**6))
def test_supcon_takes_mixed_labels(seed):
    z, t = _rows(seed), np.random.default_rng(seed).dirichlet(np.ones(3), 6).astype(np.float32)
    got = supervised_contrastive(jnp.asarray(z), jnp.asarray(t), temperature=0.5)
    np.testing.assert_allclose(got, _supcon(z, lambda i, j: t[i] @ t[j], 0.5), rtol=1e-4)
    labels = t.argmax(1)
    hard = supervised_contrastive(jnp.asarray(z), jnp.asarray(labels, jnp.int32))
    soft = supervised_contrastive(jnp.asarray(z), jnp.asarray(np.eye(3)[labels], jnp.float32))
    np.testing.assert_allclose(hard, soft, rtol=1e-6)


def test_supcon_of_pairs_is_ntxent_of_optax():
    z, labels = jnp.asarray(_rows(0, 8)), jnp.array([0, 1, 2, 3, 0, 1, 2, 3])
    with jax.numpy_dtype_promotion("standard"):
        expected = optax.losses.ntxent(z, labels, 0.3)
    np.testing.assert_allclose(
        supervised_contrastive(z, labels, temperature=0.3), expected, rtol=1e-5
    )


def test_lone_anchors_do_not_dilute_the_mean():
    """Of three anchors two have a positive: the mean is over these two."""
    pair = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    near = np.concatenate([pair, pair[:1]])
    value = supervised_contrastive(jnp.asarray(near), jnp.array([0, 0, 1]))
    of_first = np.log1p(np.exp((1 - 0.6) / 0.1))  # beside its positive stands an equal of it
    of_second = np.log(2)
    np.testing.assert_allclose(value, (of_first + of_second) / 2, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 4])
def test_without_positives_loss_and_gradient_are_zero(batch):
    loss = jax.value_and_grad(supervised_contrastive)
    value, gradient = loss(jnp.asarray(_rows(3, batch)), jnp.arange(batch))
    assert value == 0
    assert (gradient == 0).all()


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_length_of_embeddings_does_not_matter(seed, length):
    z, labels = jnp.asarray(_rows(seed)), jnp.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(
        supervised_contrastive(z * length, labels), supervised_contrastive(z, labels), rtol=1e-4
    )
    np.testing.assert_allclose(info_nce(z * length, -z), info_nce(z, -z), rtol=1e-4)


def test_gradients_are_right_and_finite_at_a_zero_embedding():
    z, labels = jnp.asarray(_rows(4)), jnp.array([0, 0, 1, 1, 2, 3])
    check_grads(
        lambda x: supervised_contrastive(jnp.asarray(x), labels, temperature=0.5),
        (z,),
        1,
        ["rev"],
        rtol=2e-2,
    )
    check_grads(
        lambda x: info_nce(jnp.asarray(x), z[::-1], temperature=0.5), (z,), 1, ["rev"], rtol=2e-2
    )
    dead = z.at[0].set(0.0)
    for loss in (lambda x: supervised_contrastive(x, labels), lambda x: info_nce(x, z)):
        gradient = jax.grad(loss)(dead)
        assert jnp.isfinite(gradient).all()
        assert (gradient[0] == 0).all()


@given(st.integers(0, 10**6), st.booleans())
def test_info_nce_is_cross_entropy_with_the_diagonal(seed, symmetric):
    a, b = _rows(seed).astype(np.float64), _rows(seed + 1).astype(np.float64)
    logits = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    p = np.exp(logits / 0.2)
    sides = [-np.log(np.diag(p) / p.sum(1)).mean(), -np.log(np.diag(p) / p.sum(0)).mean()]
    got = info_nce(
        jnp.asarray(a, jnp.float32),
        jnp.asarray(b, jnp.float32),
        temperature=0.2,
        symmetric=symmetric,
    )
    np.testing.assert_allclose(got, np.mean(sides) if symmetric else sides[0], rtol=1e-4, atol=1e-5)


def test_info_nce_starts_at_log_of_the_batch_and_ends_at_zero():
    first, second = jnp.asarray(_rows(5, 256, 512)), jnp.asarray(_rows(6, 256, 512))
    assert float(info_nce(first, second, temperature=0.2)) == pytest.approx(np.log(256), abs=0.1)
    assert float(info_nce(first, first, temperature=0.05)) < 1e-3


def test_a_batch_of_one_and_a_bad_temperature_are_refused():
    with pytest.raises(ValueError, match=r"batch of 1, expected 2 or more.*drop_last"):
        info_nce(jnp.ones((1, 2)), jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="above 0"):
        info_nce(jnp.ones((2, 2)), jnp.ones((2, 2)), temperature=0.0)
    with pytest.raises(ValueError, match="above 0"):
        supervised_contrastive(jnp.ones((2, 2)), jnp.array([0, 0]), temperature=-1.0)
