"""Mixup and cutmix: labels must say what was really mixed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from etude import augment
from etude.augment import soft_labels

# Compiled, as in a training step; uncompiled calls would take most of the time of these tests.
SETTINGS = ("alpha", "num_classes", "probability")
mixup = jax.jit(augment.mixup, static_argnames=SETTINGS)
cutmix = jax.jit(augment.cutmix, static_argnames=SETTINGS)
patch_mixup = jax.jit(augment.patch_mixup, static_argnames=SETTINGS[:2])
KEY = jax.random.key(5)
MIXERS = [mixup, cutmix, patch_mixup]


def marked_batch(size=64, length=100):
    """Sample i is constant i, of class i: the result shows what it is made of."""
    return jnp.tile(jnp.arange(float(size))[:, None, None], (1, 1, length)), jnp.arange(size)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_cutmix_labels_weigh_what_was_really_mixed(alpha):
    """In an original the weights were swapped: 36 % of samples from a signal with weight 64 %."""
    inputs, labels = marked_batch()
    mixed, soft = cutmix((inputs, labels), KEY, alpha, num_classes=64)
    fractions = (np.asarray(mixed)[:, 0, :, None] == np.arange(64)).mean(axis=1)
    np.testing.assert_allclose(soft, fractions, atol=1e-6)
    assert ((fractions > 0).sum(axis=1) == 2).mean() > 0.3


@pytest.mark.parametrize("mix", [mixup, patch_mixup])
def test_mixup_labels_weigh_what_was_really_mixed(mix):
    inputs, labels = marked_batch()
    mixed, soft = mix((inputs, labels), KEY, num_classes=64)
    np.testing.assert_allclose(mixed[:, 0, 0], soft @ jnp.arange(64.0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(soft.sum(axis=1), 1.0, rtol=1e-5)


def test_cutmix_spans_are_contiguous_and_differ_between_samples():
    """An original cut a whole batch at one place."""
    inputs, labels = marked_batch()
    mixed, _ = cutmix((inputs, labels), KEY, num_classes=64)
    foreign = np.asarray(mixed)[:, 0] != np.asarray(inputs)[:, 0]
    edges = np.abs(np.diff(foreign.astype(int), axis=1)).sum(axis=1)
    assert edges.max() <= 2
    assert len(np.unique(foreign, axis=0)) > 40


def test_cutmix_replaces_every_position_equally_often():
    inputs, labels = jnp.stack([jnp.zeros(10), jnp.ones(10)]), jnp.arange(2)
    keys = jax.random.split(KEY, 20_000)
    first = jax.jit(jax.vmap(lambda k: cutmix((inputs, labels), k, num_classes=2)[0][0]))
    mixed = first(keys)
    rates = np.asarray(mixed).mean(axis=0)
    np.testing.assert_allclose(rates, rates.mean(), atol=5 * 0.5 / 20_000**0.5)


def test_mixing_weights_follow_the_beta_distribution():
    inputs = jnp.arange(1000.0)[:, None]
    labels = jnp.stack([jnp.arange(1000.0), jnp.ones(1000)], axis=1)  # linear: carries the mix
    mixed, soft = mixup((inputs, labels), KEY, alpha=0.5)
    np.testing.assert_allclose(mixed[:, 0], soft[:, 0], rtol=1e-4, atol=1e-2)
    # With one-hot labels of 1000 classes the larger and smaller weight can be read directly.
    _, soft = mixup((inputs, jnp.arange(1000)), KEY, alpha=0.5, num_classes=1000)
    weights = np.asarray(soft)[np.arange(1000), np.arange(1000)]
    partnered = weights < 1 - 1e-6  # a sample may be its own partner
    draws = np.where(partnered, weights, 1.0)
    assert stats.kstest(draws, stats.beta(0.5, 0.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("mix", MIXERS)
def test_soft_and_integer_labels_agree(mix):
    inputs, labels = marked_batch(8)
    one = mix((inputs, labels), KEY, num_classes=11)
    other = mix((inputs, jax.nn.one_hot(labels, 11)), KEY)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize("mix", MIXERS)
def test_the_number_of_classes_does_not_depend_on_the_batch(mix):
    """In an original it was max(label of the first signal) + 1, and crashed or varied."""
    for labels in ([0, 3], [3, 0], [1, 1]):
        _, soft = mix((jnp.ones((2, 6, 5)), jnp.array(labels)), KEY, num_classes=11)
        assert soft.shape == (2, 11)


@pytest.mark.parametrize("mix", MIXERS)
def test_zero_alpha_is_the_identity(mix):
    inputs, labels = marked_batch(8)
    mixed, soft = mix((inputs, labels), KEY, alpha=0.0, num_classes=8)
    np.testing.assert_array_equal(mixed, inputs)
    np.testing.assert_array_equal(soft, jnp.eye(8))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_probability_is_per_sample_and_labels_are_always_soft(mix):
    """In an original a skipped batch came back with integer labels."""
    inputs, labels = marked_batch(300)
    mixed, soft = mix((inputs, labels), KEY, num_classes=300, probability=0.0)
    np.testing.assert_array_equal(mixed, inputs)
    np.testing.assert_array_equal(soft, jnp.eye(300))
    mixed, _ = mix((inputs, labels), KEY, num_classes=300, probability=0.5)
    changed = np.any(np.asarray(mixed != inputs), axis=(1, 2)).mean()
    assert 0.4 < changed < 0.6


@pytest.mark.parametrize("mix", MIXERS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_shape_and_dtype_compiled(mix, dtype):
    inputs = jnp.ones((4, 3, 10), dtype)
    compiled = jax.jit(lambda x, y, k: mix((x, y), k, num_classes=3))
    mixed, soft = compiled(inputs, jnp.array([0, 1, 2, 0]), KEY)
    assert (mixed.shape, mixed.dtype) == (inputs.shape, dtype)
    assert soft.dtype == jnp.float32


def test_a_label_out_of_range_is_refused_and_nan_under_jit():
    labels = jnp.array([0, 5, -1])
    with pytest.raises(ValueError, match="labels from -1 to 5, expected 0 to 2 for 3 classes"):
        soft_labels(labels, num_classes=3)
    soft = jax.jit(soft_labels, static_argnames="num_classes")(labels, num_classes=3)
    np.testing.assert_array_equal(np.isnan(soft).all(axis=1), [False, True, True])


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda b: mixup(b, KEY), "pass num_classes"),
        (lambda b: cutmix(b, KEY, -1.0, num_classes=2), "cutmix: got alpha"),
        (lambda b: mixup(b, KEY, num_classes=2, probability=1.5), "mixup: got probability"),
        (lambda b: mixup((b[0], jnp.eye(2)), KEY, num_classes=3), "have 2 classes"),
    ],
)
def test_refuses_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call((jnp.ones((2, 5)), jnp.array([0, 1])))
