"""How much noise there is at each level of a diffusion: x_t = a_t x + b_t noise.

>>> a, b = Schedule("linear").levels
>>> a.shape, float(a[0]), float(b[0]), round(float(b[-1]), 4)
((1001,), 1.0, 0.0, 1.0)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

import etude as et

KINDS = ("cosine", "linear", "geometric")

#: Share of the variance that a step replaces at most (Nichol and Dhariwal 2021).
LARGEST = 0.999


class Levels(NamedTuple):
    """Factors at levels 0 (the data) to `steps`.

    Attributes:
        signal: a, of the data.
        noise: b, the standard deviation of the noise.
    """

    signal: Float[np.ndarray, " levels"]
    noise: Float[np.ndarray, " levels"]


@dataclass(frozen=True)
class Schedule:
    """Levels of noise.

    Attributes:
        kind: "linear", variances of steps from 1e-4 to 0.02 at 1000 steps (Ho et al. 2020);
            "cosine" (Nichol and Dhariwal 2021); both keep the variance of standardised data.
            "geometric", standard deviations between `scales`, with the data as they are: denoising
            score matching at many levels (Song and Ermon 2019).
        steps: number of levels.
        scales: least and greatest standard deviation ("geometric" only; (0.01, 10) if None).

    Raises:
        ConfigurationError: an unknown kind, fewer than 2 steps, scales that are not in order or
            that the kind does not read.
    """

    kind: str = "cosine"
    steps: int = 1000
    scales: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise et.ConfigurationError(
                f"Schedule: kind {self.kind!r} is unknown; there are {', '.join(KINDS)}."
            )
        if self.steps < 2:
            raise et.ConfigurationError(f"Schedule: steps must be at least 2; got {self.steps}.")
        if self.scales is not None:
            if self.kind != "geometric":
                raise et.ConfigurationError(
                    f"Schedule: scales are for kind 'geometric'; the kind is {self.kind!r}."
                )
            if not 0 < self.scales[0] < self.scales[1] < np.inf:
                raise et.ConfigurationError(
                    f"Schedule: scales must be positive and in order; got {self.scales}."
                )

    @property
    def keeps_variance(self) -> bool:
        """Whether a^2 + b^2 = 1 at all levels."""
        return self.kind != "geometric"

    @cached_property
    def levels(self) -> Levels:
        """The factors, in float64."""
        if self.kind == "geometric":
            noise = np.geomspace(*(self.scales or (0.01, 10.0)), self.steps)
            return Levels(np.ones(self.steps + 1), np.concatenate([[0.0], noise]))
        if self.kind == "linear":
            replaced = np.linspace(1e-4, 0.02, self.steps) * (1000 / self.steps)
        else:
            place = np.arange(self.steps + 1) / self.steps
            share = np.cos((place + 0.008) / 1.008 * np.pi / 2) ** 2
            replaced = 1 - share[1:] / share[:-1]
        kept = np.cumprod(1 - np.minimum(replaced, LARGEST))
        kept = np.concatenate([[1.0], kept])
        return Levels(np.sqrt(kept), np.sqrt(1 - kept))

    def chosen(self, count: int) -> np.ndarray:
        """`count` levels for a sampler, and 0 behind them: from the highest, evenly.

        Raises:
            ConfigurationError: more than there are, or none.

        >>> Schedule(steps=10).chosen(4).tolist()
        [10, 8, 5, 2, 0]
        """
        if not 1 <= count <= self.steps:
            raise et.ConfigurationError(
                f"The schedule has {self.steps} steps; got {count} for the sampler."
            )
        return np.round(np.linspace(self.steps, 0, count + 1)).astype(np.int32)
