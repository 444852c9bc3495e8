"""What a search finds: efficiency against SNR, sensitive volume and sensitive distance.

An injection is found when a trigger within a tolerance of its merger is loud enough for a stated
false-alarm rate; see `loudest_near` and `Background.threshold`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from etude.systems.gravitational_waves.pipeline.intervals import (
    Estimate,
    Method,
    binomial_interval,
)


@dataclass(frozen=True)
class Efficiency:
    """The fraction of injections that are found, in bins of SNR, with confidence intervals.

    Attributes:
        edges: edges of the bins, network SNR.
        found, total: injections per bin.
        low, high: ends of the interval; (0, 1) where a bin is empty.
    """

    edges: Float64[np.ndarray, " edges"]
    found: Int[np.ndarray, " bins"]
    total: Int[np.ndarray, " bins"]
    low: Float64[np.ndarray, " bins"]
    high: Float64[np.ndarray, " bins"]

    @property
    def fraction(self) -> Float64[np.ndarray, " bins"]:
        """Found of total; NaN where a bin is empty."""
        return np.where(self.total > 0, self.found / np.maximum(self.total, 1), np.nan)

    @property
    def centres(self) -> Float64[np.ndarray, " bins"]:
        """The middle of each bin."""
        return (self.edges[1:] + self.edges[:-1]) / 2


def efficiency(
    found: Bool[np.ndarray, " n"],
    snr: Float[np.ndarray, " n"],
    edges: Float64[np.ndarray, " edges"],
    confidence: float = 0.95,
    method: Method = "clopper-pearson",
) -> Efficiency:
    """The fraction found by injected SNR; bins are half open, the last one closed.

    >>> curve = efficiency(np.array([False, True, True]), np.array([4.0, 9.0, 10.0]),
    ...                    np.array([4.0, 8.0, 10.0]))
    >>> curve.fraction
    array([0., 1.])
    """
    total, _ = np.histogram(snr, edges)
    hits, _ = np.histogram(snr[found], edges)
    return Efficiency(edges, hits, total, *binomial_interval(hits, total, confidence, method))


def uniform_volumes(count: int, max_distance: float) -> Float64[np.ndarray, " n"]:
    """`volumes` for injections uniform in volume out to `max_distance`, in Mpc."""
    return np.full(count, 4 / 3 * np.pi * max_distance**3)


def chirp_volumes(
    chirp_mass: Float[np.ndarray, " n"], max_distance: float
) -> Float64[np.ndarray, " n"]:
    """`volumes` for injections uniform in the volume of the *chirp* distance.

    The SNR at a distance grows as M_c^{5/6}, so such injections reach out to a distance that grows
    as M_c^{5/6} too, and fill a volume that grows as M_c^{5/2}: the weights of MLGWSC-1's
    evaluation. `max_distance` is the largest possible one, in Mpc, that of the largest chirp mass
    among the injections.

    >>> chirp_volumes(np.array([10.0, 40.0]), max_distance=1.0).round(4)
    array([0.1309, 4.1888])
    """
    scale = (chirp_mass / chirp_mass.max()) ** 2.5
    return scale * uniform_volumes(len(chirp_mass), max_distance)


def sensitive_volume(
    found: Bool[np.ndarray, " n"], volumes: Float[np.ndarray, " n"]
) -> tuple[float, float]:
    """The volume in which the search finds a signal, Mpc^3, and its standard error.

    A Monte Carlo integral: the mean over injections of (the volume that injections like it fill)
    where found, 0 where not; the error is that of a mean. With `chirp_volumes` this is MLGWSC-1's
    Vmax sum_found(M_c^{5/2}) / (N M_c,max^{5/2}). Schäfer et al., arXiv:2209.11146, eq. 2.

    >>> volume, error = sensitive_volume(np.array([True, False]), uniform_volumes(2, 1.0))
    >>> round(volume, 4), round(error, 4)
    (2.0944, 1.481)
    """
    if not len(found):
        raise ValueError("sensitive_volume: there are no injections.")
    values = np.where(found, volumes, 0.0)
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def sensitive_distance(found: Bool[np.ndarray, " n"], volumes: Float[np.ndarray, " n"]) -> Estimate:
    """The radius of the sphere of the sensitive volume, Mpc, with its one-sigma interval.

    >>> sensitive_distance(np.array([True, True]), uniform_volumes(2, 100.0)).value
    100.0
    """
    volume, error = sensitive_volume(found, volumes)
    ends = np.cbrt(3 * np.array([volume, max(volume - error, 0.0), volume + error]) / (4 * np.pi))
    value, low, high = np.round(ends, 9).tolist()
    return Estimate(value, low, high)
