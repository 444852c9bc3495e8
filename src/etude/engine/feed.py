"""Reads hosted data ahead of the training, in a thread, to where the state is."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax

from etude.engine.place import Place
from etude.engine.source import Hosted
from etude.engine.state import State
from etude.engine.surroundings import Surroundings
from etude.errors import DataError

Step = Callable[[State, Any], tuple[State, dict[str, jax.Array]]]

#: Batches read ahead, and seconds between looks at whether to go on waiting for one.
AHEAD, PATIENCE = 4, 0.1


class Feed:
    """The steps of a hosted source, for a `Dispatcher`; a jump in the steps seeks."""

    def __init__(self, source: Hosted, step: Step, place: Place, clock: Callable[[], float]):
        self.source, self.step, self.place, self.clock = source, step, place, clock
        # Those of the training, not of a chunk, which forbids what a data set may do.
        self._surroundings = Surroundings.here()
        #: seconds spent waiting for batches, by the clock
        self.waited = 0.0
        self.entropy: tuple[int, ...] = ()
        self._next: int | None = None
        self._reader: _Reader | None = None

    def take(
        self, state: State, first: int, steps: int, stop: Callable[[], bool]
    ) -> Iterator[tuple[Any, Step, Any]]:
        """`(kind, step, batch)` of `steps` steps from `first` on; a kind is a structure.

        Ends early if `stop()` while a batch is waited for.
        """
        if self._next != first:
            self.close()
            self._reader = _Reader(self._from(first), self.place, self._surroundings)
        assert self._reader is not None
        for number in range(first, first + steps):
            began = self.clock()
            item = self._reader.get(stop)
            self.waited += self.clock() - began
            if item is None:
                return
            (batch,) = item
            self._next = number + 1
            yield jax.tree.structure(batch), self.step, batch

    def _from(self, step: int) -> Iterator[Any]:
        per_epoch = self.source.steps_per_epoch
        epoch, position = (0, step) if per_epoch is None else divmod(step, per_epoch)
        while True:
            empty = position == 0
            for batch in self.source.batches(self.entropy, epoch, position):
                empty = False
                yield batch
            if empty:
                raise DataError(
                    f"The data yield nothing in epoch {epoch}. Check the files or the selection."
                )
            epoch, position = epoch + 1, 0

    def enter(self, entropy: tuple[int, ...]) -> None:
        """Another visit to the phase: another order, read from wherever it is asked for."""
        self.entropy = entropy
        self.close()

    def close(self) -> None:
        """Stops the thread."""
        if self._reader is not None:
            self._reader.close()
        self._reader, self._next = None, None


class _Reader:
    """A thread that keeps a few batches at a place."""

    def __init__(self, batches: Iterator[Any], place: Place, surroundings: Surroundings):
        self._place, self._surroundings = place, surroundings
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(batches,), daemon=True)
        self._thread.start()

    def _read(self, batches: Iterator[Any]) -> None:
        try:
            with self._surroundings.entered():
                for batch in batches:
                    if not self._put((self._place.put(batch), None)):
                        return
        except BaseException as error:
            self._put((None, error))

    def _put(self, item: tuple[Any, BaseException | None]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def get(self, stop: Callable[[], bool]) -> tuple[Any] | None:
        """The next batch, or None if `stop()` before it has come."""
        while True:
            try:
                batch, error = self._queue.get(timeout=PATIENCE)
            except queue.Empty:
                if stop():
                    return None
                continue
            if error is not None:
                raise error
            return (batch,)

    def close(self) -> None:
        self._stop.set()
        # A source that hangs must not hang the end of the training; the thread is a daemon.
        self._thread.join(timeout=10 * PATIENCE)
