"""Random access: anything that says its length and gives a sample by its number.

Samples are indexed, never iterated, so that a resumed run seeks.

>>> squares = [{"x": float(i), "y": i * i} for i in range(10)]
>>> data = AccessData(squares, batch_size=4, shuffle=False)
>>> data.steps_per_epoch
3
>>> next(data.batches((0,), epoch=0, position=2))["y"]
array([64, 81], dtype=int32)
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import count, islice
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.checks import check_batch_size
from etude.data.reader import Reader
from etude.data.shuffle import MOST, NETWORK, ROUNDS, SMALL, check_shuffle, permuted_on_host
from etude.data.workers import Workers
from etude.errors import DataError, suggest

#: Samples whose places in the order are computed at a time.
BLOCK = 4096


@runtime_checkable
class Indexed(Protocol):
    """A list, a torch `Dataset`, a Grain `MapDataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class AccessData:
    """Batches of an indexed data set, read on the host a few ahead of the training.

    Each sample is a number, an array or any pytree of these (NumPy, JAX or torch); the samples of
    a batch are stacked.

    Args:
        dataset: anything with `__len__` and `__getitem__`.
        batch_size: samples per step; None if the items of the data set are batches already, as
            those of Grain's `dataset.batch(n)`. Then batches are shuffled, not samples, and may
            differ in shape.
        shuffle: True: a new order each epoch, a pure function of (seed, phase, epoch), computed
            a few thousand samples ahead, so that no array of it is kept. "exact": NumPy's
            permutation. False: in the order of the data set.
        drop_last: leave the short last batch out of training; evaluation never does. Not with
            `batch_size=None`.
        workers: threads or processes that read; 0 reads in the one thread that feeds the device.
            They change the speed, never the batches.
        worker_kind: "thread", for what waits on files or releases the interpreter lock, as NumPy
            does; "process", for Python code that computes (the data set is pickled once for each).
        transform: `transform(item) -> item`, on the host, in the workers; deterministic. Random
            augmentation belongs into `Phase(augment=...)`, where it has a key.
        classes: if given, integers (one a sample) are checked as labels 0..classes-1.
        allow_nonfinite: accept NaN and infinite values.

    Raises:
        DataError: at once, for what cannot be indexed, is empty, has a bad first sample or is too
            long to compute its order (2**32 samples or more); while
            reading, for a sample that cannot be read, has another structure or shape than the
            first, or bad values. It names the sample.

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
        shuffle: bool | str = True,
        drop_last: bool = False,
        workers: int = 0,
        worker_kind: str = "thread",
        transform: Callable[[Any], Any] | None = None,
        classes: int | None = None,
        allow_nonfinite: bool = False,
    ):
        self.length = _length(dataset)
        check_shuffle(shuffle)
        if batch_size is not None:
            check_batch_size(batch_size, self.length)
        elif drop_last:
            raise DataError(
                "drop_last is unknown where the data set makes the batches (batch_size=None). "
                "Drop it there: dataset.batch(n, drop_remainder=True)."
            )
        if workers < 0:
            raise DataError(f"workers must be 0 or more; got {workers}.")
        if worker_kind not in ("thread", "process"):
            cure = suggest(str(worker_kind), ["thread", "process"])
            raise DataError(f"worker_kind {worker_kind!r} is unknown. {cure}")
        self.batch_size, self.shuffle = batch_size, shuffle
        self._computed = shuffle is True and self.length >= SMALL
        if self._computed and self.length > MOST:
            raise DataError(
                f"{self.length} samples are too many to compute their order: at most {MOST}. "
                "Pass shuffle='exact', which draws it, or shuffle=False."
            )
        self.workers, self.worker_kind = workers, worker_kind
        self._reader = Reader(dataset, batch_size is None, transform, classes, allow_nonfinite)
        self._reader(np.zeros(1, np.int64))  # the first sample, to refuse bad data now
        self._size = size = batch_size or 1
        self._kept = self.length - self.length % size if drop_last else self.length
        self.steps_per_epoch = -(-self._kept // size)

    def __len__(self) -> int:
        return self.length

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Samples of a full batch; nothing where the data set makes the batches."""
        return () if self.batch_size is None else (self.batch_size,)

    def fingerprint(self) -> dict[str, Any]:
        """What decides its batches; workers do not."""
        return {
            "samples": self.length,
            "batch_size": self.batch_size,
            "shuffle": NETWORK if self._computed else bool(self.shuffle) and "numpy.permutation",
            "samples_of_an_epoch": self._kept,
        }

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches of one epoch from a position on, the last one short unless dropped."""
        samples = self._samples((*entropy, epoch), position * self._size, self._kept)
        return self._read(_grouped(samples, self._size))

    def wrapped(
        self, entropy: tuple[int, ...], epoch: int, position: int, steps: int | None
    ) -> Iterator[PyTree]:
        """Full batches from a position on, of an epoch of `steps` batches (None: without end).

        Where the samples run out, a fresh permutation follows, also within a batch.
        """
        groups = _grouped(self._endless((*entropy, epoch), position * self._size), self._size)
        return self._read(groups if steps is None else islice(groups, steps - position))

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Every sample once, in order, as `(batch, samples)`."""
        for batch in self._read(_grouped(_blocks(0, self.length), self._size)):
            yield batch, len(jax.tree.leaves(batch)[0])

    def _endless(self, entropy: tuple[int, ...], first: int) -> Iterator[np.ndarray]:
        repeat, used = divmod(first, self.length)
        for number in count(repeat):
            yield from self._samples((*entropy, number), used, self.length)
            used = 0

    def _samples(self, entropy: tuple[int, ...], first: int, until: int) -> Iterator[np.ndarray]:
        """The samples at positions `first` to `until` of an order, in blocks."""
        return map(self._order(entropy), _blocks(first, until))

    def _order(self, entropy: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
        """The samples at some positions of an order."""
        if not self.shuffle:
            return lambda positions: positions
        # NumPy takes no negative seed; this maps those of 64 bits one to one.
        generator = np.random.default_rng([number % 2**64 for number in entropy])
        if not self._computed:
            return generator.permutation(self.length).__getitem__
        keys = generator.integers(2**32, size=ROUNDS, dtype=np.uint32)
        return lambda positions: permuted_on_host(positions.astype(np.uint32), keys, self.length)

    def _read(self, groups: Iterator[np.ndarray]) -> Iterator[PyTree]:
        return map(self._reader, groups) if self._pool is None else self._pool.map(groups)

    @cached_property
    def _pool(self) -> Workers | None:
        # Made when first used, and kept: processes take seconds to start.
        return Workers(self._reader, self.workers, self.worker_kind) if self.workers else None


def _blocks(first: int, until: int) -> Iterator[np.ndarray]:
    """The numbers from `first` to `until`, a few thousand at a time: never all of them."""
    for start in range(first, until, BLOCK):
        yield np.arange(start, min(start + BLOCK, until))


def _grouped(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same numbers in groups of `size`, the last one short."""
    ahead = np.zeros(0, np.int64)
    for block in blocks:
        ahead = np.concatenate([ahead, block])
        full = len(ahead) - len(ahead) % size
        yield from (ahead[start : start + size] for start in range(0, full, size))
        ahead = ahead[full:]
    if len(ahead):
        yield ahead


def _length(dataset: Any) -> int:
    if isinstance(dataset, Mapping):
        raise DataError(
            "A dict of arrays is not indexed by samples. Use ArrayData(arrays, batch_size), or "
            "pass a list of samples."
        )
    if not isinstance(dataset, Indexed):
        raise DataError(
            f"{type(dataset).__name__} cannot be indexed: AccessData needs __len__ and "
            "__getitem__. Use StreamData for what can only be iterated."
        )
    length = len(dataset)
    if length == 0:
        raise DataError("The data set is empty (length 0). Check the files or the selection.")
    return length
