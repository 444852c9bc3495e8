"""What the engine asks of data: small protocols.

Resident data sit on the device, and batches are gathered inside the compiled loop. Hosted data
come batch by batch from the host. Both are addressed by (epoch, position), so that a resumed run
seeks instead of remembering.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

#: Gathers one batch: `fetch(arrays, order, position)`, traced; the shape of the batch is static.
Fetch = Callable[[PyTree, PyTree, Int[Array, ""]], PyTree]


@runtime_checkable
class Resident(Protocol):
    """Data on the device."""

    @property
    def arrays(self) -> PyTree:
        """Handed to `order` and to the fetches as arguments, never as constants."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, a short last one included."""
        ...

    @property
    def fetches(self) -> Sequence[Fetch]:
        """One for each kind of batch (kinds may differ in structure and shape)."""
        ...

    @property
    def tail(self) -> Fetch | None:
        """The short batch at the end of an epoch, or None."""
        ...

    def order(self, key: Key[Array, ""]) -> PyTree:
        """What the fetches follow in one epoch, as a pure function of its key (traced).

        A permutation, or the few numbers that one is computed from.
        """
        ...

    def kind(self, position: Int[Array, ""]) -> Int[Array, ""]:
        """Which of the fetches serves this position of an epoch (traced)."""
        ...

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample once, in order, as `(batch, samples)`: for evaluation."""
        ...


@runtime_checkable
class Hosted(Protocol):
    """Data on the host, or on their way there."""

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of an epoch; None if only known by reading to the end."""
        ...

    @property
    def seeks(self) -> bool:
        """Whether a position is sought; otherwise all before it is read again."""
        ...

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches of one epoch from a position on; `entropy` seeds their order.

        Without a known length, the epoch is 0 and the batches never end: the source begins again
        by itself.
        """
        ...

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample once, in order, as `(batch, samples)`: for evaluation."""
        ...


Source = Resident | Hosted


@dataclass(frozen=True)
class Piece:
    """What one process has of an array of a batch.

    Attributes:
        array: its rows.
        shape: of the whole array, whose other rows other processes have. That of `array` itself
            where every process has all rows.
    """

    array: Any
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Share:
    """The samples of every batch that one process reads.

    A batch is thought of in `of` equal shares, of which the process has those from `first` up to,
    but not including, `until`. A batch that has no equal shares, as a short last one, is read by
    every process as a whole.

    Raises `ValueError` for a range that is empty or outside.

    >>> Share(1, 2, of=4).rows(8), Share(1, 2, of=4).rows(6)
    (slice(2, 4, None), slice(0, 6, None))
    """

    first: int
    until: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.until <= self.of:
            raise ValueError(f"Shares {self.first} to {self.until} of {self.of} are no range.")

    def rows(self, size: int) -> slice:
        """The samples that it has of a batch of `size`."""
        if size % self.of:
            return slice(0, size)
        each = size // self.of
        return slice(self.first * each, self.until * each)

    def cut(self, batch: PyTree) -> PyTree:
        """Its `Piece` of every array of a whole batch; of what has no axes, all."""

        def one(leaf: Any) -> Piece:
            shape = np.shape(leaf)
            return Piece(leaf[self.rows(shape[0])] if shape else leaf, shape)

        return jax.tree.map(one, batch)


def pieces(rows: PyTree, samples: int) -> PyTree:
    """The arrays of a share as pieces of those of a batch of so many samples."""
    return jax.tree.map(lambda x: Piece(x, (samples, *np.shape(x)[1:])), rows)


@runtime_checkable
class Shared(Protocol):
    """Hosted data of which a process reads only its share; others are read whole, and cut."""

    def share_of_batches(
        self, entropy: tuple[int, ...], epoch: int, position: int, share: Share
    ) -> Iterator[PyTree]:
        """As `batches`, with a `Piece` in the place of every array."""
        ...

    def share_of_sequence(self, share: Share) -> Iterator[tuple[PyTree, int]]:
        """As `sequential`, with a `Piece` for every array, and the samples of the whole batch."""
        ...


class NoData:
    """No data: every batch is None. It lies on the device, so the steps run in the loop."""

    arrays: PyTree = ()
    steps_per_epoch: int = 1
    tail: Fetch | None = None

    @property
    def fetches(self) -> Sequence[Fetch]:
        """One kind of batch."""
        return (lambda arrays, order, position: None,)

    def order(self, key: Key[Array, ""]) -> PyTree:
        """Nothing to order."""
        return ()

    def kind(self, position: Int[Array, ""]) -> Int[Array, ""]:
        """The first kind."""
        return position * 0

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """No sample."""
        return iter(())


#: The source of all phases without data: it holds nothing, and programs are found by it.
NO_DATA = NoData()


@runtime_checkable
class Fingerprinted(Protocol):
    """A source that says what decides its batches, so that a resume with another one is seen."""

    def fingerprint(self) -> Mapping[str, Any]:
        """Sizes, order and what tells other data apart, not speed: numbers, texts, mappings."""
        ...
