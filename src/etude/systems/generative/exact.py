"""Models whose log p(x) is exact: their objective, and bits per dimension.

A density of pictures with integer values is one of noisy pictures: uniform noise fills the gaps
between the levels, and the mean of log p is then a bound of the log probability of the integers
themselves (Theis et al. 2016, section 3.1).
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped

import etude as et
from etude.systems.generative.checks import model_of, sizes_of
from etude.systems.generative.examples import check_range, read_examples
from etude.systems.generative.matching import ContinuousFlow

Number = TypeVar("Number", float, Array)


@runtime_checkable
class Exact(Protocol):
    """A model with an exact log p(x), of examples of one shape."""

    shape: tuple[int, ...]
    classes: int

    def read(self, batch: Any) -> Any:
        """Examples and labels. Raises `DataError` for what cannot be."""
        ...

    def log_prob(self, batch: Any) -> Float[Array, " n"]:
        """Of each example of a batch, in nats."""
        ...


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """The loss of a model whose log p(x) is exact: -log p(x), in nats per example.

    Attributes:
        levels: for a density of pictures: how many values a pixel has, 256 for 8 bits. Batches are
            then integers, and `dequantised` anew at each step. None: batches go in as they are.

    Metrics: `loss`; with levels `bits_per_dim`, of the integers.

    Raises:
        ConfigurationError: fewer than two levels; when called, a `ContinuousFlow` with labels left
            out.

    >>> from etude.systems.generative.flows import Flow
    >>> model = Flow.create(jax.random.key(0), (2,), layers=2, hidden=(4,))
    >>> context = et.Context.at(jax.random.key(1))
    >>> loss, _ = NegativeLogLikelihood()(model, jnp.zeros((3, 2)), context)
    >>> round(float(loss), 4)  # log(2 pi): an untrained flow is a normal density
    1.8379
    """

    levels: int | None = None

    def __post_init__(self) -> None:
        if self.levels is not None:
            sizes_of("NegativeLogLikelihood", least=2, levels=self.levels)

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model = _exact(model)
        if self.levels is None:
            model.read(batch)
            return
        x, _ = read_examples("NegativeLogLikelihood", batch, model.shape, model.classes)
        check_levels("NegativeLogLikelihood", x, self.levels)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss and its metrics, of a batch."""
        model = _exact(model)
        if isinstance(model, ContinuousFlow) and model.space.drop:
            raise et.ConfigurationError(
                f"NegativeLogLikelihood: the ContinuousFlow has drop={model.space.drop}, and a "
                "likelihood leaves out no labels: its guidance would be untrained. Create it with "
                "drop=0.0; of one that FlowMatching trained, call log_prob."
            )
        if self.levels is None:
            return -model.log_prob(batch).mean(), {}
        x, labels = read_examples("NegativeLogLikelihood", batch, model.shape, model.classes)
        loss = -model.log_prob((dequantised(context.key, x, self.levels), labels)).mean()
        return loss, {"bits_per_dim": bits_per_dim(loss, math.prod(model.shape), self.levels)}


def _exact(model: Any) -> Exact:
    return model_of("NegativeLogLikelihood", model, Exact, "one with an exact log_prob")


def check_levels(owner: str, x: Shaped[Array | np.ndarray, "..."], levels: int) -> None:
    """Raises `DataError` for what are no integers or, where they are seen, no levels."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise et.DataError(f"{owner}: levels are integers; got {x.dtype}. Give the integers.")
    check_range(owner, x, 0, levels - 1, "Give as many levels as the data have.")


def dequantised(
    key: Key[Array, ""], x: Shaped[Array | np.ndarray, "..."], levels: int
) -> Float[Array, "..."]:
    """(x + u) / levels with u uniform in [0, 1): values from 0 to 1, of integers from 0.

    Under jit an integer outside of 0 to levels - 1 becomes NaN.

    Raises:
        DataError: values that are no integers, or outside of 0 to levels - 1.

    >>> bool(jnp.all(dequantised(jax.random.key(0), jnp.full(9, 255), 256) < 1))
    True
    """
    check_levels("dequantised", x, levels)
    possible = (x >= 0) & (x < levels)
    noise = jax.random.uniform(key, x.shape)
    # The largest sum may round to `levels`, which is outside.
    inside = jnp.minimum((x.astype(noise.dtype) + noise) / levels, 1 - 2**-24)
    return jnp.where(possible, inside, jnp.nan)


def bits_per_dim(nats: Number, dims: int, levels: int | None = None) -> Number:
    """-log2 p per value, from -log p in nats per example: (nats / dims + log levels) / log 2.

    Args:
        nats: -log p(x) of an example.
        dims: values of an example.
        levels: if p is a density of values that were integers, `levels` of them, and are scaled to
            0 to 1: a step is 1 / levels wide, and has the probability p / levels. None: p is a
            probability of the values themselves.

    >>> bits_per_dim(0.0, 784, 256)  # the uniform density
    8.0
    """
    step = 0.0 if levels is None else math.log(levels)
    return (nats / dims + step) / math.log(2)
