"""What the examples of a noising model are, and how labels come to its network."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.engine.numbers import is_count, is_real
from etude.systems.generative.checks import count_of, shapes_of
from etude.systems.generative.examples import check_range, read_examples, sample_labels


@dataclass(frozen=True)
class DataSpace:
    """Shape, classes and range of examples.

    A row of zeros in place of a label says that there is none: the network learns both, and the
    difference is what guidance goes by (Ho and Salimans 2022).

    Attributes:
        shape: of an example.
        classes: number of classes; 0 for a model without labels.
        drop: share of the labels that are left out in training.
        bounds: least and greatest value of the data, which the network sees as -1 and 1; None for
            real values, which it sees as they are.

    Raises:
        ConfigurationError: sizes below 1, classes below 0, labels left out that there are not,
            bounds that are not in order.
    """

    shape: tuple[int, ...]
    classes: int = 0
    drop: float = 0.0
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        checks = {
            f"shape must have sizes of at least 1; got {self.shape}": all(
                is_count(size) for size in self.shape
            ),
            f"classes counts from 0 on; got {self.classes!r}": is_count(self.classes, 0),
            f"drop is a share of the labels, below 1; got {self.drop!r}": (
                is_real(self.drop) and 0 <= self.drop < 1
            ),
            f"drop={self.drop} leaves out labels, and there are none: give classes": (
                not self.drop or self.classes != 0
            ),
            f"bounds must be in order, two finite numbers; got {self.bounds!r}": (
                self.bounds is None or is_interval(self.bounds)
            ),
        }
        problems = [problem for problem, good in checks.items() if not good]
        if problems:
            raise et.ConfigurationError("\n".join(f"DataSpace: {problem}." for problem in problems))

    @classmethod
    def of(
        cls,
        shape: Any,
        classes: int = 0,
        drop: float | None = None,
        bounds: tuple[float, float] | None = None,
    ) -> "DataSpace":
        """The same, where a model with classes leaves out a tenth of them unless told otherwise."""
        shapes_of("DataSpace", shape=shape)
        if drop is None:
            drop = 0.1 if classes != 0 else 0.0
        # A file has lists, and what is static must be hashable.
        ends: Any = tuple(bounds) if isinstance(bounds, list) else bounds
        return cls(tuple(shape), classes, drop, ends)

    def read(self, owner: str, batch: Any) -> tuple[Float[Array, "n ..."], Array | None]:
        """Examples as the network sees them, and rows of labels.

        Under jit values beyond the bounds become NaN.

        Raises:
            DataError: integers, whose unit is not known, values beyond the bounds, and what
                `read_examples` refuses.
        """
        x, labels = read_examples(owner, batch, self.shape, self.classes)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise et.DataError(
                f"{owner}: needs real values; got {x.dtype}. Divide intensities by 255, and give "
                "bounds=(0, 1)."
            )
        x = jnp.asarray(x).reshape(len(x), *self.shape)
        if self.bounds is not None:
            low, high = self.bounds
            check_range(owner, x, low, high, "Scale them, or give other bounds.")
            x = jnp.where((x >= low) & (x <= high), 2 * (x - low) / (high - low) - 1, jnp.nan)
        return x, labels

    def shown(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Examples of the network as data, clipped to the bounds."""
        if self.bounds is None:
            return x
        low, high = self.bounds
        return low + (high - low) * (jnp.clip(x, -1, 1) + 1) / 2

    @property
    def log_scale(self) -> float:
        """What a log density gains from the network's space to that of the data, in nats."""
        if self.bounds is None:
            return 0.0
        return math.prod(self.shape) * math.log(2 / (self.bounds[1] - self.bounds[0]))

    def dropped(self, key: Key[Array, ""], labels: Array | None) -> Array | None:
        """Rows of labels in training: a share of them zeros."""
        if labels is None or not self.drop:
            return labels
        kept = jax.random.bernoulli(key, 1 - self.drop, (len(labels), 1))
        return jnp.where(kept, labels, 0)

    def rows(self, owner: str, labels: Any, count: int, guidance: float) -> Array | None:
        """Rows of labels for samples, from one class for all or one for each.

        Without guidance, by weight 0, labels may be left out.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: a count or guidance out of range, or guidance of a model that was
                not trained for it.
        """
        count_of(owner, count)
        if not (is_real(guidance) and 0 <= guidance < math.inf):
            raise et.ConfigurationError(f"{owner}: guidance counts from 0 on; got {guidance!r}.")
        if guidance != 1 and not self.drop:
            raise et.ConfigurationError(
                f"{owner}: guidance={guidance} needs a model that was trained both with labels and "
                "without. Create it with classes and drop=0.1."
            )
        if guidance == 0 and labels is None:
            return jnp.zeros((count, self.classes))
        return sample_labels(owner, labels, count, self.classes)


def is_interval(ends: Any) -> bool:
    """Whether these are two finite numbers, the first below the second.

    >>> is_interval((0, 1)), is_interval((0, 1, 2)), is_interval((1, 0))
    (True, False, False)
    """
    return (
        isinstance(ends, tuple)
        and len(ends) == 2
        and all(is_real(end) for end in ends)
        and -math.inf < ends[0] < ends[1] < math.inf
    )
