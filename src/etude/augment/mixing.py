"""Mixtures of two samples and of their labels: mixup and cutmix.

Both take and return a batch `(inputs, labels)`. Labels are class numbers `(batch,)` of any integer
type, with `num_classes`, or soft labels `(batch, classes)`; they come back soft, always. Integer
inputs come back as float32.

>>> batch = (jnp.ones((4, 100)), jnp.array([0, 1, 2, 1]))
>>> inputs, labels = mixup(batch, jax.random.key(0), num_classes=3)
>>> labels.shape
(4, 3)
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Key

from etude.inputs import (
    Values,
    check_count,
    check_lengths,
    check_real,
    class_numbers,
    floating,
    one_hot,
)
from etude.inputs.arrays import read, widened

from .draws import along, in_single, per_sample, random_span, require

Batch = tuple[Any, Any]
Mixed = tuple[Inexact[Array, "batch ..."], Float[Array, "batch classes"]]


def soft_labels(labels: Values, num_classes: int | None = None) -> Float[Array, "batch classes"]:
    """One-hot labels from class numbers; soft labels pass through, in float32 or wider.

    Class numbers are integers `(batch,)` of any width, or booleans for two classes; soft labels
    are real numbers `(batch, classes)`, whatever these are. Under `jit`, where no error
    can be raised, a class number outside 0..num_classes-1 becomes a row of NaN.

    Raises:
        DataError: class numbers out of range, or other shapes and dtypes.
        ValueError: class numbers without `num_classes`, or soft labels of another width.

    >>> soft_labels(jnp.array([1, 0]), num_classes=3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if num_classes is not None:
        check_count("soft_labels", "num_classes", num_classes)
    if jnp.ndim(labels) == 2 and jnp.shape(labels)[1] > 1:
        soft = widened(jnp.asarray(read("soft_labels", "labels", labels)))
        width = soft.shape[-1]
        require(
            num_classes in (None, width),
            f"soft_labels: num_classes={num_classes}, but the soft labels have {width} classes",
        )
        return soft
    numbers = class_numbers("soft_labels", "labels", labels, num_classes)
    if num_classes is None:
        raise ValueError(
            "soft_labels: class numbers need num_classes, so that every batch has the same width; "
            "pass num_classes=..."
        )
    return one_hot(numbers, num_classes)


def mixup(
    batch: Batch,
    key: Key[Array, ""],
    alpha: float = 1.0,
    num_classes: int | None = None,
    probability: float = 1.0,
) -> Mixed:
    """Blend each sample with another: `lam * x_i + (1 - lam) * x_j` (Zhang et al. 2018).

    Labels blend with the same weights. Partners are a random permutation of the batch, and each
    sample draws its own `lam` from Beta(alpha, alpha).

    Args:
        batch: inputs `(batch, ...)` and labels.
        key: the source of randomness.
        alpha: strength; 0 leaves the inputs as they are.
        num_classes: number of classes, for integer labels.
        probability: chance of each sample to be mixed at all.

    Raises:
        ValueError: a negative `alpha`, a `probability` outside 0..1, or labels that
            `soft_labels` refuses.

    >>> inputs, labels = mixup((jnp.ones((2, 5)), jnp.eye(2)), jax.random.key(0), alpha=0.0)
    >>> labels.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    inputs, labels, partner, keep = _draw("mixup", batch, key, alpha, num_classes, probability)
    exact = in_single(inputs)
    lam = along(0, keep, inputs).astype(exact.dtype)
    mixed = lam * exact + (1 - lam) * exact[partner]
    return mixed.astype(inputs.dtype), _blend(labels, partner, keep)


def cutmix(
    batch: Batch,
    key: Key[Array, ""],
    alpha: float = 1.0,
    num_classes: int | None = None,
    probability: float = 1.0,
) -> Mixed:
    """Replace a stretch of each sample by that of another (Yun et al. 2019, along the last axis).

    Each sample draws `lam` from Beta(alpha, alpha) and a stretch of `(1 - lam)` of its length,
    which is cut off where it overhangs the ends. The weight of the partner's label is the
    fraction that was really replaced.

    Args:
        batch: inputs `(batch, ..., time)` and labels.
        key: the source of randomness.
        alpha: strength; 0 leaves the inputs as they are.
        num_classes: number of classes, for integer labels.
        probability: chance of each sample to be mixed at all.

    Raises:
        ValueError: a negative `alpha`, a `probability` outside 0..1, inputs without a time axis,
            or labels that `soft_labels` refuses.

    >>> batch = (jnp.array([[0.0] * 8, [1.0] * 8]), jnp.array([0, 1]))
    >>> inputs, labels = cutmix(batch, jax.random.key(1), num_classes=2)
    >>> bool(jnp.all(inputs.mean(axis=-1) == labels[:, 1]))
    True
    """
    draw_key, span_key = jax.random.split(key)
    inputs, labels, partner, keep = _draw(
        "cutmix", batch, draw_key, alpha, num_classes, probability
    )
    require(
        inputs.ndim > 1, f"cutmix: got inputs of shape {inputs.shape}, expected (batch, ..., time)"
    )
    length = inputs.shape[-1]

    def span(key: Array, keep: Array) -> Bool[Array, " time"]:
        width = jnp.round((1 - keep) * length).astype(jnp.int32)
        return random_span(key, length, width)

    replaced = per_sample(span, span_key, keep)
    spread = replaced.reshape(len(replaced), *[1] * (inputs.ndim - 2), length)
    mixed = jnp.where(spread, inputs[partner], inputs)
    return mixed, _blend(labels, partner, 1 - jnp.mean(replaced.astype(jnp.float32), axis=-1))


def _draw(
    name: str, batch: Batch, key: Array, alpha: float, num_classes: Any, probability: float
) -> tuple[Array, Array, Array, Array]:
    """Inputs, soft labels, partners, and how much each sample keeps of itself."""
    inputs, labels = batch
    check_real(name, "alpha", alpha, 0)
    check_real(name, "probability", probability, 0, 1)
    inputs, soft = floating(inputs), soft_labels(labels, num_classes)
    check_lengths(name, inputs=inputs, labels=soft)
    size = len(inputs)
    partner_key, lam_key, chance_key = jax.random.split(key, 3)
    partner = jax.random.permutation(partner_key, size)
    lam = _self_weights(lam_key, alpha, size)
    keep = jnp.where(jax.random.bernoulli(chance_key, probability, (size,)), lam, 1.0)
    return inputs, soft, partner, keep


def _self_weights(key: Array, alpha: float, size: int) -> Array:
    if alpha == 0:
        return jnp.ones(size)
    # Beta(1, 1) is uniform, which compiles in a fraction of the time of the general case.
    if alpha == 1:
        return jax.random.uniform(key, (size,))
    return jax.random.beta(key, alpha, alpha, (size,))


def _blend(labels: Array, partner: Array, keep: Array) -> Array:
    weight = keep[:, None].astype(labels.dtype)
    return weight * labels + (1 - weight) * labels[partner]
