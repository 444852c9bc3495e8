"""Arrays on the device; batches are gathered inside the compiled loop.

>>> import jax.numpy as jnp
>>> from etude.data import ArrayData
>>> data = ArrayData({"x": jnp.zeros((100, 3)), "y": jnp.zeros(100)}, batch_size=32)
>>> data.steps_per_epoch
4
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from etude.data.by_rows import Rows
from etude.data.checks import (
    check_finite,
    check_flags,
    check_labels_in,
    checked_batch_size,
    length_of,
    named_leaves,
    sample_of,
    to_numpy,
)
from etude.data.shuffle import check_shuffle, order_of, rows
from etude.engine.mesh import whole
from etude.engine.place import Place, strong


class ArrayData:
    """A pytree of arrays, whose first axis counts samples, held on the device.

    The last batch of an epoch is shorter where `batch_size` does not divide the number of
    samples. It is a batch of its own shape rather than a padded one, so that every loss is right
    without knowing about it: also contrastive losses and batch statistics, whose samples see
    each other.

    Args:
        arrays: a single array, or a tuple, dict or other pytree of arrays.
        batch_size: samples per step.
        shuffle: True: a new order each epoch, a pure function of (seed, phase, epoch), computed
            where it is needed, so that no array of it is kept. "exact": drawn by
            `jax.random.permutation`, at some hundred nanoseconds a sample. False: as they are.
        drop_last: leave the short last batch out of training; evaluation never does.
        classes: if given, integer arrays of one axis are checked as labels 0..classes-1.
        allow_nonfinite: accept NaN and infinite values.
        shards: None: every device of a mesh holds all samples. A number: they are stored in so
            many equal parts, of which each device holds one or several, and every batch takes as
            many samples from each part, in an order of the part's own; NumPy arrays then stay on
            the host until the devices get their parts. The batches depend on `shards` and not on
            the number of devices, which must divide it.

    Raises:
        DataError: arrays of different length, empty, NaN or infinite values, labels outside the
            classes, a batch larger than the data, 2**32 samples or more ("exact": 2**31), `shards`
            that do not divide samples and batch.

    >>> data = ArrayData((jnp.arange(5.0), jnp.array([0, 1, 0, 1, 1])), 2, classes=2)
    >>> [samples for batch, samples in data.sequential()]
    [2, 2, 1]
    """

    def __init__(
        self,
        arrays: PyTree,
        batch_size: int,
        *,
        shuffle: bool | str = True,
        drop_last: bool = False,
        classes: int | None = None,
        allow_nonfinite: bool = False,
        shards: int | None = None,
    ):
        self.length = length_of(arrays)
        batch_size = checked_batch_size(batch_size, self.length)
        check_shuffle(shuffle)
        check_flags(drop_last=drop_last, allow_nonfinite=allow_nonfinite)
        self.rows = None if shards is None else Rows(self.length, shards, batch_size, shuffle)
        self.permutations = order_of(shuffle, self.length)
        hold = _on_device if self.rows is None else _where_it_is
        leaves = [hold(leaf, name) for name, leaf in named_leaves(arrays)]
        self.whole = jax.tree.unflatten(jax.tree.structure(arrays), leaves)
        if not allow_nonfinite:
            check_finite(self.whole)
        if classes is not None:
            check_labels_in(self.whole, classes)
        self.arrays: PyTree = self.whole if self.rows is None else self.rows.stored(self.whole)
        self.batch_size, self.shuffle = batch_size, shuffle
        full, short = divmod(self.length, batch_size)
        self.fetches = (self._fetch(batch_size),)
        self.tail = self._fetch(short) if short and not drop_last else None
        self.steps_per_epoch = full + (self.tail is not None)

    def __len__(self) -> int:
        return self.length

    def shown(self) -> Iterator[PyTree]:
        """What a loss looks at before the training: all samples, as one batch."""
        yield self.whole

    def fingerprint(self) -> dict[str, Any]:
        """What decides its batches."""
        return {
            "samples": self.length,
            "batch_size": self.batch_size,
            "shuffle": self.permutations.name,
            "sample": sample_of(self.whole),
            **({} if self.rows is None else {"shards": self.rows.parts}),
        }

    def order(self, key: Key[Array, ""]) -> PyTree:
        """What gives the order of one epoch at any position: a few numbers, or a permutation."""
        return self.permutations.draw(key[None]) if self.rows is None else self.rows.order(key)

    def kind(self, position: Int[Array, ""]) -> Int[Array, ""]:
        """There is one kind of full batch."""
        return jnp.zeros_like(position)

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Batches in the order of the arrays, the last one short."""
        if self.rows is not None:  # which are on the host, and never as a whole on a device
            for start in range(0, self.length, self.batch_size):
                part = slice(start, start + self.batch_size)
                batch = jax.tree.map(lambda leaf, part=part: leaf[part], self.whole)
                yield batch, min(self.batch_size, self.length - start)
            return
        place = Place.of(self.arrays)
        arrays = place.put(self.arrays)
        for start in range(0, self.length, self.batch_size):
            size = min(self.batch_size, self.length - start)
            yield _sliced(arrays, place.put(np.uint32(start)), size), size

    def _fetch(self, size: int) -> Any:
        if self.rows is not None:
            return self.rows.fetch(size // self.rows.parts)

        def fetch(arrays: PyTree, order: PyTree, position: Array) -> PyTree:
            start = position.astype(jnp.uint32) * np.uint32(self.batch_size)
            places = start + jnp.arange(size, dtype=jnp.uint32)
            index = whole(self.permutations.at(order, places))
            return jax.tree.map(lambda leaf: rows(leaf, index), arrays)

        return fetch


def _on_device(leaf: Any, name: str) -> Array:
    if isinstance(leaf, jax.Array):
        return strong(leaf)
    # A copy, lest JAX share the memory of a NumPy array, which its owner can change.
    return jax.device_put(np.array(to_numpy(leaf, name)))


def _where_it_is(leaf: Any, name: str) -> Any:
    return strong(leaf) if isinstance(leaf, jax.Array) else to_numpy(leaf, name)


@partial(jax.jit, static_argnums=2)
def _sliced(arrays: PyTree, start: Array, size: int) -> PyTree:
    def sliced(leaf: Array) -> Array:
        # `dynamic_slice_in_dim` counts in int32.
        starts = (start, *[np.uint32(0)] * (leaf.ndim - 1))
        return jax.lax.dynamic_slice(leaf, starts, (size, *leaf.shape[1:]))

    return jax.tree.map(sliced, arrays)
