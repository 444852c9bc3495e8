"""How often noise alone gives a trigger as loud: false-alarm rates from time slides.

Shift the data of one detector by more than light takes between the sites, and no signal can be in
coincidence any more: every trigger of the shifted data is an accident, and each slide is one more
stretch of time without signals. Usman et al., Class. Quantum Grav. 33, 215004 (2016).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from etude.systems.gravitational_waves.pipeline.triggers import Triggers

HOUR = 3600.0
#: As in MLGWSC-1: 30 days.
MONTH = 30 * 24 * HOUR


@dataclass(frozen=True)
class Background:
    """The statistics of noise triggers and the time in which they came.

    Attributes:
        statistics: statistics of clustered triggers, ascending.
        duration: seconds of data in which they were found, all slides together.

    >>> background = Background.of([Triggers(np.array([1.0]), np.array([5.0]))], duration=100.0)
    >>> background.resolution
    0.01
    """

    statistics: Float64[np.ndarray, " n"]
    duration: float

    def __post_init__(self) -> None:
        if not self.duration > 0:
            raise ValueError(f"Background: `duration` is {self.duration} s; it must be positive.")
        if np.any(np.diff(self.statistics) < 0):
            raise ValueError("Background: `statistics` must ascend; use Background.of(triggers).")

    @classmethod
    def of(cls, slides: list[Triggers], duration: float) -> "Background":
        """From the clustered triggers of all slides; `duration` is the time of all together."""
        empty = np.zeros(0)
        return cls(np.sort(np.concatenate([empty, *(s.statistic for s in slides)])), duration)

    @property
    def resolution(self) -> float:
        """The smallest false-alarm rate that can be stated, 1/duration, in Hz."""
        return 1 / self.duration

    def louder(self, statistic: Float[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """How many of the background are at least as loud."""
        below = np.searchsorted(self.statistics, statistic, side="left")
        return (len(self.statistics) - below).astype(np.float64)

    def false_alarm_rate(self, statistic: Float[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """False alarms per second at least as loud: (1 + louder) / duration.

        The event itself counts as one of the accidents ("+1"), which makes the rate an upper
        estimate: never zero, at least the `resolution`, and unbiased as a p-value. MLGWSC-1's own
        evaluation leaves it out.

        >>> background = Background(np.array([1.0, 2.0, 3.0]), duration=10.0)
        >>> background.false_alarm_rate(np.array([0.0, 2.0, 9.0]))
        array([0.4, 0.3, 0.1])
        """
        return (1 + self.louder(statistic)) / self.duration

    def threshold(self, rate: float) -> float:
        """A trigger above this statistic has a false-alarm rate of at most `rate`, in Hz.

        It is the loudest background trigger that is too many; -inf if all triggers qualify.
        Raises ValueError for a rate below the resolution, about which the background says nothing.

        >>> background = Background(np.array([1.0, 2.0, 3.0]), duration=10.0)
        >>> background.threshold(0.2)
        2.0
        """
        # A rate such as 1/T times T may round to just below 1.
        allowed = int(np.floor(rate * self.duration * (1 + 1e-12)))
        if allowed < 1:
            raise ValueError(
                f"Background.threshold: a rate of {rate:.3g} Hz is below the resolution of "
                f"{self.resolution:.3g} Hz, one in the {self.duration:.0f} s of the background. "
                "Add slides or data, or ask for a higher rate."
            )
        return float(self.statistics[-allowed]) if allowed <= len(self.statistics) else -np.inf


def lags(
    duration: float, step: float, count: int | None = None, least: float = 0.1
) -> Float64[np.ndarray, " slides"]:
    """Shifts of the second detector for time slides, in seconds: multiples of `step`.

    Data are shifted in a circle, so a shift by the whole duration would be none: every lag is at
    least `step` away from zero on either side.

    Args:
        duration: length of the data, seconds.
        step: seconds between slides; longer than what one trigger sees, so that slides differ.
        count: largest number of slides; all that fit if None.
        least: the smallest step, more than the light travel time between the detectors.

    Raises ValueError if no slide fits.

    >>> lags(duration=32.0, step=8.0)
    array([ 8., 16., 24.])
    """
    if not step >= least:
        raise ValueError(
            f"lags: steps of {step} s do not separate slides from coincidences; take at least "
            f"{least} s."
        )
    fitting = int(np.floor(duration / step * (1 + 1e-12))) - 1
    if fitting < 1:
        raise ValueError(f"lags: no slide of {step} s fits into {duration} s of data.")
    return step * np.arange(1, min(fitting, count or fitting) + 1, dtype=np.float64)


def slid(
    stream: Float[np.ndarray, "samples detectors"], lag: float, sample_rate: float
) -> Float[np.ndarray, "samples detectors"]:
    """The stream with detector k shifted by k * lag seconds to later times, in a circle.

    What falls off the end comes back at the start: every detector keeps all its data.

    >>> slid(np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]), lag=1.0, sample_rate=1.0)
    array([[ 1., 30.],
           [ 2., 10.],
           [ 3., 20.]])
    """
    shift = round(lag * sample_rate)
    columns = [np.roll(stream[:, k], k * shift) for k in range(stream.shape[1])]
    return np.stack(columns, axis=1)
