"""Losses with their settings, as values that are called like functions, and chosen by name.

>>> import jax.numpy as jnp
>>> criterion = create_criterion("focal", alpha=0.25, gamma=2.0)
>>> criterion
FocalLoss(alpha=0.25, gamma=2.0)
>>> round(float(criterion(jnp.zeros((1, 2)), jnp.array([0]))), 4)
0.0433
"""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from etude.errors import suggest
from etude.inputs import Values, check_real, one_of
from etude.losses._classification import check_focus, cross_entropy, focal_loss
from etude.losses._contrastive import supervised_contrastive
from etude.losses._distillation import HardLoss, check_mixture, distillation_loss
from etude.losses._reductions import Reduction, check_temperature


class CrossEntropyLoss(eqx.Module):
    """`cross_entropy` with class weights `(classes,)` and a reduction.

    >>> import jax.numpy as jnp
    >>> round(float(CrossEntropyLoss()(jnp.zeros((1, 2)), jnp.array([0]))), 4)
    0.6931
    """

    weight: Values | None = None
    reduction: Reduction = eqx.field(static=True, default="mean")

    def __check_init__(self):
        one_of("CrossEntropyLoss", "reduction", self.reduction, Reduction)

    def __call__(
        self,
        logits: Values,
        targets: Values,
    ) -> Float[Array, "..."]:
        """The loss in nats; see `cross_entropy`."""
        return cross_entropy(logits, targets, weight=self.weight, reduction=self.reduction)


class LabelSmoothingCrossEntropy(eqx.Module):
    """`cross_entropy` with smoothed targets; ValueError for a smoothing outside 0..1.

    >>> import jax.numpy as jnp
    >>> round(float(LabelSmoothingCrossEntropy(0.1)(jnp.zeros((1, 2)), jnp.array([0]))), 4)
    0.6931
    """

    smoothing: float = eqx.field(static=True, default=0.1)
    weight: Values | None = None
    reduction: Reduction = eqx.field(static=True, default="mean")

    def __check_init__(self):
        one_of("LabelSmoothingCrossEntropy", "reduction", self.reduction, Reduction)
        check_real("LabelSmoothingCrossEntropy", "smoothing", self.smoothing, 0, 1)

    def __call__(
        self,
        logits: Values,
        targets: Values,
    ) -> Float[Array, "..."]:
        """The loss in nats; see `cross_entropy`."""
        return cross_entropy(
            logits,
            targets,
            smoothing=self.smoothing,
            weight=self.weight,
            reduction=self.reduction,
        )


class FocalLoss(eqx.Module):
    """`focal_loss` with its settings; ValueError for a negative alpha or gamma.

    >>> import jax.numpy as jnp
    >>> round(float(FocalLoss(gamma=0.0)(jnp.zeros((1, 2)), jnp.array([0]))), 4)
    0.6931
    """

    alpha: float | Values | None = None
    gamma: float = eqx.field(static=True, default=2.0)
    reduction: Reduction = eqx.field(static=True, default="mean")

    def __check_init__(self):
        one_of("FocalLoss", "reduction", self.reduction, Reduction)
        check_focus("FocalLoss", self.alpha, self.gamma)

    def __call__(
        self,
        logits: Values,
        targets: Values,
    ) -> Float[Array, "..."]:
        """The loss in nats; see `focal_loss`."""
        return focal_loss(
            logits, targets, alpha=self.alpha, gamma=self.gamma, reduction=self.reduction
        )


class SupConLoss(eqx.Module):
    """`supervised_contrastive` at a temperature; ValueError unless that is positive.

    >>> import jax.numpy as jnp
    >>> round(float(SupConLoss()(jnp.ones((3, 2)), jnp.array([0, 0, 0]))), 4)
    0.6931
    """

    temperature: float = eqx.field(static=True, default=0.1)

    def __check_init__(self):
        check_temperature("SupConLoss", self.temperature)

    def __call__(
        self,
        embeddings: Values,
        labels: Values,
    ) -> Float[Array, ""]:
        """The loss in nats; see `supervised_contrastive`."""
        return supervised_contrastive(embeddings, labels, temperature=self.temperature)


class DistillationLoss(eqx.Module):
    """`distillation_loss` with its settings, which are checked as there.

    >>> import jax.numpy as jnp
    >>> logits = jnp.zeros((1, 2))
    >>> round(float(DistillationLoss(alpha=0.0)(logits, logits, jnp.array([0]))), 4)
    0.6931
    """

    temperature: float = eqx.field(static=True, default=4.0)
    alpha: float = eqx.field(static=True, default=0.7)
    hard_loss_type: HardLoss = eqx.field(static=True, default="cross_entropy")

    def __check_init__(self):
        check_temperature("DistillationLoss", self.temperature)
        check_mixture("DistillationLoss", self.alpha)
        one_of("DistillationLoss", "hard_loss_type", self.hard_loss_type, HardLoss)

    def __call__(
        self,
        student: Values,
        teacher: Values,
        targets: Values,
    ) -> Float[Array, ""]:
        """The loss in nats, of logits; see `distillation_loss`."""
        return distillation_loss(
            student,
            teacher,
            targets,
            temperature=self.temperature,
            alpha=self.alpha,
            hard_loss=self.hard_loss_type,
        )


_CRITERIA: dict[str, Callable[..., Any]] = {
    "ce": CrossEntropyLoss,
    "label_smoothing": LabelSmoothingCrossEntropy,
    "focal": FocalLoss,
    "supcon": SupConLoss,
}


def create_criterion(
    name: str, **settings: Any
) -> CrossEntropyLoss | LabelSmoothingCrossEntropy | FocalLoss | SupConLoss:
    """A loss by name: "ce", "label_smoothing", "focal" or "supcon", with its settings.

    Raises ValueError for an unknown name and TypeError for a setting that the loss does not have.

    >>> create_criterion("supcon", temperature=0.5)
    SupConLoss(temperature=0.5)
    """
    if name not in _CRITERIA:
        raise ValueError(f"create_criterion: no loss {name!r}. {suggest(name, _CRITERIA)}")
    known = inspect.signature(_CRITERIA[name]).parameters
    for setting in settings:
        if setting not in known:
            raise TypeError(
                f"create_criterion: {name!r} has no setting {setting!r}. {suggest(setting, known)}"
            )
    return _CRITERIA[name](**settings)
