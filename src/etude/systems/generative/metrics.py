"""How far samples are from data, with an interval over the samples; on the host, in float64.

| | 0 or best where samples are as data | source |
|---|---|---|
| `sliced_wasserstein` | 0 | Bonneel et al. 2015 |
| `mean_discrepancy` | 0 | Gretton et al. 2012, squared, unbiased, a Gaussian kernel |
| `frechet_distance` | 0 | Dowson and Landau 1982, of normal densities fitted to features |
| `precision`, `recall` | 1 | Kynkaanniemi et al. 2019 |
| `memorised` | one half | Meehan, Chaudhuri and Dasgupta 2020 |

The Frechet distance here is of features of a classifier that was trained here. It is no FID, which
is of one network for colour photographs, and no two networks' distances can be compared.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.spatial.distance import cdist

import etude as et
from etude.engine.numbers import is_count
from etude.systems.generative.checks import positive_of, sizes_of

Rows = Float[np.ndarray, "n dim"]
Others = Float[np.ndarray, "m dim"]
Index = Integer[np.ndarray, " rows"]

#: Draws of the bootstrap, and the share of them inside of an interval.
DRAWS, LEVEL = 200, 0.95
#: Greatest value whose fourth power, summed, is a finite number.
LARGEST = 1e70
#: Directions of the sliced distance, and of half a turn of the plane.
DIRECTIONS, IN_THE_PLANE = 100, 64


class Estimate(NamedTuple):
    """A number with an interval.

    Attributes:
        value: of all samples.
        low: lower end of the interval that holds 95 of 100 bootstrap draws of the samples.
        high: its upper end. Distances of few samples are biased upwards, and their draws more so;
            where the interval would not hold the value, it is wider and ends there.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def sliced_wasserstein(
    samples: Float[np.ndarray, "n ..."],
    data: Float[np.ndarray, "m ..."],
    *,
    order: int = 2,
    seed: int = 0,
) -> Estimate:
    """The sliced Wasserstein distance, the mean of that of projections over directions.

    Of order 1 the mean of W_1, of order 2 the root of the mean of W_2^2, which between N(0, I) and
    N(m, I) in d dimensions is |m| / sqrt(d). Directions of the plane are evenly apart,
    others are drawn.

    Args:
        samples: of the model, any number.
        data: any number; quantiles are compared at as many levels as the smaller has rows.
        order: 1 or 2.
        seed: of the directions and of the bootstrap.

    >>> x = np.random.default_rng(0).normal(size=(2000, 2))
    >>> round(sliced_wasserstein(x, x + np.array([3.0, 4.0])).value, 3)
    3.536
    """
    x, y = _pair("sliced_wasserstein", samples, data)
    if not is_count(order) or order > 2:
        raise et.ConfigurationError(f"sliced_wasserstein: order is 1 or 2; got {order!r}.")
    random = _random("sliced_wasserstein", seed)
    axes = _directions(x.shape[1], random)
    first, second = x @ axes, y @ axes

    def distance(i: Index, j: Integer[np.ndarray, " others"]) -> float:
        return _transport(first[i], second[j], order)

    return _bootstrapped(distance, len(x), len(y), random)


def sliced_distance(
    samples: Float[np.ndarray, "n ..."], data: Float[np.ndarray, "m ..."], *, seed: int = 0
) -> float:
    """The value of `sliced_wasserstein(..., order=1)`, without an interval and so much faster."""
    x, y = _pair("sliced_distance", samples, data)
    axes = _directions(x.shape[1], _random("sliced_distance", seed))
    return _transport(x @ axes, y @ axes, 1)


