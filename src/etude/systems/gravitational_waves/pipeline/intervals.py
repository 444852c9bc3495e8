"""Confidence intervals of counted fractions.

>>> low, high = binomial_interval(np.array([5]), np.array([10]), method="wilson")
>>> round(float(low[0]), 3), round(float(high[0]), 3)
(0.237, 0.763)
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from scipy.stats import binomtest


class Estimate(NamedTuple):
    """A value with the ends of its confidence interval.

    >>> Estimate(0.9, 0.85, 0.93).value
    0.9
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


Method = Literal["clopper-pearson", "wilson"]


def binomial_interval(
    successes: Int[np.ndarray, "..."],
    trials: Int[np.ndarray, "..."],
    confidence: float = 0.95,
    method: Method = "clopper-pearson",
) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Ends of the interval for a probability from `successes` in `trials`; (0, 1) of no trials.

    Those of `scipy.stats.binomtest`. Clopper and Pearson (1934) never cover less than the
    confidence; Wilson (1927) covers it on average and is narrower. Raises ValueError for impossible
    counts.

    >>> low, high = binomial_interval(np.array([0]), np.array([10]))
    >>> float(low[0]), round(float(high[0]), 4)
    (0.0, 0.3085)
    """
    if np.any(successes < 0) or np.any(successes > trials):
        raise ValueError("binomial_interval: `successes` must lie between 0 and `trials`.")
    if not 0 < confidence < 1:
        raise ValueError(f"binomial_interval: `confidence` is {confidence}; it lies in (0, 1).")
    name = "exact" if method == "clopper-pearson" else method

    def ends(k: int, n: int) -> tuple[float, float]:
        if n == 0:
            return 0.0, 1.0
        found = binomtest(k, n).proportion_ci(confidence, name)
        return found.low, found.high

    low, high = np.vectorize(ends, otypes=[np.float64] * 2)(successes, trials)
    return np.asarray(low), np.asarray(high)
