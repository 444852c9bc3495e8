"""How long the next chunk may be, so that chunks are long enough to be cheap and short enough
that a signal, a time limit or a progress bar never waits."""

import time

from etude.engine.chunk import CAPACITY

#: Seconds that a chunk should last.
TARGET = 0.5


class Pace:
    """Chunk lengths from the time that steps took; `limit` caps them.

    >>> Pace().steps()
    1
    """

    def __init__(self, limit: int = CAPACITY):
        self.limit = limit
        self._steps = 1
        self._last = time.perf_counter()

    def start(self) -> None:
        """Chunks are being made from now on."""
        self._last = time.perf_counter()

    def steps(self) -> int:
        """The length of the next chunk."""
        return self._steps

    def made(self, steps: int) -> float:
        """A chunk of `steps` was read; returns the seconds since the one before."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        if steps >= self._steps:  # a chunk cut short by a boundary says little
            fitting = int(steps * TARGET / max(seconds, 1e-6))
            # The first chunks hold the compilation and start-up: grow by steps.
            self._steps = max(1, min(self.limit, fitting, 8 * self._steps))
        return seconds
