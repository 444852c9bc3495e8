"""What the engine asks of data: two small protocols.

Resident data sit on the device, and batches are gathered inside the compiled loop. Hosted data
come batch by batch from the host. Both are addressed by (epoch, position), so that a resumed run
seeks instead of remembering.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Int, Key, PyTree

#: Gathers one batch: `fetch(arrays, order, position)`, traced; the shape of the batch is static.
Fetch = Callable[[PyTree, PyTree, Int[Array, ""]], PyTree]


@runtime_checkable
class Resident(Protocol):
    """Data on the device."""

    #: handed to `order` and to the fetches as arguments, never as constants
    arrays: PyTree
    steps_per_epoch: int
    #: one per kind of batch (kinds may differ in structure and shape)
    fetches: Sequence[Fetch]
    #: the short batch at the end of an epoch, or None
    tail: Fetch | None

    def order(self, key: Key[Array, ""]) -> PyTree:
        """The order of one epoch, as a pure function of its key (traced)."""
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

    #: None if only known by reading to the end
    steps_per_epoch: int | None
    #: whether a position is reached by seeking; otherwise by reading everything before it again
    seeks: bool

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
