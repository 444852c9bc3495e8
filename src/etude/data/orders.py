"""The order of the samples of an epoch, on the host.

>>> order = order_on_host(False, 10, 4)
>>> [part.tolist() for part in grouped(order.samples((0,), 3, 10), 4)]
[[3, 4, 5, 6], [7, 8, 9]]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from etude.data.blocks import BlockOrder, Blocks
from etude.data.shuffle import MOST, NETWORK, ROUNDS, SMALL, check_shuffle, permuted_on_host
from etude.errors import DataError

#: Samples whose places in the order are computed at a time.
PIECE = 4096

#: Blocks whose order, which is drawn, takes a gigabyte.
MOST_BLOCKS = 2**27


@runtime_checkable
class Order(Protocol):
    """The samples of an epoch, which `entropy` seeds."""

    @property
    def name(self) -> str | bool:
        """What decides it, for a fingerprint."""
        ...

    def samples(
        self, entropy: tuple[int, ...], first: int, until: int
    ) -> Iterator[Int[np.ndarray, " n"]]:
        """Those at positions `first` to `until`, piece by piece."""
        ...


@dataclass(frozen=True)
class Straight:
    """That of the data."""

    name = False

    def samples(self, entropy: tuple[int, ...], first: int, until: int) -> Iterator[np.ndarray]:
        """The positions themselves."""
        return numbers(first, until)


@dataclass(frozen=True)
class Drawn:
    """NumPy's permutation, kept as an array."""

    length: int
    name = "numpy.permutation"

    def samples(self, entropy: tuple[int, ...], first: int, until: int) -> Iterator[np.ndarray]:
        """Those of a permutation."""
        yield _generator(entropy).permutation(self.length)[first:until]


@dataclass(frozen=True)
class Computed:
    """A keyed permutation, computed piece by piece."""

    length: int
    name = NETWORK

    def samples(self, entropy: tuple[int, ...], first: int, until: int) -> Iterator[np.ndarray]:
        """Those of a permutation."""
        keys = _generator(entropy).integers(2**32, size=ROUNDS, dtype=np.uint32)
        for piece in numbers(first, until):
            yield permuted_on_host(piece.astype(np.uint32), keys, self.length)


def order_on_host(shuffle: Any, length: int, batch: int) -> Order:
    """The order that `shuffle` asks for.

    Raises:
        DataError: no known shuffle, or too many samples or blocks to make an order of.
    """
    if isinstance(shuffle, Blocks):
        if (blocks := -(-length // shuffle.size)) > MOST_BLOCKS:
            raise DataError(
                f"{length} samples are {blocks} blocks of {shuffle.size}; at most {MOST_BLOCKS} "
                "can be drawn. Take larger blocks."
            )
        return BlockOrder(shuffle, length, batch)
    check_shuffle(shuffle)
    if shuffle is False:
        return Straight()
    if shuffle is not True or length < SMALL:
        return Drawn(length)
    if length > MOST:
        raise DataError(
            f"{length} samples are too many to compute their order: at most {MOST}. Pass "
            "shuffle=Blocks(size), which orders blocks, 'exact', which draws it, or False."
        )
    return Computed(length)


def numbers(first: int, until: int) -> Iterator[np.ndarray]:
    """The numbers from `first` to `until`, a few thousand at a time."""
    for start in range(first, until, PIECE):
        yield np.arange(start, min(start + PIECE, until))


def grouped(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same numbers in groups of `size`, the last one short."""
    ahead = np.zeros(0, np.int64)
    for part in parts:
        ahead = np.concatenate([ahead, part])
        full = len(ahead) - len(ahead) % size
        yield from (ahead[start : start + size] for start in range(0, full, size))
        ahead = ahead[full:]
    if len(ahead):
        yield ahead


def _generator(entropy: tuple[int, ...]) -> np.random.Generator:
    # NumPy takes no negative seed; this maps those of 64 bits one to one.
    return np.random.default_rng([part % 2**64 for part in entropy])
