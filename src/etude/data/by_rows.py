"""Data stored by rows: each device has a part of the samples, and reads its own batches from it.

>>> rows = Rows(8, 2, 4, False)
>>> arrays = rows.stored(np.arange(8.0))
>>> fetch = rows.fetch(rows.taken)
>>> fetch(arrays, rows.order(jax.random.key(0)), jnp.int32(1)).tolist()
[2.0, 3.0, 6.0, 7.0]
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from etude.data.shuffle import order_of, rows
from etude.engine.layout import ByRows
from etude.engine.numbers import is_count
from etude.engine.source import Fetch
from etude.errors import DataError


class Rows:
    """Samples in equal parts, in the order of the arrays; a batch takes as many from each part.

    Each part has an order of its own. All this depends on the number of parts and not on that of
    the devices, of which each has one part or several.

    Raises `DataError` for numbers of parts that do not divide the samples and the batch.
    """

    def __init__(self, length: int, parts: int, batch_size: int, shuffle: bool | str):
        if not is_count(parts):
            raise DataError(f"shards must be a positive integer; got {parts!r}.")
        parts = int(parts)
        for what, size in (("samples", length), ("samples of a batch", batch_size)):
            if size % parts:
                raise DataError(
                    f"shards={parts} does not divide the {size} {what}. Choose a number that "
                    f"does, or leave out the last {size % parts}."
                )
        self.parts, self.each, self.taken = parts, length // parts, batch_size // parts
        self.permutations = order_of(shuffle, self.each)

    def stored(self, arrays: PyTree) -> ByRows:
        """The arrays part by part."""
        shape = self.parts, self.each
        return ByRows(jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), arrays))

    def order(self, key: Key[Array, ""]) -> ByRows:
        """What gives the order of each part in one epoch."""
        keys = jax.random.split(key, (self.parts, 1))
        return ByRows(jax.vmap(self.permutations.draw)(keys))

    def fetch(self, size: int) -> Fetch:
        """Gathers batches of so many samples of each part."""

        def fetch(stored: Any, order: Any, position: Array) -> PyTree:
            start = position.astype(jnp.uint32) * np.uint32(self.taken)
            places = start + jnp.arange(size, dtype=jnp.uint32)

            def of_part(arrays: PyTree, order: PyTree) -> PyTree:
                index = self.permutations.at(order, places)
                return jax.tree.map(lambda leaf: rows(leaf, index), arrays)

            found = jax.vmap(of_part)(stored.arrays, order.arrays)
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)

        return fetch
