"""Contrastive losses: embeddings of one class, or of two views of one sample, attract."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.inputs import (
    Values,
    check_flags,
    check_lengths,
    check_same_shape,
    class_numbers,
    embeddings_of,
    soft_labels,
)
from etude.inputs.arrays import column, read
from etude.losses._reductions import check_temperature, unit_rows


def supervised_contrastive(
    embeddings: Values, labels: Values, *, temperature: float = 0.1
) -> Float[Array, ""]:
    """Supervised contrastive loss, `L_out` of Khosla et al. 2020, in nats.

    The embeddings `(batch, dim)` are normalised here, in float32 or wider. The mean is over the
    anchors that have a positive; in a batch without any the loss and its gradient are zero.
    `labels` are class numbers `(batch,)` of any integer type; class probabilities
    `(batch, classes)` in their place, as mixup gives them, weigh each pair by the inner product
    of its two rows. `temperature` is a Python number.

    Raises `DataError` for other shapes and dtypes, negative labels, and rows that are no
    probabilities (under `jit` the loss is NaN); ValueError for a temperature that is not positive.

    >>> import jax.numpy as jnp
    >>> embeddings = jnp.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    >>> labels = jnp.array([0, 0, 1, 1])
    >>> round(float(supervised_contrastive(embeddings, labels, temperature=1.0)), 4)
    0.5514
    """
    owner = "supervised_contrastive"
    check_temperature(owner, temperature)
    units = unit_rows(embeddings_of(owner, "embeddings", embeddings))
    shared = _shared_class(owner, labels).astype(units.dtype)
    check_lengths(owner, embeddings=units, labels=shared)
    itself = jnp.eye(len(units), dtype=bool)
    # Very low but finite, for it meets the zero weight of its pair as a factor.
    lowest = jnp.finfo(units.dtype).min / 2
    log_p = jax.nn.log_softmax(jnp.where(itself, lowest, units @ units.T / temperature))
    pairs = jnp.where(itself, 0, shared)
    positives = pairs.sum(axis=1)
    anchor = positives != 0  # also where NaN, which must not go unnoticed
    values = -(pairs * log_p).sum(axis=1) / jnp.where(anchor, positives, 1)
    return values.sum() / jnp.maximum(anchor.sum(), 1).astype(units.dtype)


def info_nce(
    first: Values, second: Values, *, temperature: float = 0.1, symmetric: bool = True
) -> Float[Array, ""]:
    """InfoNCE between two views, in nats: row i of `first` belongs to row i of `second`.

    Both are embeddings `(batch, dim)`, normalised here, in float32 or wider. Cross-entropy of
    picking the right one among the batch by the cosine over the temperature, from both sides
    unless `symmetric` is false. Views that say nothing of each other give about ln(batch).
    van den Oord et al. 2018.

    Raises `DataError` for other or unequal shapes and other dtypes; ValueError for a batch of
    one, a `symmetric` that is no truth value, and unless the temperature is positive.

    >>> import jax.numpy as jnp
    >>> round(float(info_nce(jnp.ones((8, 2)), jnp.ones((8, 2)))), 4)
    2.0794
    """
    check_temperature("info_nce", temperature)
    check_flags("info_nce", symmetric=symmetric)
    one = unit_rows(embeddings_of("info_nce", "first", first))
    other = unit_rows(embeddings_of("info_nce", "second", second)).astype(one.dtype)
    check_same_shape("info_nce", first=one, second=other)
    if len(one) < 2:
        raise ValueError(
            f"info_nce: got a batch of {len(one)}, expected 2 or more. The other samples of a "
            "batch are the negatives; alone the loss is zero and teaches nothing. Use larger "
            "batches, and drop_last=True if only the last batch of an epoch is this short."
        )
    logits = one @ other.T / temperature
    forward = -jnp.diagonal(jax.nn.log_softmax(logits, axis=1)).mean()
    if not symmetric:
        return forward
    return (forward - jnp.diagonal(jax.nn.log_softmax(logits, axis=0)).mean()) / 2


def _shared_class(owner: str, labels: Values) -> Float[Array, "batch batch"]:
    """The probability that two samples are of one class: 0 or 1 for class numbers."""
    given = column(read(owner, "labels", labels))
    if given.ndim == 2:
        rows = soft_labels(owner, "labels", given, given.shape[1])
        return rows @ rows.T
    numbers = class_numbers(owner, "labels", given)
    equal = (numbers[:, None] == numbers[None, :]).astype(jnp.float32)
    return jnp.where((numbers < 0)[:, None], jnp.nan, equal)
