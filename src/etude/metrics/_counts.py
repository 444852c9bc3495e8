"""The confusion matrix as a mergeable state; what is counted stays exact in int32."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etude.metrics._inputs import Mask, check_positive, class_ids, counted


class ConfusionMatrix(eqx.Module):
    """Counts of (target, prediction) pairs: rows are targets, columns predictions.

    Samples whose `mask` is false or zero are not counted, any other once; neither are pairs with
    an id outside 0..num_classes - 1. Exact up to 2**31 - 1 a cell, over any split into batches.

    >>> import jax.numpy as jnp
    >>> state = ConfusionMatrix.empty(2).update(jnp.array([0, 1, 1]), jnp.array([0, 0, 1]))
    >>> state.merge(state).compute().tolist()
    [[2, 2], [0, 2]]
    """

    counts: Int[Array, "classes classes"]

    @classmethod
    def empty(cls, num_classes: int) -> "ConfusionMatrix":
        """Nothing counted yet. Raises ValueError for fewer than one class."""
        check_positive("ConfusionMatrix", "num_classes", num_classes)
        return cls(jnp.zeros((num_classes, num_classes), jnp.int32))

    def update(
        self,
        predictions: Int[Array, "batch"] | Float[Array, "batch classes"],
        targets: Int[Array, "batch"] | Float[Array, "batch classes"],
        mask: Mask = None,
    ) -> "ConfusionMatrix":
        """Count a batch; scores `(batch, classes)` stand for their largest class."""
        predicted, actual = class_ids(predictions), class_ids(targets)
        classes = self.counts.shape[0]
        known = (predicted >= 0) & (predicted < classes) & (actual >= 0) & (actual < classes)
        # Pairs that do not count go past the end, where the scatter drops them.
        rows = jnp.where(known & counted(mask, len(actual)), actual, classes)
        return ConfusionMatrix(self.counts.at[rows, predicted].add(1, mode="drop"))

    def merge(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        """Both together. Raises ValueError when the numbers of classes differ."""
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"ConfusionMatrix.merge: got {other.counts.shape[0]} classes, expected "
                f"{self.counts.shape[0]}. Build both with the same num_classes."
            )
        return ConfusionMatrix(self.counts + other.counts)

    def compute(self) -> Int[Array, "classes classes"]:
        """The counts."""
        return self.counts
