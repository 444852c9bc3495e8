"""Batches gathered from blocks, of which each is read as a whole and held while it is needed.

>>> from etude.data.reader import Reader
>>> held = Held(Reader([0, 10, 20, 30, 40]), None, size=2, length=5, ahead=1)
>>> [batch.tolist() for batch in held.map(iter([np.array([3, 0]), np.array([2, 4, 1])]))]
[[30, 0], [20, 40, 10]]
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise, repeat
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.workers import Workers

#: The bytes at whose multiples an array begins that JAX, on a CPU, takes without a copy.
ALIGNMENT = 64


@dataclass(frozen=True)
class Held:
    """Maps groups of samples to batches, as a reader does, and reads each block once.

    A block is dropped when none of the groups `ahead` needs it, and its memory is given to another:
    to get new memory costs as much as to fill it. With workers, the blocks of these groups are read
    before they are asked for.
    """

    reader: Callable[[np.ndarray, PyTree], PyTree]
    workers: Workers | None
    size: int
    length: int
    ahead: int

    def map(self, groups: Iterator[np.ndarray]) -> Iterator[PyTree]:
        """The batches of the groups, in their order."""
        begin = self._later if self.workers is None else self.workers.submitting()
        blocks: dict[int, Future[PyTree] | _Later] = {}
        needed, waiting, spare = Counter[int](), deque[np.ndarray](), list[PyTree]()
        try:
            for group in chain(groups, repeat(None)):
                if group is not None:
                    waiting.append(group)
                    for number in self._blocks(group):
                        needed[number] += 1
                        if number not in blocks:
                            into = spare.pop() if spare else None
                            blocks[number] = begin(self._samples(number), into)
                    if len(waiting) <= self.ahead:
                        continue
                if not waiting:
                    return
                group = waiting.popleft()
                batch = self._gathered(group, blocks)
                for number in self._blocks(group):
                    needed[number] -= 1
                    if not needed[number]:
                        del needed[number]
                        spare.append(blocks.pop(number).result())
                yield batch
        finally:
            for block in blocks.values():
                block.cancel()

    def _later(self, samples: np.ndarray, into: PyTree) -> "_Later":
        return _Later(self.reader, samples, into)

    def _samples(self, block: int) -> np.ndarray:
        return np.arange(block * self.size, min((block + 1) * self.size, self.length))

    def _blocks(self, group: np.ndarray) -> list[int]:
        return np.unique(group // self.size).tolist()

    def _gathered(self, group: np.ndarray, blocks: Mapping[int, Any]) -> PyTree:
        numbers, rows = group // self.size, group % self.size
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(group)]
        runs = [(blocks[int(numbers[x])].result(), slice(x, y)) for x, y in pairwise(cuts)]

        def one(first: np.ndarray, *leaves: np.ndarray) -> np.ndarray:
            out = _aligned((len(group), *first.shape[1:]), first.dtype)
            for leaf, (_, run) in zip((first, *leaves), runs, strict=True):
                # Known to be inside: with "raise", NumPy would write to a buffer first.
                np.take(leaf, rows[run], axis=0, out=out[run], mode="clip")
            return out

        return jax.tree.map(one, *[block for block, _ in runs])


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array that begins at a multiple of `ALIGNMENT`."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


@dataclass(frozen=True)
class _Later:
    """A block that is read when it is first used."""

    reader: Callable[[np.ndarray, PyTree], PyTree]
    samples: np.ndarray
    into: PyTree

    def result(self) -> PyTree:
        return self._read

    @cached_property
    def _read(self) -> PyTree:
        return self.reader(self.samples, self.into)

    def cancel(self) -> None:
        pass
