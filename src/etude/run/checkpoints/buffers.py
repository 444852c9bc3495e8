"""Memory on the host that one save after the other uses.

>>> buffers = Buffers()
>>> first = buffers.take(100)
>>> buffers.give_back([first])
>>> buffers.take(100) is first
True
"""

import threading
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8


class Buffers:
    """Buffers by their size. Fresh memory costs more than the copy into it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: dict[int, list[UInt8[np.ndarray, " _"]]] = {}

    def take(self, size: int) -> UInt8[np.ndarray, " _"]:
        """A buffer of `size` bytes, with anything in it."""
        with self._lock:
            free = self._free.get(size)
            if free:
                return free.pop()
        return np.empty(size, np.uint8)

    def give_back(self, buffers: Sequence[UInt8[np.ndarray, " _"]]) -> None:
        """Keep those of one save, in place of all that were free."""
        free: dict[int, list[UInt8[np.ndarray, " _"]]] = {}
        for buffer in buffers:
            free.setdefault(len(buffer), []).append(buffer)
        with self._lock:
            self._free = free
