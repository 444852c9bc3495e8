"""Random access: anything that says its length and gives a sample by its number.

Samples are indexed, never iterated, so that a resumed run seeks.

>>> squares = [{"x": float(i), "y": i * i} for i in range(10)]
>>> data = AccessData(squares, batch_size=4, shuffle=False)
>>> data.steps_per_epoch
3
>>> next(data.batches((0,), epoch=0, position=2))["y"]
array([64, 81], dtype=int32)
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import count, islice, tee
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.blocks import Blocks
from etude.data.checks import check_flags, checked_batch_size
from etude.data.held import Held
from etude.data.orders import grouped, numbers, order_on_host
from etude.data.reader import Reader
from etude.data.stored import StoredArrays
from etude.data.workers import Workers
from etude.engine.numbers import is_count
from etude.engine.source import Share, pieces
from etude.errors import DataError, suggest


@runtime_checkable
class Indexed(Protocol):
    """A list, a torch `Dataset`, a Grain `MapDataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class AccessData:
    """Batches of an indexed data set, read on the host a few ahead of the training.

    Each sample is a number, an array or any pytree of these (NumPy, JAX or torch); the samples of
    a batch are stacked. Arrays whose first axis counts samples, and data sets with `__getitems__`,
    are read a batch at a time.

    Args:
        dataset: anything with `__len__` and `__getitem__`; or an array, or a tuple or mapping of
            arrays, in memory, memory-mapped, or in chunks (h5py, zarr). A list is one of samples.
        batch_size: samples per step; None if the items of the data set are batches already, as
            those of Grain's `dataset.batch(n)`. Then batches are shuffled, not samples, and may
            differ in shape.
        shuffle: True: a new order each epoch, a pure function of (seed, phase, epoch), computed
            a few thousand samples ahead, so that no array of it is kept. "exact": NumPy's
            permutation. `Blocks(size)`: whole blocks, some of which are mixed at a time, for files
            that are slow to read sample by sample. False: in the order of the data set.
        drop_last: leave the short last batch out of training; evaluation never does. Not with
            `batch_size=None`.
        workers: threads or processes that read; 0 reads in the one thread that feeds the device.
            They change the speed, never the batches.
        worker_kind: "thread", for what waits on files or releases the interpreter lock, as NumPy
            does; "process", for Python code that computes. The data set is pickled once for each;
            files of memory maps and of HDF5 are opened by each process for itself.
        transform: `transform(item) -> item`, on the host, in the workers; deterministic. Random
            augmentation belongs into `Phase(augment=...)`, where it has a key.
        classes: if given, integers (one a sample) are checked as labels 0..classes-1.
        allow_nonfinite: accept NaN and infinite values.

    Raises:
        DataError: at once, for what cannot be indexed, is empty, has a bad first sample or is too
            long to compute its order (2**32 samples or more), and for arrays of different length;
            while reading, for a sample that cannot be read, has another structure or shape than
            the first, or bad values. It names the sample, and the file.

    >>> data = AccessData([1.0, 2.0, 3.0], batch_size=2, shuffle=False, workers=2)
    >>> [batch.tolist() for batch, samples in data.sequential()]
    [[1.0, 2.0], [3.0]]
    """

    seeks = True

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None,
        *,
        shuffle: bool | str | Blocks = True,
        drop_last: bool = False,
        workers: int = 0,
        worker_kind: str = "thread",
        transform: Callable[[Any], Any] | None = None,
        classes: int | None = None,
        allow_nonfinite: bool = False,
    ):
        stored = StoredArrays.of(dataset)
        dataset = dataset if stored is None else stored
        self.length = _length(dataset)
        if batch_size is not None:
            batch_size = checked_batch_size(batch_size, self.length)
        elif drop_last:
            raise DataError(
                "drop_last is unknown where the data set makes the batches (batch_size=None). "
                "Drop it there: dataset.batch(n, drop_remainder=True)."
            )
        elif isinstance(shuffle, Blocks):
            raise DataError(
                "Blocks mix samples, and the data set makes the batches (batch_size=None). Give a "
                "batch_size, or shuffle=True, which shuffles batches."
            )
        check_flags(drop_last=drop_last, allow_nonfinite=allow_nonfinite)
        if not is_count(workers, 0):
            raise DataError(f"workers is a whole number from 0; got {workers!r}.")
        if worker_kind not in ("thread", "process"):
            cure = suggest(str(worker_kind), ["thread", "process"])
            raise DataError(f"worker_kind {worker_kind!r} is unknown. {cure}")
        self.batch_size, self.shuffle = batch_size, shuffle
        self.workers, self.worker_kind = int(workers), worker_kind
        self._size = size = batch_size or 1
        self._order = order_on_host(shuffle, self.length, size)
        self._reader = Reader(dataset, batch_size is None, transform, classes, allow_nonfinite)
        self._reader(np.zeros(1, np.int64))  # the first sample, to refuse bad data now
        self._stored = stored
        self._kept = self.length - self.length % size if drop_last else self.length
        self.steps_per_epoch = -(-self._kept // size)

    def __len__(self) -> int:
        return self.length

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Samples of a full batch; nothing where the data set makes the batches."""
        return () if self.batch_size is None else (self.batch_size,)

    def fingerprint(self) -> dict[str, Any]:
        """What decides its batches; workers do not. Of arrays, also which they are."""
        return {
            "samples": self.length,
            "batch_size": self.batch_size,
            "shuffle": self._order.name,
            "samples_of_an_epoch": self._kept,
            **({} if self._stored is None else self._stored.fingerprint()),
        }

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches of one epoch from a position on, the last one short unless dropped."""
        return self._read(self._of_epoch(entropy, epoch, position))

    def share_of_batches(
        self, entropy: tuple[int, ...], epoch: int, position: int, share: Share
    ) -> Iterator[PyTree]:
        """The same, of which only a share is read."""
        return self._read(self._of_epoch(entropy, epoch, position), share)

    def wrapped(
        self,
        entropy: tuple[int, ...],
        epoch: int,
        position: int,
        steps: int | None,
        share: Share | None = None,
    ) -> Iterator[PyTree]:
        """Full batches from a position on, of an epoch of `steps` batches (None: without end).

        Where the samples run out, a fresh permutation follows, also within a batch. Of a share,
        only that is read.
        """
        groups = grouped(self._endless((*entropy, epoch), position * self._size), self._size)
        return self._read(groups if steps is None else islice(groups, steps - position), share)

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample once, in order, as `(batch, samples)`."""
        for batch in self._directly(self._in_order()):
            yield batch, len(jax.tree.leaves(batch)[0])

    def share_of_sequence(self, share: Share) -> Iterator[tuple[PyTree, int]]:
        """The same, of which only a share is read."""
        for batch in self._shared(self._in_order(), share, self._directly):
            yield batch, jax.tree.leaves(batch)[0].shape[0]

    def _in_order(self) -> Iterator[np.ndarray]:
        return grouped(numbers(0, self.length), self._size)

    def _of_epoch(
        self, entropy: tuple[int, ...], epoch: int, position: int
    ) -> Iterator[np.ndarray]:
        first = position * self._size
        return grouped(self._order.samples((*entropy, epoch), first, self._kept), self._size)

    def _endless(self, entropy: tuple[int, ...], first: int) -> Iterator[np.ndarray]:
        repeat, used = divmod(first, self.length)
        for number in count(repeat):
            yield from self._order.samples((*entropy, number), used, self.length)
            used = 0

    def _read(self, groups: Iterator[np.ndarray], share: Share | None = None) -> Iterator[PyTree]:
        read = self._directly if self._held is None else self._held.map
        return read(groups) if share is None else self._shared(groups, share, read)

    def _shared(
        self,
        groups: Iterator[np.ndarray],
        share: Share,
        read: Callable[[Iterator[np.ndarray]], Iterator[PyTree]],
    ) -> Iterator[PyTree]:
        if self.batch_size is None:
            return map(share.cut, read(groups))
        groups, wholes = tee(groups)
        parts = read(group[share.rows(len(group))] for group in groups)
        return map(pieces, parts, map(len, wholes))

    def _directly(self, groups: Iterator[np.ndarray]) -> Iterator[PyTree]:
        return map(self._reader, groups) if self._pool is None else self._pool.map(groups)

    @cached_property
    def _pool(self) -> Workers | None:
        # Made when first used, and kept: processes take seconds to start.
        return Workers(self._reader, self.workers, self.worker_kind) if self.workers else None

    @cached_property
    def _held(self) -> Held | None:
        if not isinstance(self.shuffle, Blocks):
            return None
        size, window = self.shuffle.size, self.shuffle.window
        ahead = -(-min(size * window, self.length) // self._size)
        return Held(self._reader, self._pool, size, self.length, ahead)


def _length(dataset: Any) -> int:
    if not isinstance(dataset, Indexed):
        raise DataError(
            f"{type(dataset).__name__} cannot be indexed: AccessData needs __len__ and "
            "__getitem__. Use StreamData for what can only be iterated."
        )
    length = len(dataset)
    if length == 0:
        raise DataError("The data set is empty (length 0). Check the files or the selection.")
    return length
