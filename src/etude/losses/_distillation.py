"""Distillation: a student learns from the softened classes of a teacher."""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.inputs import Values, check_real, check_same_shape, logits_of, one_of
from etude.losses._classification import cross_entropy, scored_targets
from etude.losses._reductions import check_temperature

HardLoss: TypeAlias = Literal["cross_entropy", "mse"]


def distillation_loss(
    student: Values,
    teacher: Values,
    targets: Values,
    *,
    temperature: float = 4.0,
    alpha: float = 0.7,
    hard_loss: HardLoss = "cross_entropy",
) -> Float[Array, ""]:
    """`alpha T^2 KL(teacher || student) + (1 - alpha) hard`, over logits (Hinton et al. 2015).

    Logits `(batch, classes)` and targets as for `cross_entropy`, all computed in float32 or
    wider. Both distributions are softened by the temperature T, and the factor T^2 keeps the size
    of the gradient. The hard part is the cross-entropy with the targets, or the mean squared
    error of the student's probabilities. No gradient reaches the teacher; a class that it rules
    out by a logit of -inf costs nothing.

    Raises `DataError` as `cross_entropy`, and for a teacher of another shape than the student;
    ValueError for an alpha outside 0..1, a temperature that is not positive, or an unknown
    `hard_loss`.

    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[2.0, 0.0]])
    >>> float(distillation_loss(logits, logits, jnp.array([0]), alpha=1.0))
    0.0
    """
    check_temperature("distillation_loss", temperature)
    check_mixture("distillation_loss", alpha)
    one_of("distillation_loss", "hard_loss", hard_loss, HardLoss)
    scores, target = scored_targets("distillation_loss", student, targets, name="student")
    meant = logits_of("distillation_loss", "teacher", jax.lax.stop_gradient(teacher))
    check_same_shape("distillation_loss", student=scores, teacher=meant)
    log_student = jax.nn.log_softmax(scores / temperature)
    log_teacher = jax.nn.log_softmax(meant.astype(scores.dtype) / temperature)
    p = jnp.exp(log_teacher)
    soft = (p * jnp.where(p == 0, 0, log_teacher - log_student)).sum(-1).mean()
    if hard_loss == "cross_entropy":
        hard = cross_entropy(scores, target)
    else:
        hard = jnp.mean((jax.nn.softmax(scores) - target) ** 2)
    return alpha * temperature**2 * soft + (1 - alpha) * hard


def check_mixture(owner: str, alpha: float) -> None:
    """Refuses an alpha (1 is the teacher alone, 0 the targets) that would subtract a part."""
    check_real(owner, "alpha", alpha, 0, 1)
