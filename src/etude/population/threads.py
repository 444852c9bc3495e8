"""Work done from several threads, each of which does what is its own in order.

>>> two = Threads([0, 1, 0])
>>> two.map(lambda place: 10 * place), two.count
([0, 10, 20], 2)
>>> two.close()
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from etude.engine.surroundings import Surroundings

T = TypeVar("T")


class Threads:
    """Places, each with the number of the thread that works for it. Where there is one number, the
    thread that asks does the work itself."""

    def __init__(self, numbers: Sequence[int]):
        self._numbers = numbers
        self._pools = {number: ThreadPoolExecutor(1) for number in numbers}

    @property
    def count(self) -> int:
        """How many threads there are."""
        return len(self._pools)

    def map(self, work: Callable[[int], T]) -> list[T]:
        """What `work(place)` gives for each place; the settings of JAX are those of the caller.

        Raises what the first place that fails raises, when no other works any more.
        """
        if self.count == 1:
            return [work(place) for place in range(len(self._numbers))]
        surroundings = Surroundings.here()

        def run(place: int) -> T:
            with surroundings.entered():
                return work(place)

        futures = [self._pools[one].submit(run, place) for place, one in enumerate(self._numbers)]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]

    def close(self) -> None:
        """Ends the threads."""
        for pool in self._pools.values():
            pool.shutdown()
