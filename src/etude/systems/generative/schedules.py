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
from etude.engine.numbers import is_count
from etude.systems.generative.checks import sizes_of
from etude.systems.generative.space import is_interval

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
        sizes_of("Schedule", least=2, steps=self.steps)
        if self.scales is not None:
            if self.kind != "geometric":
                raise et.ConfigurationError(
                    f"Schedule: scales are for kind 'geometric'; the kind is {self.kind!r}."
                )
            scales = self.scales
            if not (is_interval(scales) and scales[0] > 0):
                raise et.ConfigurationError(
                    f"Schedule: scales are two numbers, positive and in order; got {scales!r}."
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
            ConfigurationError: more than there are, none, or a part of one.

        >>> Schedule(steps=10).chosen(4).tolist()
        [10, 8, 5, 2, 0]
        """
        if not (is_count(count) and count <= self.steps):
            raise et.ConfigurationError(
                f"The schedule has {self.steps} steps; got {count!r} for the sampler. Give a whole "
                f"number from 1 to {self.steps}."
            )
        return np.round(np.linspace(self.steps, 0, count + 1)).astype(np.int32)
