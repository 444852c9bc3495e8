"""What the engine asks of data: two small protocols.

Resident data sit on the device, and batches are gathered inside the compiled loop. Hosted data
come batch by batch from the host. Both are addressed by (epoch, position), so that a resumed run
seeks instead of remembering.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

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
        """Sizes and order, not contents and not speed: numbers, texts, and mappings of these."""
        ...
