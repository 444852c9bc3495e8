"""How far predicted probabilities can be believed: calibration error and Brier score."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etude.inputs import Values, check_count, probability_pairs, widest_float
from etude.metrics._averages import Mean, Pair, add, pair


class ExpectedCalibrationError(eqx.Module):
    """The gap between confidence and accuracy, averaged over bins of confidence (Guo et al. 2017).

    Bins are of equal width and closed above; the confidence is the largest probability. NaN if
    nothing was counted, or if rows that are no probabilities came in under jit.

    >>> import jax.numpy as jnp
    >>> state = ExpectedCalibrationError.empty(bins=10)
    >>> state = state.update(jnp.array([[0.75, 0.25], [0.75, 0.25]]), jnp.array([0, 1]))
    >>> float(state.compute())
    0.25
    """

    hits: Int[Array, "bins"]
    count: Int[Array, "bins"]
    confidence: Pair

    @classmethod
    def empty(cls, bins: int = 15) -> "ExpectedCalibrationError":
        """Nothing counted yet. Raises ValueError for fewer than one bin."""
        check_count("ExpectedCalibrationError", "bins", bins)
        zeros = jnp.zeros(bins, jnp.int32)
        return cls(zeros, zeros, jnp.zeros((2, bins), widest_float()))

    def update(
        self,
        probabilities: Values,
        targets: Values,
        mask: Values | None = None,
    ) -> "ExpectedCalibrationError":
        """Count a batch of probabilities (`(batch,)`: of class 1 of two).

        Raises `DataError` for rows that are no probabilities, and as `etude.metrics` says.
        """
        p, truth, counted = probability_pairs(
            "ExpectedCalibrationError", probabilities, targets, mask
        )
        # A target that is not known makes its bin NaN, as a probability of NaN does.
        confidence = jnp.where(jnp.isnan(truth).any(axis=-1), jnp.nan, p.max(axis=-1))
        bins = len(self.count)
        place = jnp.ceil(jnp.nan_to_num(confidence) * bins).astype(jnp.int32) - 1
        here = jnp.where(counted, jnp.clip(place, 0, bins - 1), bins)  # past the end: dropped
        hit = p.argmax(axis=-1) == truth.argmax(axis=-1)
        zeros = jnp.zeros(bins, jnp.int32)
        batch = ExpectedCalibrationError(
            zeros.at[here].add(hit.astype(jnp.int32), mode="drop"),
            zeros.at[here].add(1, mode="drop"),
            pair(jnp.zeros(bins, confidence.dtype).at[here].add(confidence, mode="drop")),
        )
        return self.merge(batch)

    def merge(self, other: "ExpectedCalibrationError") -> "ExpectedCalibrationError":
        """Both together. Raises ValueError when the bins differ."""
        if len(self.count) != len(other.count):
            raise ValueError(
                f"ExpectedCalibrationError.merge: got {len(other.count)} bins, expected "
                f"{len(self.count)}."
            )
        return ExpectedCalibrationError(
            self.hits + other.hits,
            self.count + other.count,
            add(self.confidence, other.confidence),
        )

    def compute(self) -> Float[Array, ""]:
        """The error in 0..1."""
        gaps = jnp.abs(
            (self.confidence[0] - self.hits.astype(self.confidence.dtype)) + self.confidence[1]
        )
        total = self.count.sum().astype(gaps.dtype)
        return jnp.where(total > 0, gaps.sum() / jnp.maximum(total, 1), jnp.nan)


class Brier(eqx.Module):
    """The Brier score, half the squared distance of probabilities and targets, averaged.

    In 0..1, and for two classes the squared error of the probability of class 1, as scikit-learn
    with `scale_by_half=True`. NaN as for the calibration error. Brier 1950.

    >>> import jax.numpy as jnp
    >>> float(Brier.empty().update(jnp.array([0.5, 1.0]), jnp.array([1, 1])).compute())
    0.125
    """

    mean: Mean

    @classmethod
    def empty(cls) -> "Brier":
        """Nothing counted yet."""
        return cls(Mean.empty())

    def update(
        self,
        probabilities: Values,
        targets: Values,
        mask: Values | None = None,
    ) -> "Brier":
        """Count a batch of probabilities (`(batch,)`: of class 1 of two), targets hard or soft.

        Raises `DataError` for rows that are no probabilities, and as `etude.metrics` says.
        """
        p, truth, counted = probability_pairs("Brier", probabilities, targets, mask)
        distance = ((p - truth.astype(p.dtype)) ** 2).sum(axis=-1)
        return Brier(self.mean.update(distance / 2, counted))

    def merge(self, other: "Brier") -> "Brier":
        """Both together."""
        return Brier(self.mean.merge(other.mean))

    def compute(self) -> Float[Array, ""]:
        """The score."""
        return self.mean.compute()
