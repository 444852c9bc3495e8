"""Accuracy and top-k accuracy: fractions of samples, from int32 counts."""

from types import ModuleType

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from etude.inputs import Values, check_count, class_pairs, score_pairs
from etude.inputs.arrays import concrete


class Hits(eqx.Module):
    """How many samples were hit and counted, and of how many that cannot be told (NaN)."""

    hits: Int[Array, ""]
    count: Int[Array, ""]
    unknown: Int[Array, ""]

    @classmethod
    def empty(cls) -> "Hits":
        """Nothing counted yet."""
        zero = jnp.zeros((), jnp.int32)
        return cls(zero, zero, zero)

    def update(
        self,
        hit: Bool[Array, "batch"],
        counted: Bool[Array, "batch"],
        known: Bool[Array, "batch"],
    ) -> "Hits":
        """Count a batch."""
        return self.merge(Hits(_sum(hit & counted), _sum(counted), _sum(counted & ~known)))

    def merge(self, other: "Hits") -> "Hits":
        """Both together."""
        return Hits(self.hits + other.hits, self.count + other.count, self.unknown + other.unknown)

    def compute(self) -> Float[Array, ""]:
        """The fraction of hits; NaN if nothing was counted or something cannot be told."""
        told = (self.count > 0) & (self.unknown == 0)
        return jnp.where(told, self.hits / jnp.maximum(self.count, 1), jnp.nan)


def _sum(which: Bool[Array, "batch"]) -> Int[Array, ""]:
    return which.sum(dtype=jnp.int32)


class Accuracy(eqx.Module):
    """The fraction of samples whose class is predicted; NaN if nothing was counted.

    NaN, too, if a sample that counts has a score of NaN: its class cannot be told.

    >>> import jax.numpy as jnp
    >>> state = Accuracy.empty().update(jnp.array([0, 1, 1, 2]), jnp.array([0, 1, 2, 2]))
    >>> float(state.compute())
    0.75
    """

    counts: Hits

    @classmethod
    def empty(cls) -> "Accuracy":
        """Nothing counted yet."""
        return cls(Hits.empty())

    def update(
        self, predictions: Values, targets: Values, mask: Values | None = None
    ) -> "Accuracy":
        """Count a batch; scores `(batch, classes)` stand for their largest class.

        Predictions, targets and mask are as `etude.metrics` says; `DataError` for others.
        """
        pairs = class_pairs("Accuracy", predictions, targets, mask)
        hit = pairs.predicted == pairs.actual
        return Accuracy(self.counts.update(hit, pairs.counted, pairs.known))

    def merge(self, other: "Accuracy") -> "Accuracy":
        """Both together."""
        return Accuracy(self.counts.merge(other.counts))

    def compute(self) -> Float[Array, ""]:
        """The fraction in 0..1."""
        return self.counts.compute()


class TopKAccuracy(eqx.Module):
    """The fraction of samples whose class is among the k of the highest score.

    Of equal scores the lower class comes first, as in argmax, so k = 1 is the accuracy. With k
    classes or fewer every sample is right. NaN as for the accuracy.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> float(TopKAccuracy.empty(k=2).update(scores, jnp.array([1, 2])).compute())
    0.5
    """

    counts: Hits
    k: int = eqx.field(static=True)

    @classmethod
    def empty(cls, k: int = 5) -> "TopKAccuracy":
        """Nothing counted yet. Raises ValueError unless k is a whole number of 1 or more."""
        check_count("TopKAccuracy", "k", k)
        return cls(Hits.empty(), int(k))  # static: of NumPy it would be an array

    def update(self, scores: Values, targets: Values, mask: Values | None = None) -> "TopKAccuracy":
        """Count a batch of scores or logits `(batch, classes)`; `DataError` for others."""
        hit, counted, known = top_k_hits("TopKAccuracy", scores, targets, mask, self.k)
        return TopKAccuracy(self.counts.update(hit, counted, known), self.k)

    def merge(self, other: "TopKAccuracy") -> "TopKAccuracy":
        """Both together. Raises ValueError when k differs."""
        if self.k != other.k:
            raise ValueError(f"TopKAccuracy.merge: got k={other.k}, expected k={self.k}.")
        return TopKAccuracy(self.counts.merge(other.counts), self.k)

    def compute(self) -> Float[Array, ""]:
        """The fraction in 0..1; NaN if nothing was counted."""
        return self.counts.compute()


def top_k_hits(
    owner: str, scores: Values, targets: Values, mask: Values | None, k: int
) -> tuple[Bool[Array, "batch"], Bool[Array, "batch"], Bool[Array, "batch"]]:
    """Which samples are right, which count, and which can be told."""
    pairs = score_pairs(owner, scores, targets, mask, binary=False)
    seen = concrete(pairs.actual)
    if isinstance(pairs.scores, np.ndarray) and seen is not None:  # in NumPy's own precision
        hit = jnp.asarray(_in_top_k(np, pairs.scores, seen, k))
    else:
        hit = jnp.asarray(_in_top_k(jnp, jnp.asarray(pairs.scores), pairs.actual, k))
    return hit, pairs.counted, pairs.known


def _in_top_k(xp: ModuleType, scores: Values, actual: Values, k: int) -> Values:
    classes = scores.shape[1]
    own = xp.take_along_axis(scores, xp.clip(actual, 0, classes - 1)[:, None], axis=1)
    before = xp.arange(classes)[None, :] < actual[:, None]
    return ((scores > own) | ((scores == own) & before)).sum(axis=1) < k
