"""Reads hosted data ahead of the training, in a thread, to where the state is.

>>> import jax.numpy as jnp
>>> from etude.data import StreamData
>>> from etude.engine.place import Place
>>> source = StreamData([jnp.zeros(2), jnp.ones(2)])
>>> batches = Prefetch(source, Place())
>>> [batch.tolist() for batch in batches.take(0, 3, lambda: False)]
[[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
>>> batches.close()
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

from jaxtyping import PyTree

from etude.engine.source import Hosted, Share, Shared
from etude.engine.surroundings import Surroundings
from etude.errors import DataError

#: Batches read ahead, and seconds between looks at whether to go on waiting for one.
AHEAD, PATIENCE = 4, 0.1


@runtime_checkable
class Destination(Protocol):
    """Where batches go: a `Place`, or several devices."""

    def put(self, tree: PyTree) -> PyTree:
        """A batch, or the pieces of a share of it, on the devices."""
        ...


class Prefetch:
    """The batches of a hosted source by the numbers of their steps; a jump in these seeks.

    With a share, the place gets a `Piece` of every array; a source that cannot read its share
    alone is read whole.
    """

    def __init__(self, source: Hosted, place: Destination, share: Share | None = None):
        self.source, self.place, self.share = source, place, share
        # Those of the training, not of a chunk, which forbids what a data set may do.
        self._surroundings = Surroundings.here()
        self.entropy: tuple[int, ...] = ()
        self._waited = 0.0
        self._next: int | None = None
        self._reader: _Reader | None = None

    def take(self, first: int, steps: int, stop: Callable[[], bool]) -> Iterator[PyTree]:
        """The batches of `steps` steps from `first` on; fewer if `stop()` while one is awaited."""
        if self._next != first:
            self.close()
            self._reader = _Reader(self._from(first), self.place, self._surroundings)
        assert self._reader is not None
        for number in range(first, first + steps):
            began = time.perf_counter()
            item = self._reader.get(stop)
            self._waited += time.perf_counter() - began
            if item is None:
                return
            (batch,) = item
            self._next = number + 1
            yield batch

    def enter(self, entropy: tuple[int, ...]) -> None:
        """Another visit to the phase: another order, read from wherever it is asked for."""
        self.entropy = entropy
        self.close()

    def take_waited(self) -> float:
        """Seconds spent waiting for batches since this was last asked."""
        waited, self._waited = self._waited, 0.0
        return waited

    def close(self) -> None:
        """Stops the thread."""
        if self._reader is not None:
            self._reader.close()
        self._reader, self._next = None, None

    def _from(self, step: int) -> Iterator[PyTree]:
        per_epoch = self.source.steps_per_epoch
        epoch, position = (0, step) if per_epoch is None else divmod(step, per_epoch)
        while True:
            empty = position == 0
            for batch in self._epoch(epoch, position):
                empty = False
                yield batch
            if empty:
                raise DataError(
                    f"The data yield nothing in epoch {epoch}. Check the files or the selection."
                )
            epoch, position = epoch + 1, 0

    def _epoch(self, epoch: int, position: int) -> Iterator[PyTree]:
        source, share = self.source, self.share
        if share is not None and isinstance(source, Shared):
            return source.share_of_batches(self.entropy, epoch, position, share)
        batches = source.batches(self.entropy, epoch, position)
        return batches if share is None else map(share.cut, batches)


class _Reader:
    """A thread that keeps a few batches at a place, or spread over several devices."""

    def __init__(self, batches: Iterator[PyTree], place: Destination, surroundings: Surroundings):
        self._place, self._surroundings = place, surroundings
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(batches,), daemon=True)
        self._thread.start()

    def _read(self, batches: Iterator[PyTree]) -> None:
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

    def get(self, stop: Callable[[], bool]) -> tuple[PyTree] | None:
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
