"""Distillation: a student learns from the softened classes of a teacher."""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from etude.losses._classification import cross_entropy
from etude.losses._targets import check_temperature, one_of, probabilities

HardLoss: TypeAlias = Literal["cross_entropy", "mse"]


def distillation_loss(
    student: Float[Array, "batch classes"],
    teacher: Float[Array, "batch classes"],
    targets: Int[Array, "batch"] | Float[Array, "batch classes"],
    *,
    temperature: float = 4.0,
    alpha: float = 0.7,
    hard_loss: HardLoss = "cross_entropy",
) -> Float[Array, ""]:
    """`alpha T^2 KL(teacher || student) + (1 - alpha) hard`, over logits (Hinton et al. 2015).

    Both distributions are softened by the temperature T, and the factor T^2 keeps the size of
    the gradient. The hard part is the cross-entropy with the targets, or the mean squared error
    of the student's probabilities. No gradient reaches the teacher. Raises ValueError for an
    alpha outside 0..1, a temperature that is not positive, labels out of range, or an unknown
    `hard_loss`.

    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[2.0, 0.0]])
    >>> float(distillation_loss(logits, logits, jnp.array([0]), alpha=1.0))
    0.0
    """
    check_temperature("distillation_loss", temperature)
    check_mixture("distillation_loss", alpha)
    one_of("distillation_loss", "hard_loss", hard_loss, HardLoss)
    log_student = jax.nn.log_softmax(student / temperature)
    log_teacher = jax.nn.log_softmax(jax.lax.stop_gradient(teacher) / temperature)
    soft = optax.losses.kl_divergence_with_log_targets(log_student, log_teacher).mean()
    if hard_loss == "cross_entropy":
        hard = cross_entropy(student, targets)
    else:
        target = probabilities(targets, student.shape[-1], student.dtype)
        hard = jnp.mean((jax.nn.softmax(student) - target) ** 2)
    return alpha * temperature**2 * soft + (1 - alpha) * hard


def check_mixture(owner: str, alpha: float) -> None:
    """Refuses an alpha that would subtract one part of the loss."""
    if not 0 <= alpha <= 1:
        raise ValueError(
            f"{owner}: got alpha={alpha}, expected 0..1: 1 is the teacher alone, 0 the targets."
        )
