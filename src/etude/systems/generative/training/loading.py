"""The data of a trainer: arrays, loaders and sources of the engine, each from any batch on."""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import jax
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

import etude as et
from etude.engine.admission import show_data
from etude.engine.source import Fetch, Hosted, Resident, Source

#: Batches after which a loader without a length is taken to be endless.
LONGEST = 100_000


def show(model: Any, loss: Any, source: Source | None, valid: Source | None) -> None:
    """Shows data to a loss, which refuses those that it cannot be trained on, and raises so."""
    if loss is not None:
        show_data(model, [loss], source)
        show_data(model, [loss], valid, "the validation")


def source_of(owner: str, data: Any, batch_size: int, *, judges: bool = False) -> Source:
    """Data as a source.

    Args:
        owner: the argument, for messages.
        data: a source of the engine; a function that returns an iterator of batches, or an iterable
            of them that begins again at each `iter()`; or arrays of all examples, alone, as a tuple
            or in a dictionary. A loader without a length is read once, to count its batches.
        batch_size: of arrays.
        judges: whether nothing learns from it, so that a batch may be all there is.

    Raises:
        DataError: what is no data, or yields nothing.
    """
    if isinstance(data, Resident | Hosted):
        if data.steps_per_epoch is None:
            raise et.DataError(
                f"{owner}: {type(data).__name__} does not know how many batches a pass has. Pass "
                "StreamData(..., steps_per_epoch=n)."
            )
        return data
    if _is_arrays(data):
        most = len(jax.tree.leaves(data)[0]) if judges else batch_size
        return et.ArrayData(data, min(batch_size, most))
    read: Any = (lambda epoch: data()) if callable(data) else data
    stream = et.StreamData(read)
    if stream.steps_per_epoch is not None:
        return stream
    batches: Any = data() if callable(data) else data
    count = sum(1 for _ in itertools.islice(batches, LONGEST + 1))
    if count > LONGEST:
        raise et.DataError(
            f"{owner}: one pass over the loader has not ended after {LONGEST} batches. Say how "
            "many make an epoch: etude.StreamData(lambda epoch: loader(), steps_per_epoch=n)."
        )
    made: Any = data if callable(data) else lambda: data
    return et.StreamData(lambda epoch: _exactly(owner, made(), count), count)


def _exactly(owner: str, batches: Any, count: int) -> Iterator[Any]:
    """The batches of a pass; raises `DataError` if there are more than in the first one."""
    batches = iter(batches)
    for number, batch in enumerate(batches, 1):
        if number == count and next(batches, None) is not None:
            raise et.DataError(
                f"{owner}: a pass over the loader has more batches than the {count} of the first. "
                "Let every pass have as many, or pass StreamData(..., steps_per_epoch=n)."
            )
        yield batch


def from_batch(source: Source, epoch: int, position: int) -> "Source":
    """One pass over a source, or what is left of it from a batch on."""
    if isinstance(source, Resident):
        return source if position == 0 else _ResidentPart(source, position)
    return HostedPart(source, epoch, position)


def batches_of(source: Resident, key: Key[Array, ""]) -> Iterator[PyTree]:
    """The batches of one pass over resident data, as the engine takes them under a key."""
    order = jax.jit(source.order)(jax.random.fold_in(key, 0))
    full = [jax.jit(fetch) for fetch in source.fetches]
    for position in range(source.steps_per_epoch):
        place = jax.numpy.int32(position)
        if source.tail is not None and position + 1 == source.steps_per_epoch:
            yield jax.jit(source.tail)(source.arrays, order, place)
        else:
            yield full[int(source.kind(place))](source.arrays, order, place)


@final
class HostedPart:
    """What is left of one pass over a hosted source; it keeps the batches that a callback sees.

    Attributes:
        seen: batches that were read and not yet taken from it, if `remembers`.
    """

    def __init__(self, source: Hosted, epoch: int, position: int):
        assert source.steps_per_epoch is not None
        self.steps_per_epoch: int | None = source.steps_per_epoch - position
        self.seeks = source.seeks
        self.seen: deque[PyTree] = deque()
        self.remembers = False
        self._source, self._epoch, self._position = source, epoch, position

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches from a position on."""
        place = self._epoch + epoch, self._position + position
        for batch in self._source.batches(entropy, *place):
            if self.remembers:
                self.seen.append(batch)
            yield batch

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample of the whole source."""
        return self._source.sequential()


@final
class _ResidentPart:
    """What is left of one pass over a resident source."""

    def __init__(self, source: Resident, position: int):
        self.arrays = source.arrays
        self.steps_per_epoch = source.steps_per_epoch - position
        self.fetches: Sequence[Fetch] = [self._later(fetch) for fetch in source.fetches]
        self.tail = None if source.tail is None else self._later(source.tail)
        self._source, self._position = source, position

    def order(self, key: Key[Array, ""]) -> PyTree:
        """As the source has it."""
        return self._source.order(key)

    def kind(self, position: Int[Array, ""]) -> Int[Array, ""]:
        """As the source has it, further on."""
        return self._source.kind(position + self._position)

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample of the whole source."""
        return self._source.sequential()

    def _later(self, fetch: Fetch) -> Fetch:
        def later(arrays: PyTree, order: PyTree, position: Int[Array, ""]) -> PyTree:
            return fetch(arrays, order, position + self._position)

        return later


def _is_arrays(data: Any) -> bool:
    # A list of arrays is a list of batches; a tuple or a dictionary has the parts of one set.
    if not isinstance(data, jax.Array | np.ndarray | tuple | Mapping):
        return False
    leaves = jax.tree.leaves(data)
    return bool(leaves) and all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves)
