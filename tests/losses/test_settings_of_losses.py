"""Settings and weights that would turn a loss around, or do nothing, are refused by name."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from etude import losses
from etude.errors import DataError


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


LOGITS, LABELS = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([0, 1])
NO_NUMBERS = [True, "0.1", None, float("nan"), float("inf"), -0.5]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    ("field", "loss"),
    [
        ("smoothing", lambda v: losses.cross_entropy(LOGITS, LABELS, smoothing=v)),
        ("smoothing", lambda v: losses.LabelSmoothingCrossEntropy(v)),
        ("gamma", lambda v: losses.focal_loss(LOGITS, LABELS, gamma=v)),
        ("gamma", lambda v: losses.FocalLoss(gamma=v)),
        ("temperature", lambda v: losses.info_nce(LOGITS, LOGITS, temperature=v)),
        ("temperature", lambda v: losses.SupConLoss(v)),
        ("temperature", lambda v: losses.DistillationLoss(temperature=v)),
        ("alpha", lambda v: losses.DistillationLoss(alpha=v)),
    ],
)
def test_a_setting_is_a_number_in_its_range(field, loss, value):
    with pytest.raises(ValueError, match=f"got {field}=.*expected a"):
        loss(value)


@pytest.mark.parametrize("value", [True, "0.1", float("nan"), float("inf"), -0.5])
def test_a_scale_of_every_class_is_a_number_of_zero_or_more(value):
    with pytest.raises(ValueError, match="FocalLoss: got alpha="):
        losses.create_criterion("focal", alpha=value)
    with pytest.raises(ValueError, match="focal_loss: got alpha="):
        losses.focal_loss(LOGITS, LABELS, alpha=value)


def test_numbers_of_numpy_are_numbers():
    half = np.float32(0.5)
    assert losses.cross_entropy(LOGITS, LABELS, smoothing=half) == losses.cross_entropy(
        LOGITS, LABELS, smoothing=0.5
    )
    assert losses.focal_loss(LOGITS, LABELS, alpha=half) == losses.focal_loss(
        LOGITS, LABELS, alpha=0.5
    )


@pytest.mark.parametrize(
    "loss",
    [
        lambda v: losses.cross_entropy(LOGITS, LABELS, weight=v),
        lambda v: losses.focal_loss(LOGITS, LABELS, alpha=v),
    ],
)
def test_negative_weights_of_classes_are_refused_and_nan_under_jit(loss):
    weights = jnp.array([-1.0, 1.0])
    with pytest.raises(DataError, match=r"down to -1.0, expected weights of 0 or more"):
        loss(weights)
    assert jnp.isnan(jax.jit(loss)(weights))


def test_weights_of_long_integers_keep_their_values():
    long = losses.cross_entropy(LOGITS, LABELS, weight=np.array([2**40, 2**41]))
    assert long == losses.cross_entropy(LOGITS, LABELS, weight=jnp.array([1.0, 2.0]))


@pytest.mark.parametrize("count", [True, 2.5, float("nan"), "2", 0])
def test_a_number_of_classes_is_a_whole_number(count):
    with pytest.raises(ValueError, match=r"num_classes=.*expected a whole number of 1 or more"):
        losses.compute_class_weights(np.array([0, 0]), count)


def test_a_text_is_no_truth_value():
    with pytest.raises(ValueError, match="got symmetric='no', expected True or False"):
        losses.info_nce(LOGITS, LOGITS, symmetric="no")


def test_a_penalty_has_one_dtype():
    with pytest.raises(DataError, match="real of float16 and fake of float32"):
        losses.gradient_penalty(
            lambda x: x.sum(), LOGITS.astype(jnp.float16), LOGITS, jax.random.key(0)
        )
