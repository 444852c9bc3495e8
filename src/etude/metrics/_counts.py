"""The confusion matrix as a mergeable state; what is counted stays exact in int32."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from etude.inputs import Values, check_count, class_pairs


class ConfusionMatrix(eqx.Module):
    """Counts of (target, prediction) pairs: rows are targets, columns predictions.

    Samples whose `mask` is false or zero are not counted, any other once. Exact up to 2**31 - 1
    a cell, over any split into batches.

    >>> import jax.numpy as jnp
    >>> state = ConfusionMatrix.empty(2).update(jnp.array([0, 1, 1]), jnp.array([0, 0, 1]))
    >>> state.merge(state).compute().tolist()
    [[2, 2], [0, 2]]
    """

    counts: Int[Array, "classes classes"]
    unknown: Int[Array, ""]

    @classmethod
    def empty(cls, num_classes: int) -> "ConfusionMatrix":
        """Nothing counted yet. Raises ValueError for fewer than one class."""
        check_count("ConfusionMatrix", "num_classes", num_classes)
        return cls(jnp.zeros((num_classes, num_classes), jnp.int32), jnp.zeros((), jnp.int32))

    def update(
        self, predictions: Values, targets: Values, mask: Values | None = None
    ) -> "ConfusionMatrix":
        """Count a batch; scores `(batch, classes)` stand for their largest class.

        Predictions, targets and mask are as `etude.metrics` says; `DataError` for others.
        """
        classes = self.counts.shape[0]
        pairs = class_pairs("ConfusionMatrix", predictions, targets, mask, classes)
        # Pairs that do not count go past the end, where the scatter drops them.
        rows = jnp.where(pairs.counted & pairs.known, pairs.actual, classes)
        unknown = (pairs.counted & ~pairs.known).sum(dtype=jnp.int32)
        return ConfusionMatrix(
            self.counts.at[rows, pairs.predicted].add(1, mode="drop"), self.unknown + unknown
        )

    def merge(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Both together. Raises ValueError when the numbers of classes differ."""
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"ConfusionMatrix.merge: got {other.counts.shape[0]} classes, expected "
                f"{self.counts.shape[0]}. Build both with the same num_classes."
            )
        return ConfusionMatrix(self.counts + other.counts, self.unknown + other.unknown)

    def compute(self) -> Int[np.ndarray, "classes classes"] | Float[np.ndarray, "classes classes"]:
        """The counts; all NaN if a sample that counts has no class, for a score of it was NaN.

        Runs on the host, outside jit.
        """
        host: tuple[np.ndarray, np.ndarray] = jax.device_get((self.counts, self.unknown))
        counts, unknown = host
        return np.full(counts.shape, np.nan) if unknown else counts
