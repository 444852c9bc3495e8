"""Losses: pure functions of logits and targets, which may be labels or class probabilities."""

from etude.losses._classification import (
    cross_entropy as cross_entropy,
    focal_loss as focal_loss,
)
