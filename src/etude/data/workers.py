"""Threads or processes that read batches ahead, in order."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
from jaxtyping import PyTree

from etude.data.reader import Reader
from etude.engine.surroundings import Surroundings
from etude.errors import DataError

#: Batches on their way, for each worker.
AHEAD = 2


class Workers:
    """Maps a reader over groups of indices; the order of the results is that of the groups.

    >>> workers = Workers(Reader([1, 2, 3]), 2, "thread")
    >>> list(workers.map(iter([np.array([2, 0]), np.array([1])])))
    [array([3, 1], dtype=int32), array([2], dtype=int32)]
    """

    def __init__(self, reader: Reader, count: int, kind: str):
        self._ahead, self._kind = AHEAD * count, kind
        self._pool: Executor
        self._read: Callable[[Surroundings, np.ndarray], PyTree]
        if kind == "thread":
            self._pool, self._read = ThreadPoolExecutor(count), partial(_read, reader)
        else:
            # Spawned, because a fork of a process that runs JAX may hang. The copy of the reader
            # has nothing cached in it that might not pickle.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(count, context, _install, (replace(reader),))
            self._read = _read_installed

    def map(self, groups: Iterator[np.ndarray]) -> Iterator[PyTree]:
        """The batches of the groups, each started a few before it is asked for."""
        pending: deque[Future[PyTree]] = deque()
        # The settings of JAX decide about types, and hold in no thread or process but this one.
        here = Surroundings.here() if self._kind == "thread" else Surroundings.here().portable()

        def submit(group: np.ndarray) -> Future[PyTree]:
            return self._pool.submit(self._read, here, group)

        try:
            pending.extend(map(submit, islice(groups, self._ahead)))
            while pending:
                batch = pending.popleft().result()
                pending.extend(map(submit, islice(groups, 1)))
                yield batch
        except BrokenProcessPool as error:
            raise DataError(
                "The processes that read the data died. The data set must be picklable and "
                "importable; a script that starts processes needs `if __name__ == '__main__':`. "
                "Or use worker_kind='thread'."
            ) from error
        finally:
            for future in pending:
                future.cancel()


# The one thing a worker process holds; set once at its start, so that the data set is sent once.
_installed: list[Reader] = []


def _install(reader: Reader) -> None:
    _installed[:] = [reader]


def _read_installed(surroundings: Surroundings, indices: np.ndarray) -> PyTree:
    return _read(_installed[0], surroundings, indices)


def _read(reader: Reader, surroundings: Surroundings, indices: np.ndarray) -> PyTree:
    with surroundings.entered():
        return reader(indices)
