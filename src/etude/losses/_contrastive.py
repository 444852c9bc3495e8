"""Contrastive losses: embeddings of one class, or of two views of one sample, attract."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etude.losses._targets import check_temperature, unit_rows


def supervised_contrastive(
    embeddings: Float[Array, "batch dim"],
    labels: Int[Array, "batch"] | Float[Array, "batch classes"],
    *,
    temperature: float = 0.1,
) -> Float[Array, ""]:
    """Supervised contrastive loss, `L_out` of Khosla et al. 2020, in nats.

    The embeddings are normalised here. The mean is over the anchors that have a positive; in a
    batch without any the loss and its gradient are zero. Class probabilities in place of labels,
    as mixup gives them, weigh each pair by the inner product of its two rows. `temperature` is a
    Python number; ValueError unless it is positive.

    >>> import jax.numpy as jnp
    >>> embeddings = jnp.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    >>> labels = jnp.array([0, 0, 1, 1])
    >>> round(float(supervised_contrastive(embeddings, labels, temperature=1.0)), 4)
    0.5514
    """
    check_temperature("supervised_contrastive", temperature)
    units = unit_rows(embeddings)
    itself = jnp.eye(len(units), dtype=bool)
    # Very low but finite, for it meets the zero weight of its pair as a factor.
    lowest = jnp.finfo(units.dtype).min / 2
    log_p = jax.nn.log_softmax(jnp.where(itself, lowest, units @ units.T / temperature))
    if jnp.issubdtype(labels.dtype, jnp.floating):
        pairs = (labels @ labels.T).astype(units.dtype)
    else:
        pairs = (labels[:, None] == labels[None, :]).astype(units.dtype)
    pairs = jnp.where(itself, 0, pairs)
    positives = pairs.sum(axis=1)
    anchor = positives > 0
    values = -(pairs * log_p).sum(axis=1) / jnp.where(anchor, positives, 1)
    return values.sum() / jnp.maximum(anchor.sum(), 1).astype(units.dtype)


def info_nce(
    first: Float[Array, "batch dim"],
    second: Float[Array, "batch dim"],
    *,
    temperature: float = 0.1,
    symmetric: bool = True,
) -> Float[Array, ""]:
    """InfoNCE between two views, in nats: row i of `first` belongs to row i of `second`.

    Cross-entropy of picking the right one among the batch by the cosine over the temperature,
    from both sides unless `symmetric` is false. Views that say nothing of each other give about
    ln(batch). Raises ValueError for a batch of one, and unless the temperature is positive.
    van den Oord et al. 2018.

    >>> import jax.numpy as jnp
    >>> round(float(info_nce(jnp.ones((8, 2)), jnp.ones((8, 2)))), 4)
    2.0794
    """
    check_temperature("info_nce", temperature)
    if len(first) < 2:
        raise ValueError(
            f"info_nce: got a batch of {len(first)}, expected 2 or more. The other samples of a "
            "batch are the negatives; alone the loss is zero and teaches nothing. Use larger "
            "batches, and drop_last=True if only the last batch of an epoch is this short."
        )
    logits = unit_rows(first) @ unit_rows(second).T / temperature
    forward = -jnp.diagonal(jax.nn.log_softmax(logits, axis=1)).mean()
    if not symmetric:
        return forward
    return (forward - jnp.diagonal(jax.nn.log_softmax(logits, axis=0)).mean()) / 2
