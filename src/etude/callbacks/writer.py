"""Writes blocks of scalars in a thread, so that a slow disk or network never holds training up."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

#: Seconds between writes, and seconds that the end of a training waits for the last of them.
INTERVAL, GRACE = 0.5, 30.0
#: Numbers that may wait to be written (8 MB); what comes on top is dropped.
WAITING = 1_000_000


@dataclass(frozen=True)
class Scalars:
    """Metrics at steps: one row a step, one column a metric, named as in the history."""

    phase: str
    visit: int
    names: tuple[str, ...]
    #: global steps
    steps: Int[np.ndarray, " n"]
    values: Float[np.ndarray, "n metrics"]

    def rows(self) -> Iterator[tuple[int, dict[str, float]]]:
        """`(global step, metrics)`, one by one; names begin with that of the phase.

        >>> list(Scalars("fit", 0, ("train/loss",), np.array([3]), np.array([[0.5]])).rows())
        [(3, {'fit/train/loss': 0.5})]
        """
        names = [f"{self.phase}/{name}" for name in self.names]
        for step, row in zip(self.steps.tolist(), self.values.tolist(), strict=True):
            yield step, dict(zip(names, row, strict=True))


@dataclass(frozen=True)
class Picture:
    """A picture at a global step."""

    name: str
    step: int
    pixels: UInt8[np.ndarray, "height width 3"]


class Writer:
    """A thread that opens something, writes what it is offered every half second, and closes it.

    Whatever fails there is kept in `failure`, and ends the writing but nothing else. It is closed
    as failed then, even if it could not be opened.

    >>> seen = []
    >>> writer = Writer(lambda: None, lambda block: seen.append(block.steps), lambda failed: None)
    >>> writer.offer(Scalars("fit", 0, ("train/loss",), np.array([1, 2]), np.zeros((2, 1))))
    True
    >>> writer.close(failed=False)
    True
    >>> seen
    [array([1, 2])]
    """

    def __init__(
        self,
        open: Callable[[], Any],
        write: Callable[[Scalars], Any],
        close: Callable[[bool], Any],
        show: Callable[[Picture], Any] = lambda picture: None,
    ):
        self._open, self._write, self._close, self._show = open, write, close, show
        self._blocks: list[Scalars] = []
        self._pictures: list[Picture] = []
        self._waiting = 0
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._ending = self._failed = False
        self.failure: BaseException | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name="etude-logger")
        self._thread.start()

    def offer(self, block: Scalars) -> bool:
        """Takes a block; or drops and counts its rows, and says False, where too much waits."""
        if self.failure is not None:
            return False
        with self._lock:
            # One that is too large by itself is taken: it does not come before it is made.
            if self._waiting and self._waiting + block.values.size > WAITING:
                self.dropped += len(block.steps)
                return False
            self._blocks.append(block)
            self._waiting += block.values.size
        return True

    def show(self, picture: Picture) -> None:
        """Takes a picture; they are few, and none is dropped while it can be written."""
        if self.failure is not None:
            return
        with self._lock:
            self._pictures.append(picture)

    def flush(self) -> None:
        """Wakes the thread, which writes what waits; returns at once."""
        self._wake.set()

    def close(self, *, failed: bool) -> bool:
        """Writes what waits and ends the thread; False if that takes longer than `GRACE`."""
        self._ending, self._failed = True, failed
        self._wake.set()
        self._thread.join(GRACE)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._open()
            while not self._ending:
                self._wake.wait(INTERVAL)
                self._wake.clear()
                self._drain()
            self._drain()
        except BaseException as error:
            self.failure = error
            self._blocks.clear()
        try:  # also what could be opened in part: a store should not show it as running
            self._close(self._failed or self.failure is not None)
        except BaseException as error:
            self.failure = self.failure or error

    def _drain(self) -> None:
        with self._lock:
            blocks, self._blocks, self._waiting = self._blocks, [], 0
            pictures, self._pictures = self._pictures, []
        for block in joined(blocks):
            self._write(block)
        for picture in pictures:
            self._show(picture)


def joined(blocks: list[Scalars]) -> list[Scalars]:
    """The same with neighbours of the same metrics made one, because fewer writes are faster."""
    groups: list[list[Scalars]] = []
    for block in blocks:
        if groups and _kind(groups[-1][0]) == _kind(block):
            groups[-1].append(block)
        else:
            groups.append([block])
    return [
        Scalars(
            *_kind(group[0]),
            steps=np.concatenate([block.steps for block in group]),
            values=np.concatenate([block.values for block in group]),
        )
        for group in groups
    ]


def _kind(block: Scalars) -> tuple[str, int, tuple[str, ...]]:
    return block.phase, block.visit, block.names
