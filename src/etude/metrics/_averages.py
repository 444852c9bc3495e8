"""Mean and variance of a stream of numbers, exact however it is cut.

Sums are pairs of float32, a value and what its rounding lost, so that they do not stall beyond
2**24 as a plain float32 does.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Pair = Float[Array, "2 *shape"]


def pair(value: Array) -> Pair:
    """A number that has lost nothing yet."""
    value = value.astype(jnp.float32)
    return jnp.stack([value, jnp.zeros_like(value)])


def add(a: Pair, b: Pair) -> Pair:
    """The sum of two pairs, by the error-free addition of Knuth."""
    total = a[0] + b[0]
    part = total - a[0]
    lost = (a[0] - (total - part)) + (b[0] - part) + (a[1] + b[1])
    high = total + lost
    return jnp.stack([high, lost - (high - total)])


def _samples(
    values: Array, weights: Array | None
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    values = values.astype(jnp.float32)
    if weights is None:
        return values, jnp.ones_like(values)
    weights = jnp.broadcast_to(weights.astype(jnp.float32), values.shape)
    # What is not counted may be NaN.
    return jnp.where(weights == 0, 0, values), weights


def _ratio(value: Float[Array, ""], weight: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(weight > 0, value / jnp.where(weight > 0, weight, 1), jnp.nan)


class Mean(eqx.Module):
    """The weighted mean of numbers; NaN if nothing was counted.

    >>> import jax.numpy as jnp
    >>> first, second = Mean.of(jnp.array([1.0, 2.0, 6.0])), Mean.of(jnp.array([3.0]))
    >>> float(first.merge(second).compute())
    3.0
    """

    total: Pair
    weight: Pair

    @classmethod
    def empty(cls) -> "Mean":
        """Nothing counted yet."""
        return cls(jnp.zeros(2), jnp.zeros(2))

    @classmethod
    def of(
        cls,
        values: Float[Array, "*shape"] | Int[Array, "*shape"] | Bool[Array, "*shape"],
        weights: Float[Array, "..."] | Bool[Array, "..."] | None = None,
    ) -> "Mean":
        """The mean of one batch: what a measure returns."""
        return cls.empty().update(values, weights)

    def update(
        self,
        values: Float[Array, "*shape"] | Int[Array, "*shape"] | Bool[Array, "*shape"],
        weights: Float[Array, "..."] | Bool[Array, "..."] | None = None,
    ) -> "Mean":
        """Add numbers of any shape, with weights that broadcast to it (false or 0: not counted)."""
        x, w = _samples(values, weights)
        return self.merge(Mean(pair((x * w).sum()), pair(w.sum())))

    def merge(self, other: "Mean") -> "Mean":
        """Both together."""
        return Mean(add(self.total, other.total), add(self.weight, other.weight))

    def compute(self) -> Float[Array, ""]:
        """The mean."""
        return _ratio(self.total.sum(), self.weight.sum())


class Variance(eqx.Module):
    """The variance of numbers about their mean (divided by n); NaN if nothing was counted.

    Parts are merged as in Chan, Golub and LeVeque 1983, so a large mean costs no precision.

    >>> import jax.numpy as jnp
    >>> parts = Variance.empty().update(jnp.array([1.0, 2.0])).update(jnp.array([3.0, 6.0]))
    >>> float(parts.compute())
    3.5
    """

    mean: Pair
    squares: Pair
    weight: Pair

    @classmethod
    def empty(cls) -> "Variance":
        """Nothing counted yet."""
        return cls(jnp.zeros(2), jnp.zeros(2), jnp.zeros(2))

    def update(
        self,
        values: Float[Array, "*shape"] | Int[Array, "*shape"] | Bool[Array, "*shape"],
        weights: Float[Array, "..."] | Bool[Array, "..."] | None = None,
    ) -> "Variance":
        """Add numbers of any shape, with weights that broadcast to it (false or 0: not counted)."""
        x, w = _samples(values, weights)
        weight = w.sum()
        safe = jnp.where(weight > 0, weight, 1)
        mean = (x * w).sum() / safe
        # The second pass corrects what rounding left in the mean.
        rest = jnp.where(w == 0, 0, x - mean)
        shift = (rest * w).sum() / safe
        squares = (rest**2 * w).sum() - shift**2 * weight
        return self.merge(Variance(jnp.stack([mean, shift]), pair(squares), pair(weight)))

    def merge(self, other: "Variance") -> "Variance":
        """Both together."""
        ours, theirs = self.weight.sum(), other.weight.sum()
        share = theirs / jnp.where(ours + theirs > 0, ours + theirs, 1)
        delta = (other.mean - self.mean).sum()
        between = pair(delta**2 * ours * share)
        return Variance(
            add(self.mean, pair(delta * share)),
            add(add(self.squares, other.squares), between),
            add(self.weight, other.weight),
        )

    def compute(self) -> Float[Array, ""]:
        """The variance."""
        return _ratio(self.squares.sum(), self.weight.sum())
