"""Mean and variance of a stream of numbers, exact however it is cut.

Sums are pairs of numbers, a value and what its rounding lost, so that they do not stall beyond
2**24 as a plain float32 does. They are float32, or float64 under `jax_enable_x64`.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etude.inputs import Values, as_floats, not_negative, widest_float
from etude.inputs.arrays import described, read, refusal

Pair = Float[Array, "2 *shape"]


def pair(value: Array) -> Pair:
    """A number that has lost nothing yet."""
    value = value.astype(widest_float())
    return jnp.stack([value, jnp.zeros_like(value)])


def add(a: Pair, b: Pair) -> Pair:
    """The sum of two pairs, by the error-free addition of Knuth; what is infinite stays so."""
    total = a[0] + b[0]
    part = total - a[0]
    lost = (a[0] - (total - part)) + (b[0] - part) + (a[1] + b[1])
    high = total + lost
    finite = jnp.isfinite(high)
    return jnp.stack([jnp.where(finite, high, total), jnp.where(finite, lost - (high - total), 0)])


def _samples(
    owner: str, values: Values, weights: Values | None
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    x = as_floats(read(owner, "values", values))
    if weights is None:
        return x, jnp.ones_like(x)
    given = read(owner, "weights", weights)
    if not _broadcasts(given.shape, x.shape):
        raise refusal(
            owner,
            described("weights", given),
            f"a shape that broadcasts to {x.shape} of the values",
            "Give a weight for every value.",
        )
    w = jnp.broadcast_to(not_negative(owner, "weights", as_floats(given)), x.shape)
    # What is not counted may be NaN.
    return jnp.where(w == 0, 0, x), w


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


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
        zero = jnp.zeros(2, widest_float())
        return cls(zero, zero)

    @classmethod
    def of(
        cls,
        values: Values,
        weights: Values | None = None,
    ) -> "Mean":
        """The mean of one batch: what a measure returns."""
        return cls.empty().update(values, weights)

    def update(
        self,
        values: Values,
        weights: Values | None = None,
    ) -> "Mean":
        """Add real numbers of any shape, with weights that broadcast to it.

        What has the weight 0 or false is not counted. `DataError` for other dtypes and shapes and
        for negative weights, which make the result NaN under `jit`.
        """
        x, w = _samples("Mean", values, weights)
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
        zero = jnp.zeros(2, widest_float())
        return cls(zero, zero, zero)

    def update(
        self,
        values: Values,
        weights: Values | None = None,
    ) -> "Variance":
        """Add real numbers of any shape, with weights that broadcast to it.

        What has the weight 0 or false is not counted. `DataError` for other dtypes and shapes and
        for negative weights, which make the result NaN under `jit`.
        """
        x, w = _samples("Variance", values, weights)
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
