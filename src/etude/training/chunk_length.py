"""How long the next chunk may be, so that chunks are long enough to be cheap and short enough
that a signal, a time limit or a progress bar never waits."""

import time
from collections import deque

from etude.engine.chunk import CAPACITY

#: Seconds that a chunk should last.
TARGET = 0.5

#: Chunks that are remembered. A step takes what it took in the fastest of them: the others held a
#: compilation, the drawing of an order, or somebody else's work.
REMEMBERED = 3


class Pace:
    """Chunk lengths from the time that steps took; `limit` caps them.

    >>> Pace().steps()
    1
    """

    def __init__(self, limit: int = CAPACITY):
        self.limit = limit
        self._steps = 1
        self._costs: deque[float] = deque(maxlen=REMEMBERED)
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
            self._costs.append(max(seconds, 1e-6) / steps)
            # The first chunks hold the compilation and start-up: grow by steps.
            fitting = int(TARGET / min(self._costs))
            self._steps = max(1, min(self.limit, fitting, 8 * self._steps))
        return seconds
