"""Several data sets, each validated as a whole, and means over them."""

from collections.abc import Iterator, Mapping
from itertools import islice

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

import etude as et


class Each:
    """A source for validation: every sample of every source once, one source after the other.

    Each batch is a dictionary with the name of its source as its only key.

    >>> import numpy as np
    >>> one, two = et.ArrayData(np.zeros(3), 2), et.ArrayData(np.ones(2), 2)
    >>> [(*batch, samples) for batch, samples in Each({"a": one, "b": two}).sequential()]
    [('a', 2), ('a', 1), ('b', 2)]
    """

    seeks = False

    def __init__(self, sources: Mapping[str, et.Source]):
        self.sources = dict(sources)

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of all sources; None if that of one is not known."""
        counts = [source.steps_per_epoch for source in self.sources.values()]
        return None if None in counts else sum(count for count in counts if count is not None)

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches from a position on, always in the same order."""
        return islice((batch for batch, _ in self.sequential()), position, None)

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample once."""
        for name, source in self.sources.items():
            for batch, samples in source.sequential():
                yield {name: batch}, samples


class Means(eqx.Module):
    """The mean over the samples of each source, by name.

    >>> first = Means.of(("a", "b"), "a", jnp.array(1.0), 3)
    >>> found = first.merge(Means.of(("a", "b"), "b", jnp.array(2.0), 1)).compute()
    >>> {name: float(value) for name, value in found.items()}
    {'a': 1.0, 'b': 2.0}
    """

    totals: Float[Array, " names"]
    counts: Float[Array, " names"]
    names: tuple[str, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, names: tuple[str, ...], name: str, value: Array, samples: int) -> "Means":
        """The mean over a batch of one source."""
        here = jnp.array([float(other == name) for other in names]) * float(samples)
        return cls(here * et.widened(value).astype(here.dtype), here, names)

    def merge(self, other: "Means") -> "Means":
        """Both together."""
        return Means(self.totals + other.totals, self.counts + other.counts, self.names)

    def compute(self) -> dict[str, Array]:
        """Name -> mean; NaN where there were no samples."""
        return dict(zip(self.names, self.totals / self.counts, strict=True))


class WeightedMean(eqx.Module):
    """The mean of `Means`, by weights that add up to 1."""

    means: Means
    weights: tuple[float, ...] = eqx.field(static=True)

    def merge(self, other: "WeightedMean") -> "WeightedMean":
        """Both together."""
        return WeightedMean(self.means.merge(other.means), self.weights)

    def compute(self) -> Float[Array, ""]:
        """The weighted mean."""
        found = jnp.stack(list(self.means.compute().values()))
        return jnp.sum(found * jnp.array(self.weights, found.dtype))
