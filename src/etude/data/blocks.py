"""A shuffle that keeps neighbours together, for files that are read fastest in large pieces.

>>> order = BlockOrder(Blocks(3, window=2), length=12, batch=2)
>>> [window.tolist() for window in order.samples((0,), 0, 12)]
[[6, 1, 7, 0, 8, 2], [3, 10, 5, 11, 4, 9]]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int

from etude.engine.numbers import is_count
from etude.errors import DataError


@final
@dataclass(frozen=True)
class Blocks:
    """A shuffle of whole blocks: `AccessData(..., shuffle=Blocks(1024))`.

    The data are cut into blocks of `size` samples that follow each other. In each epoch the blocks
    come in a new order, a pure function of (seed, phase, epoch), and `window` of them are mixed at
    a time: the samples of each in an order of their own, and about as many of each block in every
    batch (or one of each in turn, where a batch is smaller than the window). Each comes once.

    A block is read as a whole, once, and held until its last sample is taken. So an epoch reads the
    file in pieces of `size` samples; the memory holds the blocks of one window, and with workers,
    which read ahead, of two.

    What it does not do: samples of one block never come further apart than a window lasts, and
    those of two blocks meet in a batch only if the blocks are drawn into one window. Files sorted
    by class or time want blocks so small, and a window so wide, that a window looks like the whole.

    Args:
        size: samples of a block. Of an array in chunks (HDF5, Zarr), a multiple of the chunk's; of
            other files, so many that a block takes a megabyte or more.
        window: blocks that are mixed; 1 shuffles within each block alone.

    Raises:
        DataError: numbers that are no positive integers.

    >>> data = np.arange(12.0)
    >>> import etude as et
    >>> source = et.AccessData(data, 4, shuffle=et.Blocks(3, window=2))
    >>> [sorted(batch.tolist()) for batch in source.batches((0,), epoch=0, position=0)]
    [[0.0, 1.0, 6.0, 7.0], [2.0, 3.0, 5.0, 8.0], [4.0, 9.0, 10.0, 11.0]]
    """

    size: int
    window: int = 16

    def __post_init__(self) -> None:
        for name, value in (("size", self.size), ("window", self.window)):
            if not is_count(value):
                raise DataError(f"Blocks: {name} must be a positive integer; got {value!r}.")
            object.__setattr__(self, name, int(value))


@dataclass(frozen=True)
class BlockOrder:
    """The order that `Blocks` asks for, of so many samples in batches of so many."""

    blocks: Blocks
    length: int
    batch: int

    @property
    def name(self) -> str:
        """What decides the order, for a fingerprint."""
        return f"blocks of {self.blocks.size}, {self.blocks.window} at a time"

    def samples(
        self, entropy: tuple[int, ...], first: int, until: int
    ) -> Iterator[Int[np.ndarray, " n"]]:
        """The samples at positions `first` to `until`, window by window."""
        size, window = self.blocks.size, self.blocks.window
        count = -(-self.length // size)
        seed = [number % 2**64 for number in entropy]
        blocks = np.random.default_rng(seed).permutation(count)
        # One block is short: the last of the data, anywhere in the order.
        short, missing = int(np.argmax(blocks == count - 1)), count * size - self.length
        for number, begin in enumerate(range(0, count, window)):
            end = min(begin + window, count)
            start = begin * size - missing * (begin > short)
            stop = end * size - missing * (end > short)
            if stop > first and start < until:
                found = self._mixed(blocks[begin:end], seed, number)
                yield found[max(first - start, 0) : until - start]

    def _mixed(
        self, blocks: Int[np.ndarray, " n"], seed: list[int], number: int
    ) -> Int[np.ndarray, " m"]:
        """The samples of a window: of each block in turn as many as it has of a batch."""
        # The key of a spawned sequence, because seeds are padded with zeros.
        generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        size, each = self.blocks.size, max(1, self.batch // len(blocks))
        samples: list[np.ndarray] = []
        turns: list[np.ndarray] = []
        for place, block in enumerate(blocks.tolist()):
            start = block * size
            length = min(size, self.length - start)
            samples.append(start + generator.permutation(length))
            # Those of the short block are spread over the window, not all at its beginning.
            spread = (2 * np.arange(length) + 1) * size // (2 * length)
            turns.append(spread // each * len(blocks) + place)
        return np.concatenate(samples)[np.argsort(np.concatenate(turns), kind="stable")]
