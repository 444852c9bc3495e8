"""Areas under curves, exact: all scores are kept, and scikit-learn computes on the host.

Scores `(batch,)` are of class 1 against 0. Scores `(batch, classes)` give the mean over classes,
each against the rest; classes for which the area is undefined are left out.
"""

from abc import abstractmethod
from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

from etude.inputs import UNDEFINED, Values, score_pairs

T = TypeVar("T", bound="_Ranked")


class _Ranked(eqx.Module):
    scores: tuple[Values, ...]
    targets: tuple[Int[Array, "..."], ...]
    masks: tuple[Bool[Array, "..."], ...]

    @classmethod
    def empty(cls: type[T]) -> T:
        """Nothing seen yet."""
        return cls((), (), ())

    def update(self: T, scores: Values, targets: Values, mask: Values | None = None) -> T:
        """Keep a batch of scores, of any range: only their order matters.

        Scores, targets and mask are as `etude.metrics` says; `DataError` for others.
        """
        pairs = score_pairs(type(self).__name__, scores, targets, mask)
        return self.merge(type(self)((pairs.scores,), (pairs.actual,), (pairs.counted,)))

    def merge(self: T, other: T) -> T:
        """Both together. It grows, so call it outside jit."""
        return type(self)(
            self.scores + other.scores, self.targets + other.targets, self.masks + other.masks
        )

    def compute(self) -> float:
        """The area in 0..1; NaN where undefined or where a score is NaN.

        Runs on the host, outside jit. Raises ValueError for labels without a score.
        """
        if not self.scores:
            return float("nan")
        keep = np.concatenate(jax.device_get(self.masks))
        scores = np.concatenate(jax.device_get(self.scores))[keep]
        targets = np.concatenate(jax.device_get(self.targets))[keep]
        classes = scores.shape[1] if scores.ndim == 2 else 2
        if (targets == UNDEFINED).any():
            return float("nan")
        if targets.size and (targets.min() < 0 or targets.max() >= classes):
            raise ValueError(
                f"{type(self).__name__}: got labels from {targets.min()} to {targets.max()}, "
                f"expected 0 to {classes - 1}. Scores (batch,) are of two classes; give scores "
                "(batch, classes) for more."
            )
        if scores.ndim == 1:
            return self._area(targets == 1, _ranks(scores))
        areas = [self._area(targets == c, _ranks(scores[:, c])) for c in range(classes)]
        defined = [area for area in areas if not np.isnan(area)]
        return float(np.mean(defined)) if defined else float("nan")

    @abstractmethod
    def _area(self, positive: Bool[np.ndarray, "n"], scores: Int[np.ndarray, "n"]) -> float:
        """The area of one class against the rest; NaN where undefined."""


def _ranks(scores: Shaped[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    """Ranks in place of scores: the same curves, and infinite scores are welcome."""
    return np.unique(scores, return_inverse=True)[1]


class ROCAUC(_Ranked):
    """The area under the receiver operating characteristic; undefined for a single class.

    >>> import jax.numpy as jnp
    >>> state = ROCAUC.empty().update(jnp.array([0.1, 0.4, 0.3, 0.9]), jnp.array([0, 0, 1, 1]))
    >>> state.compute()
    0.75
    """

    def _area(self, positive: Bool[np.ndarray, "n"], scores: Int[np.ndarray, "n"]) -> float:
        from sklearn.metrics import roc_auc_score

        if positive.all() or not positive.any():
            return float("nan")
        return float(roc_auc_score(positive, scores))


class PRAUC(_Ranked):
    """The area under the precision-recall curve by trapezoids; undefined without positives.

    The straight lines between its points are optimistic: see `AveragePrecision`.

    >>> import jax.numpy as jnp
    >>> state = PRAUC.empty().update(jnp.array([0.1, 0.4, 0.3, 0.9]), jnp.array([0, 0, 1, 1]))
    >>> round(state.compute(), 4)
    0.7917
    """

    def _area(self, positive: Bool[np.ndarray, "n"], scores: Int[np.ndarray, "n"]) -> float:
        from sklearn.metrics import auc, precision_recall_curve

        if not positive.any():
            return float("nan")
        precision, recall, _ = precision_recall_curve(positive, scores)
        return float(auc(recall, precision))


class AveragePrecision(_Ranked):
    """The sum of precision times the step in recall; undefined without positives.

    >>> import jax.numpy as jnp
    >>> scores, targets = jnp.array([0.1, 0.4, 0.3, 0.9]), jnp.array([0, 0, 1, 1])
    >>> round(AveragePrecision.empty().update(scores, targets).compute(), 4)
    0.8333
    """

    def _area(self, positive: Bool[np.ndarray, "n"], scores: Int[np.ndarray, "n"]) -> float:
        from sklearn.metrics import average_precision_score

        if not positive.any():
            return float("nan")
        return float(average_precision_score(positive, scores))
