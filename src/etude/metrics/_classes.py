"""Precision, recall and F1, averaged over classes or one by one; as scikit-learn's.

A score of NaN in a sample that counts makes them NaN.
A class that was never predicted has precision 0, one that never occurs recall 0 (scikit-learn's
`zero_division=0`). A macro average is over the classes that occur in predictions or targets.
"""

from abc import abstractmethod
from typing import Literal, TypeAlias, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from etude.inputs import Values, check_count, class_pairs, is_class, one_of, widest_float

Average: TypeAlias = Literal["macro", "micro", "weighted"]


class ClassCounts(eqx.Module):
    """How often each class was hit, predicted, and there; how many samples cannot be told."""

    hits: Int[Array, "classes"]
    predicted: Int[Array, "classes"]
    actual: Int[Array, "classes"]
    unknown: Int[Array, ""]

    @classmethod
    def empty(cls, num_classes: int) -> "ClassCounts":
        """Nothing counted yet. Raises ValueError for fewer than one class."""
        check_count("metrics", "num_classes", num_classes)
        zeros = jnp.zeros(num_classes, jnp.int32)
        return cls(zeros, zeros, zeros, jnp.zeros((), jnp.int32))

    def update(
        self, owner: str, predictions: Values, targets: Values, mask: Values | None
    ) -> "ClassCounts":
        """Count a batch."""
        classes = len(self.hits)
        predicted, actual, counted, known = class_pairs(owner, predictions, targets, mask, classes)
        told = counted & known

        def tally(
            counts: Int[Array, "classes"], ids: Int[Array, "batch"], which: Bool[Array, "batch"]
        ) -> Int[Array, "classes"]:
            # What does not count goes past the end, where the scatter drops it.
            return counts.at[jnp.where(which, ids, classes)].add(1, mode="drop")

        return ClassCounts(
            tally(self.hits, actual, told & (predicted == actual)),
            tally(self.predicted, predicted, told),
            # A sample without a prediction, for a score of it is NaN, still is of its class.
            tally(self.actual, actual, counted & is_class(actual, classes)),
            self.unknown + (counted & ~known).sum(dtype=jnp.int32),
        )

    def merge(self, other: "ClassCounts") -> "ClassCounts":
        """Both together. Raises ValueError when the numbers of classes differ."""
        if len(self.hits) != len(other.hits):
            raise ValueError(
                f"merge: got {len(other.hits)} classes, expected {len(self.hits)}. "
                "Build both with the same num_classes."
            )
        return ClassCounts(
            self.hits + other.hits,
            self.predicted + other.predicted,
            self.actual + other.actual,
            self.unknown + other.unknown,
        )

    def told(self, value: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The value, or NaN if something cannot be told."""
        return jnp.where(self.unknown > 0, jnp.nan, value)


def _ratio(
    numerator: Float[Array, "*shape"], denominator: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), 0)


T = TypeVar("T", bound="_Averaged")


class _Averaged(eqx.Module):
    counts: ClassCounts
    average: Average = eqx.field(static=True)

    @classmethod
    def empty(cls: type[T], num_classes: int, average: Average = "macro") -> T:
        """Nothing counted yet; `average` is "macro", "micro" or "weighted" (by true counts).

        Raises ValueError for fewer than one class or an unknown average.
        """
        one_of(cls.__name__, "average", average, Average)
        return cls(ClassCounts.empty(num_classes), average)

    def update(
        self: T,
        predictions: Values,
        targets: Values,
        mask: Values | None = None,
    ) -> T:
        """Count a batch; scores `(batch, classes)` stand for their largest class.

        Predictions, targets and mask are as `etude.metrics` says; `DataError` for others.
        """
        owner = type(self).__name__
        return type(self)(self.counts.update(owner, predictions, targets, mask), self.average)

    def merge(self: T, other: T) -> T:
        """Both together. Raises ValueError when classes or averages differ."""
        if self.average != other.average:
            raise ValueError(f"merge: got average={other.average!r}, expected {self.average!r}.")
        return type(self)(self.counts.merge(other.counts), self.average)

    def compute(self) -> Float[Array, ""]:
        """The average, in 0..1; 0 if nothing was counted."""
        above, below = self._terms()
        if self.average == "micro":
            return self.counts.told(_ratio(above.sum(), below.sum()))
        actual = _float(self.counts.actual)
        if self.average == "weighted":
            weight = actual
        else:
            weight = ((self.counts.predicted > 0) | (self.counts.actual > 0)).astype(actual.dtype)
        return self.counts.told(_ratio((weight * _ratio(above, below)).sum(), weight.sum()))

    @abstractmethod
    def _terms(self) -> tuple[Float[Array, "classes"], Float[Array, "classes"]]:
        """Numerator and denominator of each class."""


class Precision(_Averaged):
    """The fraction of what is predicted as a class that is of it, averaged over classes.

    >>> import jax.numpy as jnp
    >>> state = Precision.empty(3).update(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]))
    >>> float(state.compute())
    0.75
    """

    def _terms(self) -> tuple[Float[Array, "classes"], Float[Array, "classes"]]:
        return _float(self.counts.hits), _float(self.counts.predicted)


class Recall(_Averaged):
    """The fraction of a class that is predicted as it, averaged over classes.

    >>> import jax.numpy as jnp
    >>> state = Recall.empty(3).update(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]))
    >>> float(state.compute())
    0.75
    """

    def _terms(self) -> tuple[Float[Array, "classes"], Float[Array, "classes"]]:
        return _float(self.counts.hits), _float(self.counts.actual)


class F1(_Averaged):
    """The harmonic mean of precision and recall of a class, averaged over classes.

    >>> import jax.numpy as jnp
    >>> state = F1.empty(3).update(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]))
    >>> round(float(state.compute()), 4)
    0.6667
    """

    def _terms(self) -> tuple[Float[Array, "classes"], Float[Array, "classes"]]:
        return 2 * _float(self.counts.hits), _float(self.counts.predicted) + _float(
            self.counts.actual
        )


class PerClass(eqx.Module):
    """Precision, recall, F1 and support of every class; 0 where undefined.

    The support is the number of samples of a class, those with a score of NaN included.

    >>> import jax.numpy as jnp
    >>> state = PerClass.empty(2).update(jnp.array([0, 0, 1]), jnp.array([0, 1, 1]))
    >>> {name: values.tolist() for name, values in state.compute().items() if name != "f1"}
    {'precision': [0.5, 1.0], 'recall': [1.0, 0.5], 'support': [1, 2]}
    """

    counts: ClassCounts

    @classmethod
    def empty(cls, num_classes: int) -> "PerClass":
        """Nothing counted yet. Raises ValueError for fewer than one class."""
        return cls(ClassCounts.empty(num_classes))

    def update(
        self,
        predictions: Values,
        targets: Values,
        mask: Values | None = None,
    ) -> "PerClass":
        """Count a batch; scores `(batch, classes)` stand for their largest class.

        Predictions, targets and mask are as `etude.metrics` says; `DataError` for others.
        """
        return PerClass(self.counts.update("PerClass", predictions, targets, mask))

    def merge(self, other: "PerClass") -> "PerClass":
        """Both together. Raises ValueError when the numbers of classes differ."""
        return PerClass(self.counts.merge(other.counts))

    def compute(self) -> dict[str, Float[Array, "classes"] | Int[Array, "classes"]]:
        """Arrays `(classes,)` named precision, recall, f1 and support."""
        hits, predicted, actual = (
            _float(self.counts.hits),
            _float(self.counts.predicted),
            _float(self.counts.actual),
        )
        return {
            "precision": self.counts.told(_ratio(hits, predicted)),
            "recall": self.counts.told(_ratio(hits, actual)),
            "f1": self.counts.told(_ratio(2 * hits, predicted + actual)),
            "support": self.counts.actual,
        }


def _float(counts: Int[Array, "classes"]) -> Float[Array, "classes"]:
    return counts.astype(widest_float())
