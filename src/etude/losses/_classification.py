"""Cross-entropy and focal loss, over integer labels or class probabilities."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from etude.losses._targets import Reduction, probabilities, reduce_batch


def cross_entropy(
    logits: Float[Array, "batch classes"],
    targets: Int[Array, "batch"] | Float[Array, "batch classes"],
    *,
    smoothing: float = 0.0,
    weight: Float[Array, "classes"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Cross-entropy in nats, `-sum_c w_c q_c log p_c` with `q = (1 - smoothing) t + smoothing/K`.

    `targets` are labels `(batch,)` or probabilities `(batch, classes)`. With class weights the
    mean divides by the summed weight of the targets (for labels, as torch does). A class that is
    ruled out by a logit of -inf is allowed where its target is zero. `smoothing` is a Python
    number, known when the loss is compiled. Raises ValueError for labels out of range, a
    smoothing outside 0..1 or an unknown reduction. Szegedy et al. 2016.

    >>> import jax.numpy as jnp
    >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3]))), 4)
    1.3863
    """
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"cross_entropy: got smoothing={smoothing}, expected a number in 0..1.")
    target = probabilities(targets, logits.shape[-1], logits.dtype)
    smooth = optax.losses.smooth_labels(target, smoothing)
    if weight is None:
        return reduce_batch(optax.losses.safe_softmax_cross_entropy(logits, smooth), reduction)
    weight = weight.astype(logits.dtype)
    values = optax.losses.safe_softmax_cross_entropy(logits, smooth * weight[None, :])
    if reduction == "mean":
        return values.sum() / (target @ weight).sum()
    return reduce_batch(values, reduction)


def focal_loss(
    logits: Float[Array, "batch classes"],
    targets: Int[Array, "batch"] | Float[Array, "batch classes"],
    *,
    alpha: float | Float[Array, "classes"] | None = None,
    gamma: float = 2.0,
    reduction: Reduction = "mean",
) -> Float[Array, "..."]:
    """Focal loss `-sum_c alpha_c t_c (1 - p_c)^gamma log p_c` (Lin et al. 2017), in nats.

    A float `alpha` scales every class, an array `(classes,)` each its own. It is linear in the
    targets, so probabilities `(batch, classes)` from mixup compose. `gamma` is a Python number,
    known when the loss is compiled. Raises ValueError for labels out of range, a negative gamma
    or an unknown reduction.

    >>> import jax.numpy as jnp
    >>> round(float(focal_loss(jnp.zeros((1, 2)), jnp.array([0]), alpha=0.5)), 4)
    0.0866
    """
    if gamma < 0:
        raise ValueError(f"focal_loss: got gamma={gamma}, expected 0 or more.")
    target = probabilities(targets, logits.shape[-1], logits.dtype)
    log_p = jax.nn.log_softmax(logits)
    # Kept above zero: below gamma = 1 the power has an infinite slope there.
    one_minus_p = jnp.maximum(-jnp.expm1(log_p), jnp.finfo(logits.dtype).tiny)
    scale = jnp.asarray(1.0 if alpha is None else alpha, dtype=logits.dtype)
    scale = jnp.broadcast_to(scale, (1, logits.shape[-1]))
    return reduce_batch(-(scale * target * one_minus_p**gamma * log_p).sum(-1), reduction)
