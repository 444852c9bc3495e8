"""Losses: pure functions of logits and targets, which may be labels or class probabilities.

The capitalised ones hold their settings and are called like functions; `create_criterion` finds
them by name.
"""

from etude.losses._adversarial import (
    bce_critic_loss as bce_critic_loss,
    bce_generator_loss as bce_generator_loss,
    gradient_penalty as gradient_penalty,
    hinge_critic_loss as hinge_critic_loss,
    hinge_generator_loss as hinge_generator_loss,
    wasserstein_critic_loss as wasserstein_critic_loss,
    wasserstein_generator_loss as wasserstein_generator_loss,
)
from etude.losses._classification import (
    cross_entropy as cross_entropy,
    focal_loss as focal_loss,
)
from etude.losses._contrastive import (
    info_nce as info_nce,
    supervised_contrastive as supervised_contrastive,
)
from etude.losses._criteria import (
    CrossEntropyLoss as CrossEntropyLoss,
    DistillationLoss as DistillationLoss,
    FocalLoss as FocalLoss,
    LabelSmoothingCrossEntropy as LabelSmoothingCrossEntropy,
    SupConLoss as SupConLoss,
    create_criterion as create_criterion,
)
from etude.losses._distillation import distillation_loss as distillation_loss
from etude.losses._reductions import unit_rows as unit_rows
from etude.losses._weights import compute_class_weights as compute_class_weights
