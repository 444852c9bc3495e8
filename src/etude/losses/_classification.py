"""Cross-entropy and focal loss, over class numbers or class probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from etude.inputs import (
    Values,
    check_lengths,
    check_real,
    class_vector,
    logits_of,
    soft_labels,
)
from etude.kinds import is_a
from etude.losses._reductions import Reduction, reduce_batch


def cross_entropy(
    logits: Values,
    targets: Values,
    *,
    smoothing: float = 0.0,
    weight: Values | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy in nats, `-sum_c w_c q_c log p_c` with `q = (1 - smoothing) t + smoothing/K`.

    `logits` are `(batch, classes)`, `targets` class numbers `(batch,)` of any integer type or
    probabilities `(batch, classes)`, `weight` one number of 0 or more for each class. With
    class weights the mean divides by the summed weight of the targets (for labels, as torch
    does). A class that is ruled out by a logit of -inf is allowed where its target is zero.
    `smoothing` is a Python number, known when the loss is compiled. Computed in float32 or wider.
    Szegedy et al. 2016.

    Raises `DataError` for other shapes and dtypes, for labels out of range, negative weights and
    targets that are no probabilities (under `jit`, where values cannot be seen, the loss is NaN);
    ValueError for a smoothing outside 0..1 or an unknown reduction.

    >>> import jax.numpy as jnp
    >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))), 4)
    1.3863
    """
    check_real("cross_entropy", "smoothing", smoothing, 0, 1)
    scores, target = scored_targets("cross_entropy", logits, targets)
    smooth = optax.losses.smooth_labels(target, smoothing)
    if weight is None:
        return reduce_batch(optax.losses.safe_softmax_cross_entropy(scores, smooth), reduction)
    weights = class_vector("cross_entropy", "weight", weight, scores.shape[1], scores.dtype)
    values = optax.losses.safe_softmax_cross_entropy(scores, smooth * weights[None, :])
    if reduction == "mean":
        return values.sum() / (target @ weights).sum()
    return reduce_batch(values, reduction)


def focal_loss(
    logits: Values,
    targets: Values,
    *,
    alpha: float | Values | None = None,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Focal loss `-sum_c alpha_c t_c (1 - p_c)^gamma log p_c` (Lin et al. 2017), in nats.

    Logits and targets as for `cross_entropy`, and a logit of -inf, too. A float `alpha` scales
    every class, an array `(classes,)` each its own. It is linear in the targets, so probabilities
    `(batch, classes)` from mixup compose. `gamma` is a Python number, known when the loss is
    compiled. Computed in float32 or wider.

    Raises `DataError` as `cross_entropy`; ValueError for a negative alpha or gamma or an unknown
    reduction.

    >>> import jax.numpy as jnp
    >>> round(float(focal_loss(jnp.zeros((1, 2)), jnp.array([0]), alpha=0.5)), 4)
    0.0866
    """
    check_focus("focal_loss", alpha, gamma)
    scores, target = scored_targets("focal_loss", logits, targets)
    # Where the target is zero the class costs nothing, also with a probability of zero.
    log_p = jnp.where(target == 0, 0, jax.nn.log_softmax(scores))
    # Kept above zero: below gamma = 1 the power has an infinite slope there.
    one_minus_p = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(scores.dtype).tiny)
    values = target * one_minus_p**gamma * log_p
    if alpha is not None:
        classes = scores.shape[1]
        per_class = jnp.full(classes, alpha) if jnp.ndim(alpha) == 0 else alpha
        scale = class_vector("focal_loss", "alpha", per_class, classes, scores.dtype)
        values = scale[None, :] * values
    return reduce_batch(-values.sum(-1), reduction)


def check_focus(owner: str, alpha: float | Values | None, gamma: float) -> None:
    """Refuses a scale that would turn the loss around, and a focus on what is easy."""
    check_real(owner, "gamma", gamma, 0)
    if not (alpha is None or is_a(alpha, jax.Array | np.ndarray)):
        check_real(owner, "alpha", alpha, 0)


def scored_targets(
    owner: str, logits: Values, targets: Values, name: str = "logits"
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch classes"]]:
    """Logits, and targets as probabilities, in one dtype of float32 or wider."""
    scores = logits_of(owner, name, logits)
    target = soft_labels(owner, "targets", targets, scores.shape[1]).astype(scores.dtype)
    check_lengths(owner, **{name: scores}, targets=target)
    return scores, target
