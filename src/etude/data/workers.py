"""Threads or processes that read batches ahead, in order."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from jaxtyping import PyTree

from etude.data.processes import ReaderProcess
from etude.data.reader import Reader
from etude.engine.surroundings import Surroundings

#: Makes a batch of the samples of a group, in the arrays of another batch if it can.
Read = Callable[[Surroundings, np.ndarray, PyTree], PyTree]

#: Starts that.
Submit = Callable[[np.ndarray, PyTree], Future[PyTree]]

#: Batches on their way, for each worker.
AHEAD = 2


class Workers:
    """Maps a reader over groups of indices; the order of the results is that of the groups.

    Each worker is a thread, which reads itself or asks a process of its own.

    >>> workers = Workers(Reader([1, 2, 3]), 2, "thread")
    >>> list(workers.map(iter([np.array([2, 0]), np.array([1])])))
    [array([3, 1], dtype=int32), array([2], dtype=int32)]
    """

    def __init__(self, reader: Reader, count: int, kind: str):
        self._ahead, self._kind = AHEAD * count, kind
        self._pool = ThreadPoolExecutor(count)
        self._read = _read_here(reader) if kind == "thread" else _read_elsewhere(reader)

    def map(self, groups: Iterator[np.ndarray]) -> Iterator[PyTree]:
        """The batches of the groups, each started a few before it is asked for."""
        pending: deque[Future[PyTree]] = deque()
        begin = self.submitting()

        def submit(group: np.ndarray) -> Future[PyTree]:
            return begin(group, None)

        try:
            pending.extend(map(submit, islice(groups, self._ahead)))
            while pending:
                batch = pending.popleft().result()
                pending.extend(map(submit, islice(groups, 1)))
                yield batch
        finally:
            for future in pending:
                future.cancel()

    def submitting(self) -> Submit:
        """A function that starts to read a group, under the settings that hold in this thread."""
        # The settings of JAX decide about types, and hold in no thread or process but this one.
        here = Surroundings.here() if self._kind == "thread" else Surroundings.here().portable()
        return lambda group, into: self._pool.submit(self._read, here, group, into)


def _read_here(reader: Reader) -> Read:
    def read(surroundings: Surroundings, indices: np.ndarray, into: PyTree) -> PyTree:
        with surroundings.entered():
            return reader(indices, into)

    return read


class _Own(threading.local):
    """The process of a thread, once it has one."""

    process: ReaderProcess | None = None


def _read_elsewhere(reader: Reader) -> Read:
    own = _Own()

    def read(surroundings: Surroundings, indices: np.ndarray, into: PyTree) -> PyTree:
        if own.process is None:
            own.process = ReaderProcess(reader)
        return own.process.read(surroundings, indices)

    return read