def mean_discrepancy(
    samples: Float[np.ndarray, "n ..."],
    data: Float[np.ndarray, "m ..."],
    *,
    bandwidth: float | None = None,
    seed: int = 0,
) -> Estimate:
    """The squared maximum mean discrepancy, unbiased, with a Gaussian kernel exp(-d^2 / (2 b^2)).

    Its mean is 0 for samples of one distribution, and it may be negative.

    Args:
        samples: of the model, three or more.
        data: three or more. Bootstrap draws of one row alone have no pairs, and are left out.
        bandwidth: b; None: the median distance between rows of the data.
        seed: of the bootstrap.

    >>> x = np.random.default_rng(0).normal(size=(2, 400, 2))
    >>> mean_discrepancy(*x).low < 0 < mean_discrepancy(x[0], x[1] + 1).low
    True
    """
    x, y = _pair("mean_discrepancy", samples, data, least=3)
    random = _random("mean_discrepancy", seed)
    within = cdist(y, y, "sqeuclidean")
    if bandwidth is None:
        bandwidth = math.sqrt(np.median(within[np.triu_indices(len(y), 1)]))
        if not bandwidth:
            raise et.ConfigurationError(
                "mean_discrepancy: most rows of data are all alike, and their distance is no "
                "bandwidth. Give one."
            )
    positive_of("mean_discrepancy", bandwidth=bandwidth)
    squares = cdist(x, x, "sqeuclidean"), within, cdist(x, y, "sqeuclidean")
    xx, yy, xy = (np.exp(-s / (2 * bandwidth**2)) for s in squares)
    # Weights instead of rows: a row that a bootstrap draws twice is no pair with itself.
    np.fill_diagonal(xx, 0)
    np.fill_diagonal(yy, 0)

    def discrepancy(i: Index, j: Integer[np.ndarray, " others"]) -> float:
        a, b = np.bincount(i, minlength=len(x)), np.bincount(j, minlength=len(y))
        pairs_a, pairs_b = (float(w.sum() ** 2 - (w**2).sum()) for w in (a, b))
        if not (pairs_a and pairs_b):
            return math.nan
        return a @ xx @ a / pairs_a + b @ yy @ b / pairs_b - 2 * (a @ xy @ b) / (a.sum() * b.sum())

    return _bootstrapped(discrepancy, len(x), len(y), random)


def frechet_distance(samples: Rows, data: Others, *, seed: int = 0) -> Estimate:
    """The squared Frechet distance of the normal densities with the means and covariances of rows.

    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)).

    Args:
        samples: features of samples.
        data: features of data, of the same network.
        seed: of the bootstrap.

    Raises:
        DataError: fewer rows than two.
    """
    x, y = _pair("frechet_distance", samples, data)

    def distance(i: Index, j: Integer[np.ndarray, " others"]) -> float:
        return _frechet(x[i], y[j])

    return _bootstrapped(distance, len(x), len(y), _random("frechet_distance", seed))


def frechet_value(samples: Rows, data: Others) -> float:
    """The value of `frechet_distance`, without an interval and so much faster.

    >>> x = np.random.default_rng(0).normal(size=(100, 2))
    >>> round(frechet_value(x, x + np.array([3.0, 4.0])), 6)
    25.0
    """
    return _frechet(*_pair("frechet_value", samples, data))


def precision(
    samples: Float[np.ndarray, "n ..."],
    data: Float[np.ndarray, "m ..."],
    *,
    neighbours: int = 3,
    seed: int = 0,
) -> Estimate:
    """The share of samples within the balls around data that reach to their k-th neighbour.

    Args:
        samples: of the model, or features of them.
        data: data, or features of the same kind.
        neighbours: k.
        seed: of the bootstrap.
    """
    x, y = _pair("precision", samples, data)
    return _share(_covered(x, y, neighbours, "precision"), _random("precision", seed))


def recall(
    samples: Float[np.ndarray, "n ..."],
    data: Float[np.ndarray, "m ..."],
    *,
    neighbours: int = 3,
    seed: int = 0,
) -> Estimate:
    """The share of data within the balls around samples that reach to their k-th neighbour.

    Args:
        samples: of the model, or features of them.
        data: data, or features of the same kind.
        neighbours: k.
        seed: of the bootstrap.
    """
    x, y = _pair("recall", samples, data)
    return _share(_covered(y, x, neighbours, "recall"), _random("recall", seed))


def memorised(
    samples: Float[np.ndarray, "n ..."],
    train: Float[np.ndarray, "m ..."],
    held_out: Float[np.ndarray, "k ..."],
    *,
    seed: int = 0,
) -> Estimate:
    """The share of samples that are nearer to training data than to as many that were held out.

    One half where nothing is memorised, 1 where samples are copies of training data. A sample that
    is as near to both counts one half.

    Args:
        samples: of the model.
        train: what it learnt from; as many rows as are held out are drawn of it.
        held_out: data of the same distribution that it never saw.
        seed: of that draw, and of the bootstrap.

    Raises:
        DataError: fewer training rows than held-out ones.
    """
    x, known = _pair("memorised", samples, train)
    _, fresh = _pair("memorised", samples, held_out)
    if len(known) < len(fresh):
        raise et.DataError(
            f"memorised: {len(known)} training rows and {len(fresh)} held out; needs as many of "
            "the first. Pass fewer held-out rows."
        )
    chosen = _random("memorised", seed).choice(len(known), len(fresh), replace=False)
    further = cdist(x, fresh).min(1) - cdist(x, known[chosen]).min(1)
    return _share(0.5 + 0.5 * np.sign(further), _random("memorised", seed))


