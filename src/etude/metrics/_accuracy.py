"""Accuracy and top-k accuracy: fractions of samples, from int32 counts."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etude.metrics._inputs import Mask, check_positive, class_ids, counted


def _fraction(hits: Int[Array, ""], count: Int[Array, ""]) -> Float[Array, ""]:
    return jnp.where(count > 0, hits / jnp.maximum(count, 1), jnp.nan)


class Accuracy(eqx.Module):
    """The fraction of samples whose class is predicted; NaN if nothing was counted.

    >>> import jax.numpy as jnp
    >>> state = Accuracy.empty().update(jnp.array([0, 1, 1, 2]), jnp.array([0, 1, 2, 2]))
    >>> float(state.compute())
    0.75
    """

    hits: Int[Array, ""]
    count: Int[Array, ""]

    @classmethod
    def empty(cls) -> "Accuracy":
        """Nothing counted yet."""
        return cls(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(
        self,
        predictions: Int[Array, "batch"] | Float[Array, "batch classes"],
        targets: Int[Array, "batch"] | Float[Array, "batch classes"],
        mask: Mask = None,
    ) -> "Accuracy":
        """Count a batch; scores `(batch, classes)` stand for their largest class."""
        hit = class_ids(predictions) == class_ids(targets)
        return self.merge(Accuracy(*_counts(hit, counted(mask, len(targets)))))

    def merge(self, other: "Accuracy") -> "Accuracy":
        """Both together."""
        return Accuracy(self.hits + other.hits, self.count + other.count)

    def compute(self) -> Float[Array, ""]:
        """The fraction in 0..1."""
        return _fraction(self.hits, self.count)


class TopKAccuracy(eqx.Module):
    """The fraction of samples whose class is among the k of the highest score.

    Of equal scores the lower class comes first, as in argmax, so k = 1 is the accuracy. With k
    classes or fewer every sample is right.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    >>> float(TopKAccuracy.empty(k=2).update(scores, jnp.array([1, 2])).compute())
    0.5
    """

    hits: Int[Array, ""]
    count: Int[Array, ""]
    k: int = eqx.field(static=True)

    @classmethod
    def empty(cls, k: int = 5) -> "TopKAccuracy":
        """Nothing counted yet. Raises ValueError for k below one."""
        check_positive("TopKAccuracy", "k", k)
        return cls(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), k)

    def update(
        self,
        scores: Float[Array, "batch classes"],
        targets: Int[Array, "batch"] | Float[Array, "batch classes"],
        mask: Mask = None,
    ) -> "TopKAccuracy":
        """Count a batch of scores or logits."""
        _, best = jax.lax.top_k(scores, min(self.k, scores.shape[-1]))
        hit = (best == class_ids(targets)[:, None]).any(axis=-1)
        return self.merge(TopKAccuracy(*_counts(hit, counted(mask, len(targets))), self.k))

    def merge(self, other: "TopKAccuracy") -> "TopKAccuracy":
        """Both together. Raises ValueError when k differs."""
        if self.k != other.k:
            raise ValueError(f"TopKAccuracy.merge: got k={other.k}, expected k={self.k}.")
        return TopKAccuracy(self.hits + other.hits, self.count + other.count, self.k)

    def compute(self) -> Float[Array, ""]:
        """The fraction in 0..1; NaN if nothing was counted."""
        return _fraction(self.hits, self.count)


def _counts(
    hit: Bool[Array, "batch"], counts: Bool[Array, "batch"]
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    return (hit & counts).sum(dtype=jnp.int32), counts.sum(dtype=jnp.int32)
