"""The receiver operating characteristic of windows, with what its size can and cannot say."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.stats import norm, rankdata

from etude.systems.gravitational_waves.pipeline.intervals import (
    Estimate,
    Method,
    binomial_interval,
)


@dataclass(frozen=True)
class ROC:
    """True against false positive rates, one point per threshold, from (0, 0) to (1, 1).

    Attributes:
        thresholds: thresholds in descending order, the first infinite; a window counts as
            positive at or above it.
        false_positive_rate, true_positive_rate: shares above each threshold.
        noise, signals: numbers of windows.
    """

    thresholds: Float64[np.ndarray, " n"]
    false_positive_rate: Float64[np.ndarray, " n"]
    true_positive_rate: Float64[np.ndarray, " n"]
    noise: int
    signals: int

    @property
    def resolution(self) -> float:
        """The smallest false positive rate that can be stated: 1 / noise windows."""
        return 1 / self.noise


def roc(noise: Float[np.ndarray, " noise"], signals: Float[np.ndarray, " signals"]) -> ROC:
    """The curve of the statistics of noise windows and of signal windows.

    >>> curve = roc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    >>> curve.false_positive_rate, curve.true_positive_rate
    (array([0. , 0. , 0.5, 1. ]), array([0. , 0.5, 1. , 1. ]))
    """
    _check("roc", noise, signals)
    thresholds = np.unique(np.concatenate([noise, signals]).astype(np.float64))[::-1]
    thresholds = np.concatenate([[np.inf], thresholds])
    rates = [
        (len(values) - np.searchsorted(np.sort(values), thresholds, side="left")) / len(values)
        for values in (noise.astype(np.float64), signals.astype(np.float64))
    ]
    return ROC(thresholds, *rates, noise=len(noise), signals=len(signals))


def tpr_at_fpr(
    noise: Float[np.ndarray, " noise"],
    signals: Float[np.ndarray, " signals"],
    fpr: float,
    confidence: float = 0.95,
    method: Method = "clopper-pearson",
) -> Estimate:
    """The true positive rate at the lowest threshold whose false positive rate is at most `fpr`.

    The interval is binomial in the signals; the threshold is taken as given. Raises ValueError for
    a rate below 1 / noise windows, which the noise cannot resolve.

    >>> tpr_at_fpr(np.arange(100.0), np.arange(50.0, 150.0), fpr=0.05).value
    0.55
    """
    _check("tpr_at_fpr", noise, signals)
    allowed = int(np.floor(fpr * len(noise) * (1 + 1e-12)))
    if allowed < 1:
        raise ValueError(
            f"tpr_at_fpr: a false positive rate of {fpr:.3g} is below the resolution of "
            f"{1 / len(noise):.3g} that {len(noise)} noise windows have. Use at least "
            f"{int(np.ceil(1 / fpr)) if fpr > 0 else 'infinitely many'} windows or a larger rate."
        )
    # Above the loudest window that is one too many; below any threshold all may pass.
    bound = np.sort(noise)[-allowed - 1] if allowed < len(noise) else -np.inf
    hits = np.array(np.count_nonzero(signals > bound))
    total = np.array(len(signals))
    low, high = binomial_interval(hits, total, confidence, method)
    return Estimate(float(hits / total), float(low), float(high))


def auc(
    noise: Float[np.ndarray, " noise"],
    signals: Float[np.ndarray, " signals"],
    confidence: float = 0.95,
) -> Estimate:
    """The area under the curve, with DeLong's interval.

    For windows that are independent of each other; else see `block_auc`. The area is the
    probability that a signal scores above noise, ties counting half; the variance is
    DeLong, DeLong and Clarke-Pearson's (Biometrics 44, 837, 1988) from ranks (Sun and Xu, 2014).
    The interval is computed on the logit scale, which keeps it within 0..1. Perfect separation has
    no variance: there the rule of three (Hanley and Lippman-Hand, 1983) bounds the error by
    3 / smaller sample.

    >>> auc(np.array([0.1, 0.4, 0.35]), np.array([0.3, 0.8, 0.9])).value.__round__(4)
    0.7778
    """
    _check("auc", noise, signals)
    area, variance = delong(noise, signals)
    z = float(norm.isf((1 - confidence) / 2))
    if area in (0.0, 1.0):
        return _without_variance(area, min(len(noise), len(signals)))
    half = z * np.sqrt(variance) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    low, high = 1 / (1 + np.exp(-(logit - half))), 1 / (1 + np.exp(-(logit + half)))
    return Estimate(area, float(low), float(high))


def block_auc(
    noise: Float[np.ndarray, " noise"],
    signals: Float[np.ndarray, " signals"],
    noise_blocks: Int[np.ndarray, " noise"],
    signal_blocks: Int[np.ndarray, " signals"],
    confidence: float = 0.95,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The area under the curve of windows that come in blocks, with a bootstrap interval.

    Windows of one binary are found or missed together, so that their number says too much about
    the error, and DeLong's interval (`auc`) is too narrow. Here whole blocks are drawn with
    replacement, with all their windows, and the interval holds the middle of the areas.

    Args:
        noise, signals: statistics of the windows.
        noise_blocks, signal_blocks: the block of each; equal numbers are one block, also of
            noise and signals.
        confidence: probability with which the interval holds the truth.
        draws: resamplings.
        seed: seed of the resampling.

    Raises ValueError as `auc` does.

    >>> windows = np.array([0.1, 0.4, 0.35, 0.2]), np.array([0.3, 0.8, 0.9, 0.85])
    >>> block_auc(*windows, np.array([0, 1, 2, 3]), np.array([4, 4, 5, 5])).value
    0.875
    """
    _check("block_auc", noise, signals)
    names, block = np.unique(np.concatenate([noise_blocks, signal_blocks]), return_inverse=True)
    is_signal = np.arange(len(block)) >= len(noise)
    # Equal statistics are a group; within it a pair counts half.
    _, group = np.unique(np.concatenate([noise, signals]).astype(np.float64), return_inverse=True)
    rng = np.random.default_rng(seed)

    def area(weight: np.ndarray) -> float:
        lost, won = (np.bincount(group, weight * mine) for mine in (~is_signal, is_signal))
        below = np.cumsum(lost) - lost / 2
        pairs = lost.sum() * won.sum()
        return float(np.dot(won, below) / pairs) if pairs else np.nan

    value = area(np.ones(len(block)))
    if value in (0.0, 1.0):
        fewest = min(len(np.unique(noise_blocks)), len(np.unique(signal_blocks)))
        return _without_variance(value, fewest)
    chosen = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile([area(counts[block]) for counts in chosen], [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def delong(
    noise: Float[np.ndarray, " noise"], signals: Float[np.ndarray, " signals"]
) -> tuple[float, float]:
    """(area, its variance); at least two windows of each kind are needed for the variance.

    >>> area, variance = delong(np.array([0.1, 0.4, 0.35]), np.array([0.3, 0.8, 0.9]))
    >>> round(area, 4), round(variance, 4)
    (0.7778, 0.0617)
    """
    m, n = len(signals), len(noise)
    ranks = rankdata(np.concatenate([signals, noise]).astype(np.float64))
    # How often each signal beats noise, and each noise window is beaten.
    wins = (ranks[:m] - rankdata(signals.astype(np.float64))) / n
    losses = 1 - (ranks[m:] - rankdata(noise.astype(np.float64))) / m
    return float(wins.mean()), float(wins.var(ddof=1) / m + losses.var(ddof=1) / n)


def _without_variance(area: float, samples: int) -> Estimate:
    """Perfect separation by the rule of three."""
    bound = min(1.0, 3 / samples)
    return Estimate(area, max(area - bound, 0.0), min(area + bound, 1.0))


def _check(name: str, noise: np.ndarray, signals: np.ndarray) -> None:
    if len(noise) < 2 or len(signals) < 2:
        raise ValueError(
            f"{name}: needs at least two windows of noise and of signal; "
            f"got {len(noise)} and {len(signals)}."
        )
    if np.isnan(noise).any() or np.isnan(signals).any():
        raise ValueError(f"{name}: a statistic is NaN; find out why before it is ranked.")
