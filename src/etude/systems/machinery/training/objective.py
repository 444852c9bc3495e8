"""The loss of a classifier, as a function of a model, a batch and a context."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, Num

import etude as et
from etude.inputs import concrete
from etude.losses import (
    CrossEntropyLoss,
    FocalLoss,
    LabelSmoothingCrossEntropy,
    cross_entropy,
)
from etude.metrics import Accuracy
from etude.systems.machinery.models import AbstractNetwork, HybridNetwork
from etude.systems.machinery.records import Windows
from etude.systems.machinery.training.batches import Sample, read_batch

#: A loss of logits and targets.
Criterion: TypeAlias = Callable[[Array, Array], Array]
#: What `etude.Gradient` differentiates.
Loss: TypeAlias = Callable[[Any, Any, et.Context], tuple[Array, dict[str, Any], Any]]

_CRITERIA = (CrossEntropyLoss, FocalLoss, LabelSmoothingCrossEntropy)


def multi_label_loss(
    logits: Float[Array, "batch classes"], targets: Num[Array, "batch classes"]
) -> Float[Array, ""]:
    """The binary cross-entropy of every class by itself, in nats: mean over batch and classes.

    Raises DataError for a target outside of 0 to 1; under `jit`, where values cannot be seen, the
    loss is NaN.

    >>> round(float(multi_label_loss(jnp.zeros((1, 2)), jnp.array([[1, 1]]))), 4)
    0.6931
    """
    seen = concrete(targets)
    if seen is not None and seen.size and not (seen.min() >= 0 and seen.max() <= 1):
        raise et.DataError(
            f"multi_label_loss: got targets from {seen.min():g} to {seen.max():g}, expected 0 to "
            "1: whether a signal is of each class. Make rows of 0 and 1 of class numbers."
        )
    logits = et.widened(logits)
    wanted = jnp.asarray(targets).astype(logits.dtype)
    wanted = jnp.where((wanted >= 0) & (wanted <= 1), wanted, jnp.nan)
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, wanted))


def has_many_labels(model: Any) -> bool:
    """Whether a model is one of ours whose head gives several labels at once."""
    return isinstance(model, AbstractNetwork | HybridNetwork) and model.head.multi_label


def check_labels(owner: str, model: Any, criterion: Criterion, *loaders: Any) -> None:
    """Raises DataError for class numbers that a network of ours has no logit for.

    Those of windows, and of arrays in a tuple or a dictionary, can be seen before the training;
    what a criterion of somebody else makes of a label is its own affair.
    """
    ours = criterion is cross_entropy or isinstance(criterion, _CRITERIA)
    if not ours or not isinstance(model, AbstractNetwork | HybridNetwork):
        return
    classes = int(model.head.layers[-1].out_features)
    for loader in loaders:
        labels = np.asarray(_labels_in(loader))
        if not (labels.ndim == 1 and labels.size and np.issubdtype(labels.dtype, np.integer)):
            continue
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            raise et.DataError(
                f"{owner}: got labels from {low} to {high} for a network of {classes} classes, "
                f"expected 0 to {classes - 1}. Renumber the labels, or make the network with "
                f"{max(high + 1, classes)} classes."
            )


def _labels_in(loader: Any) -> Any:
    """The labels of windows or arrays; nothing of what makes its batches itself."""
    if isinstance(loader, Windows):
        return loader.labels
    if isinstance(loader, Mapping):
        return loader.get("label", ())
    return loader[1] if isinstance(loader, tuple) and len(loader) > 1 else ()


def criterion_of(criterion: Criterion | None, model: Any) -> Criterion:
    """The criterion, or the cross-entropy of the kind of head that the model has."""
    if criterion is not None:
        return criterion
    return multi_label_loss if has_many_labels(model) else cross_entropy


def forward(model: Any, sample: Sample, key: Key[Array, ""]) -> tuple[Array, Any]:
    """Logits of a batch, and the model as the pass leaves it.

    A model that is none of ours is called with the batch of signals, and gives logits.
    """
    if isinstance(model, HybridNetwork):
        return model.forward(sample.signals, sample.metadata, key)
    if isinstance(model, AbstractNetwork):
        return model.forward(sample.signals, key)
    return model(sample.signals), model


def accuracy(model: Any, logits: Array, targets: Array) -> Float[Array, ""]:
    """The share of samples that are right; of several labels, with all of them right."""
    if has_many_labels(model):
        return et.widened(jnp.mean(jnp.all((logits > 0) == (et.widened(targets) > 0.5), axis=-1)))
    return Accuracy.empty().update(logits, targets).compute()


def classification(
    owner: str, criterion: Criterion, metadata_keys: Sequence[str] | None = None
) -> Loss:
    """The loss of the logits of a model, which reports the accuracy as well."""

    def loss(model: Any, batch: Any, context: et.Context) -> tuple[Array, dict[str, Any], Any]:
        sample = read_batch(owner, batch, metadata_keys)
        logits, moved = forward(model, sample, context.key)
        value = et.widened(criterion(logits, sample.targets))
        return value, {"accuracy": accuracy(model, logits, sample.targets)}, moved

    return loss


def keys_of(*models: Any) -> list[str] | None:
    """The metadata that hybrid networks among the models see; None if there are none."""
    hybrids = [model for model in models if isinstance(model, HybridNetwork)]
    names = [name for model in hybrids for name, _ in model.features]
    return list(dict.fromkeys(names)) or None
