"""A sum over everything that was seen: counts of tokens, of events, of mistakes."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.inputs import Values, as_floats, widest_float
from etude.inputs.arrays import read
from etude.metrics._averages import Pair, add, pair


class Sum(eqx.Module):
    """The sum of numbers. Of booleans and masks: how many are true.

    Returned by a loss under `accumulate`, it is the sum over the whole batch; by a measure, over
    all samples.

    >>> import jax.numpy as jnp
    >>> mask = jnp.array([[True, True, False], [True, False, False]])
    >>> float(Sum.of(mask[:1]).merge(Sum.of(mask[1:])).compute())
    3.0
    """

    total: Pair

    @classmethod
    def empty(cls) -> "Sum":
        """Nothing seen yet."""
        return cls(jnp.zeros(2, widest_float()))

    @classmethod
    def of(cls, values: Values) -> "Sum":
        """The sum of one batch."""
        return cls.empty().update(values)

    def update(self, values: Values) -> "Sum":
        """Add real numbers of any shape; `DataError` for other dtypes."""
        return self.merge(Sum(pair(as_floats(read("Sum", "values", values)).sum())))

    def merge(self, other: "Sum") -> "Sum":
        """Both together."""
        return Sum(add(self.total, other.total))

    def compute(self) -> Float[Array, ""]:
        """The sum."""
        return self.total.sum()
