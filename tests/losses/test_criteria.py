"""Distillation, class weights, and losses by name; each against an independent formula."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.special import log_softmax, rel_entr, softmax
from sklearn.utils.class_weight import compute_class_weight

from etude import losses
from etude.losses._reductions import reduce_batch


def _logits(seed, batch=5, classes=3):
    return np.random.default_rng(seed).normal(0, 3, (batch, classes)).astype(np.float32)


@given(
    st.integers(0, 10**6),
    st.sampled_from([1.0, 4.0]),
    st.floats(0, 1),
    st.sampled_from(["cross_entropy", "mse"]),
)
def test_distillation_is_teacher_relative_to_student(seed, temperature, alpha, hard):
    student, teacher = _logits(seed), _logits(seed + 1)
    labels = np.random.default_rng(seed).integers(0, 3, 5)
    t, s = softmax(teacher / temperature, -1), softmax(student / temperature, -1)
    soft = rel_entr(t.astype(np.float64), s.astype(np.float64)).sum(-1).mean()
    onehot = np.eye(3)[labels]
    hard_value = {
        "cross_entropy": -(onehot * log_softmax(student, -1)).sum(-1).mean(),
        "mse": ((softmax(student, -1) - onehot) ** 2).mean(),
    }[hard]
    expected = alpha * temperature**2 * soft + (1 - alpha) * hard_value
    criterion = losses.DistillationLoss(temperature, alpha, hard)
    for targets in (jnp.asarray(labels, jnp.int32), jnp.asarray(onehot, jnp.float32)):
        got = criterion(jnp.asarray(student), jnp.asarray(teacher), targets)
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_distillation_teaches_the_student_alone_at_a_size_free_of_temperature():
    student, teacher = jnp.asarray(_logits(0)) / 100, jnp.asarray(_logits(1)) / 100
    labels = jnp.array([0, 1, 2, 0, 1])

    def gradients(temperature):
        return jax.grad(losses.distillation_loss, (0, 1))(
            student, teacher, labels, temperature=temperature, alpha=1.0
        )

    (small, of_teacher), (large, _) = gradients(1.0), gradients(20.0)
    assert (of_teacher == 0).all()
    # For small logits the gradient is (student - teacher) / K, centred, at every temperature.
    difference = student - teacher
    centred = (difference - difference.mean(-1, keepdims=True)) / 3 / 5
    np.testing.assert_allclose(small, centred, atol=1e-4)
    np.testing.assert_allclose(large, centred, atol=1e-4)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(6, 9))
def test_class_weights_are_balanced_and_absent_classes_weigh_one(labels, classes):
    labels = np.array(labels)
    weights = np.asarray(losses.compute_class_weights(labels, classes))
    present = np.unique(labels)
    expected = np.ones(classes)
    expected[present] = compute_class_weight("balanced", classes=present, y=labels)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1, rel=1e-5)


def test_class_weights_find_the_number_of_classes_and_refuse_bad_labels():
    assert losses.compute_class_weights(np.array([0, 2])).shape == (3,)
    with pytest.raises(ValueError, match="raise the number of classes"):
        losses.compute_class_weights(np.array([0, 2]), 2)
    with pytest.raises(ValueError, match="no labels"):
        losses.compute_class_weights(np.array([], int), 2)


@given(st.integers(0, 10**6))
def test_named_losses_honour_every_setting(seed):
    logits, labels = jnp.asarray(_logits(seed)), jnp.array([0, 1, 2, 0, 1])
    weight = jnp.array([0.2, 1.0, 3.0])
    pairs = [
        (
            losses.create_criterion("ce", weight=weight, reduction="sum"),
            losses.cross_entropy(logits, labels, weight=weight, reduction="sum"),
        ),
        (
            losses.create_criterion("label_smoothing", smoothing=0.3, weight=weight),
            losses.cross_entropy(logits, labels, smoothing=0.3, weight=weight),
        ),
        (
            losses.create_criterion("focal", alpha=weight, gamma=1.0, reduction="none"),
            losses.focal_loss(logits, labels, alpha=weight, gamma=1.0, reduction="none"),
        ),
        (
            losses.create_criterion("supcon", temperature=0.4),
            losses.supervised_contrastive(logits, labels, temperature=0.4),
        ),
    ]
    for criterion, expected in pairs:
        np.testing.assert_allclose(eqx.filter_jit(criterion)(logits, labels), expected, rtol=1e-5)
    quarter = losses.create_criterion("focal", alpha=0.25)(logits, labels)
    whole = losses.create_criterion("focal")(logits, labels)
    np.testing.assert_allclose(quarter, whole / 4, rtol=1e-5)


def test_mixed_targets_are_the_mixture_of_the_losses():
    logits, share = jnp.asarray(_logits(7)), 0.3
    a, b = jax.nn.one_hot(jnp.array([0, 1, 2, 0, 1]), 3), jax.nn.one_hot(jnp.full(5, 2), 3)
    weight = jnp.array([0.5, 1.0, 2.0])
    for criterion in (
        losses.create_criterion("ce", weight=weight, reduction="none"),
        losses.create_criterion("label_smoothing", reduction="none"),
        losses.create_criterion("focal", alpha=weight, reduction="none"),
    ):
        mixed = criterion(logits, share * a + (1 - share) * b)
        parts = share * criterion(logits, a) + (1 - share) * criterion(logits, b)
        np.testing.assert_allclose(mixed, parts, rtol=1e-5)


def test_unknown_names_and_settings_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'focal'"):
        losses.create_criterion("foacl")
    with pytest.raises(TypeError, match=r"no setting 'gama'\. Did you mean 'gamma'"):
        losses.create_criterion("focal", gama=2.0)
    with pytest.raises(TypeError, match="no setting 'smoothing'"):
        losses.create_criterion("ce", smoothing=0.1)


def test_settings_out_of_range_are_refused_when_set():
    for build in (
        lambda: losses.FocalLoss(gamma=-1.0),
        lambda: losses.LabelSmoothingCrossEntropy(1.5),
        lambda: losses.SupConLoss(0.0),
        lambda: losses.DistillationLoss(temperature=0.0),
        lambda: losses.DistillationLoss(alpha=2.0),
    ):
        with pytest.raises(ValueError, match="expected"):
            build()


def test_an_unknown_reduction_is_refused_at_run_time():
    # The type checker of the tests would refuse it before the public functions could.
    with pytest.raises(ValueError, match="Did you mean 'mean'"):
        reduce_batch(jnp.ones(2), "meann")
