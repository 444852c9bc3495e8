"""Triggers: moments at which a search statistic is large, and how many there really are.

A signal makes the statistic rise for a while, so that every stretch of it gives many neighbouring
triggers; clustering keeps the loudest of each stretch, which makes rates meaningful.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int


@dataclass(frozen=True)
class Triggers:
    """Candidate events in order of time.

    Attributes:
        time: GPS seconds.
        statistic: how signal-like, larger is more so; any monotonic measure.

    Raises ValueError if the times are not in order.

    >>> triggers = Triggers(np.array([10.0, 11.0]), np.array([4.0, 9.0]))
    >>> len(triggers), triggers.loudest
    (2, (11.0, 9.0))
    """

    time: Float64[np.ndarray, " n"]
    statistic: Float64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if np.any(np.diff(self.time) < 0):
            raise ValueError("Triggers: `time` is not in order; sort both arrays by time first.")

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, chosen: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> "Triggers":
        """Some of them, in their order."""
        return Triggers(self.time[chosen], self.statistic[chosen])

    @property
    def loudest(self) -> tuple[float, float]:
        """(time, statistic) of the loudest. Raises ValueError if there is none."""
        if not len(self):
            raise ValueError("Triggers: there are none, so none is the loudest.")
        at = int(np.argmax(self.statistic))
        return float(self.time[at]), float(self.statistic[at])

    def clustered(self, window: float) -> "Triggers":
        """The loudest of each stretch: see `cluster`.

        >>> Triggers(np.array([0.0, 0.1, 5.0]), np.array([1.0, 2.0, 1.0])).clustered(0.3).time
        array([0.1, 5. ])
        """
        return self[cluster(self.time, self.statistic, window)]


def cluster(
    time: Float[np.ndarray, " n"], statistic: Float[np.ndarray, " n"], window: float
) -> Int[np.ndarray, " kept"]:
    """Which triggers stand for their neighbours.

    The loudest is kept and all others within `window` of it are dropped; then the loudest of what
    remains, until none is left. So the kept are more than `window` apart, and every dropped one is
    within `window` of a kept one that is at least as loud. Of equally loud ones the earlier wins.

    Args:
        time: times in order, seconds.
        statistic: how signal-like each trigger is.
        window: seconds, on either side.

    Returns:
        Indices of the kept, in order of time.

    >>> cluster(np.array([0.0, 0.2, 0.4]), np.array([3.0, 2.0, 1.0]), window=0.3)
    array([0, 2])
    """
    if not window >= 0:
        raise ValueError(f"cluster: `window` is a time in seconds, at least 0; got {window}.")
    first = np.searchsorted(time, time - window, side="left").tolist()
    last = np.searchsorted(time, time + window, side="right").tolist()
    free, kept = np.ones(len(time), bool), []
    for index in np.argsort(-statistic, kind="stable").tolist():
        if free[index]:
            kept.append(index)
            free[first[index] : last[index]] = False
    return np.sort(np.asarray(kept, np.int64))


def loudest_near(
    triggers: Triggers, times: Float[np.ndarray, " n"], tolerance: float
) -> Float64[np.ndarray, " n"]:
    """The statistic of the loudest trigger within `tolerance` seconds of each time; -inf if none.

    >>> triggers = Triggers(np.array([1.0, 1.2]), np.array([5.0, 7.0]))
    >>> loudest_near(triggers, np.array([1.1, 3.0]), tolerance=0.2)
    array([  7., -inf])
    """
    first = np.searchsorted(triggers.time, times - tolerance, side="left")
    last = np.searchsorted(triggers.time, times + tolerance, side="right")
    found = [triggers.statistic[a:b].max(initial=-np.inf) for a, b in zip(first, last, strict=True)]
    return np.asarray(found, np.float64)


def away_from(
    triggers: Triggers, times: Float[np.ndarray, " n"], tolerance: float
) -> Bool[np.ndarray, " triggers"]:
    """Which triggers are more than `tolerance` seconds from all of `times`.

    >>> away_from(Triggers(np.array([1.0, 2.0]), np.zeros(2)), np.array([1.1]), 0.2)
    array([False,  True])
    """
    times = np.sort(times)
    before = np.searchsorted(times, triggers.time - tolerance, side="left")
    return before == np.searchsorted(times, triggers.time + tolerance, side="right")


def merged(parts: Sequence[Triggers]) -> Triggers:
    """All triggers of several lists, in order of time.

    >>> late, early = (Triggers(np.array([t]), np.array([1.0])) for t in (9.0, 2.0))
    >>> merged([late, early]).time
    array([2., 9.])
    """
    time = np.concatenate([np.zeros(0), *(part.time for part in parts)])
    statistic = np.concatenate([np.zeros(0), *(part.statistic for part in parts)])
    order = np.argsort(time, kind="stable")
    return Triggers(time[order], statistic[order])
