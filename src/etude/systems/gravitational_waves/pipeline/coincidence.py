"""Coincidences of two detectors: the same template, at times that one wave could have."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from etude.systems.gravitational_waves.pipeline.background import Background, lags
from etude.systems.gravitational_waves.pipeline.matched_filter import DetectorTriggers
from etude.systems.gravitational_waves.pipeline.triggers import Triggers, cluster

#: Light travel between Hanford and Livingston, 10 ms, and 5 ms for what noise does to a time.
H1_L1_WINDOW = 0.015


@dataclass(frozen=True)
class Coincidences:
    """Pairs of triggers of two detectors, in order of time.

    Attributes:
        time: GPS seconds, of the louder of the two.
        statistic: network SNR, the root of the sum of squares.
        snr: signal-to-noise ratio in each detector.
        template: index into the bank.
    """

    time: Float64[np.ndarray, " n"]
    statistic: Float64[np.ndarray, " n"]
    snr: Float64[np.ndarray, "n 2"]
    template: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.time)

    def triggers(self) -> Triggers:
        """Times and statistics only."""
        return Triggers(self.time, self.statistic)


def coincidences(
    first: DetectorTriggers,
    second: DetectorTriggers,
    span: tuple[float, float],
    lag: float = 0.0,
    window: float = H1_L1_WINDOW,
    cluster_window: float = 0.5,
) -> Coincidences:
    """Pairs of equal template less than `window` apart, clustered.

    Args:
        first, second: triggers of each detector.
        span: GPS times of start and end of the data.
        lag: the second detector is shifted so many seconds later, in a circle over the span.
        window: seconds.
        cluster_window: seconds, see `cluster`.

    >>> one = DetectorTriggers(np.array([5.0]), np.array([6.0]), np.array([0]))
    >>> two = DetectorTriggers(np.array([5.008]), np.array([8.0]), np.array([0]))
    >>> coincidences(one, two, span=(0.0, 10.0)).statistic
    array([10.])
    >>> len(coincidences(one, two, span=(0.0, 10.0), lag=2.0))
    0
    """
    start, end = span
    moved = (second.time - start + lag) % (end - start) if lag else second.time - start
    # Templates lie one behind the other on one axis, too far apart to meet.
    pitch = end - start + 1 + 2 * window
    key = second.template * pitch + moved
    order = np.argsort(key, kind="stable")
    wanted = first.template * pitch + first.time - start
    low = np.searchsorted(key[order], wanted - window, side="left")
    high = np.searchsorted(key[order], wanted + window, side="right")
    a = np.repeat(np.arange(len(first)), high - low)
    within = np.arange(len(a)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    b = order[np.repeat(low, high - low) + within]
    snr = np.stack([first.snr[a], second.snr[b]], axis=1)
    time = np.where(snr[:, 0] >= snr[:, 1], first.time[a], start + moved[b])
    sort = np.argsort(time, kind="stable")
    a, snr, time = a[sort], snr[sort], time[sort]
    statistic = np.sqrt((snr**2).sum(axis=1))
    kept = cluster(time, statistic, cluster_window)
    return Coincidences(time[kept], statistic[kept], snr[kept], first.template[a[kept]])


def slide_background(
    first: DetectorTriggers,
    second: DetectorTriggers,
    span: tuple[float, float],
    step: float = 1.0,
    count: int | None = 100,
    window: float = H1_L1_WINDOW,
    cluster_window: float = 0.5,
) -> Background:
    """The background from time slides of the triggers: see `lags` for `step` and `count`.

    Where the data hold signals, their triggers in one detector meet noise of the other; this
    raises the background, on the safe side.
    """
    duration = span[1] - span[0]
    chosen = lags(duration, step, count)
    slides = [
        coincidences(first, second, span, float(lag), window, cluster_window).triggers()
        for lag in chosen
    ]
    return Background.of(slides, duration * len(chosen))