def _directions(dim: int, random: np.random.Generator) -> Float[np.ndarray, "dim directions"]:
    if dim == 2:
        angles = np.pi * np.arange(IN_THE_PLANE) / IN_THE_PLANE
        return np.stack([np.cos(angles), np.sin(angles)])
    axes = random.normal(size=(dim, DIRECTIONS))
    return axes / np.linalg.norm(axes, axis=0)


def _transport(x: Rows, y: Others, order: int) -> float:
    """Of columns: the mean of W_1, or the root of that of W_2^2."""
    count = min(len(x), len(y))
    levels = (np.arange(count) + 0.5) / count
    apart = np.abs(_quantiles(x, levels) - _quantiles(y, levels))
    return float(np.mean(apart**order) ** (1 / order))


def _frechet(x: Rows, y: Others) -> float:
    first, second = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (x, y))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # The trace of (C C')^(1/2) is that of (C^(1/2) C' C^(1/2))^(1/2), which is symmetric.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    apart = x.mean(0) - y.mean(0)
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * shared)


def _covered(points: Rows, centres: Others, neighbours: int, owner: str) -> Bool[np.ndarray, " n"]:
    if not (is_count(neighbours) and neighbours < len(centres)):
        raise et.ConfigurationError(
            f"{owner}: neighbours is from 1 to {len(centres) - 1}, one less than there are rows; "
            f"got {neighbours!r}."
        )
    # The nearest of all is the centre itself.
    radius = np.partition(cdist(centres, centres), neighbours, axis=1)[:, neighbours]
    return np.any(cdist(points, centres) <= radius, axis=1)


def _random(owner: str, seed: int) -> np.random.Generator:
    sizes_of(owner, least=0, seed=seed)
    return np.random.default_rng(seed)


def _share(
    hits: Bool[np.ndarray, " n"] | Float[np.ndarray, " n"], random: np.random.Generator
) -> Estimate:
    """The mean of what is 1, one half or 0 of each row."""
    worth = np.array([1.0, 0.5, 0.0])
    shares = (hits[:, None] == worth).mean(0)
    draws = random.multinomial(len(hits), shares, DRAWS) @ worth / len(hits)
    return _estimate(hits.mean(), draws)


def _bootstrapped(
    measure: Callable[[Index, Integer[np.ndarray, " others"]], float],
    first: int,
    second: int,
    random: np.random.Generator,
) -> Estimate:
    """A measure of rows by their numbers, of all rows and of draws of them with replacement."""
    value = measure(np.arange(first), np.arange(second))
    draws = [
        measure(random.integers(first, size=first), random.integers(second, size=second))
        for _ in range(DRAWS)
    ]
    return _estimate(value, np.array(draws))


def _estimate(value: float, draws: Float[np.ndarray, " draws"]) -> Estimate:
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def _quantiles(x: Rows, levels: Float[np.ndarray, " q"]) -> Float[np.ndarray, "q dim"]:
    """The values of each column at these levels."""
    ordered = np.sort(x, axis=0)
    return ordered[np.minimum((levels * len(x)).astype(int), len(x) - 1)]


def _pair(
    owner: str,
    samples: Float[np.ndarray, "n ..."],
    data: Float[np.ndarray, "m ..."],
    least: int = 2,
) -> tuple[Rows, Others]:
    """Both as rows of float64. Raises `DataError` for what cannot be compared."""
    x, y = _rows(owner, "samples", samples, least), _rows(owner, "data", data, least)
    if x.shape[1] != y.shape[1]:
        raise et.DataError(
            f"{owner}: samples have {x.shape[1]} values each, and data {y.shape[1]}. Bring both to "
            "one shape."
        )
    return x, y


def _rows(owner: str, name: str, values: Any, least: int) -> Rows:
    """Examples as rows of float64."""
    array = np.asarray(values)
    if array.dtype.kind in "cOSUMm":
        raise et.DataError(f"{owner}: {name} are {array.dtype}; needs an array of real numbers.")
    if not array.ndim or 0 in array.shape[1:]:
        raise et.DataError(
            f"{owner}: {name} have the shape {array.shape}; needs (rows, values), or rows of any "
            "shape, with a value at least."
        )
    rows = array.reshape(len(array), math.prod(array.shape[1:])).astype(np.float64)
    if len(rows) < least or not np.isfinite(rows).all():
        raise et.DataError(
            f"{owner}: {name} are {len(rows)} rows, or hold NaN or infinite values; needs {least} "
            "or more that are finite."
        )
    if np.abs(rows).max() > LARGEST:
        raise et.DataError(
            f"{owner}: {name} hold values beyond {LARGEST:g}, whose powers are not finite. Scale "
            "both."
        )
    return rows
