"""The order of an epoch: computed where it is asked for, drawn at once, or that of the data.

A computed order is a keyed permutation: a Feistel network of 12 rounds on the cells of a grid just
larger than the data, with cycle walking past the cells beyond the end (Black and Rogaway, 2002). It
takes a few nanoseconds a row where a permutation takes hundreds, keeps 48 bytes instead of an
array, and gives any position of any epoch by itself. Sets below `SMALL` are drawn: for a handful of
samples the network misses permutations.

>>> import jax
>>> order = order_of(True, 1_000_000)
>>> drawn = order.draw(jax.random.key(0)[None])
>>> drawn.shape, len(set(order.at(drawn, jnp.arange(1000, dtype=jnp.uint32)).tolist()))
((1, 12), 1000)
"""

from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree, UInt32

from etude.errors import DataError

ROUNDS = 12

#: Below this number of samples a computed order would miss permutations: they are drawn.
SMALL = 256

#: Up to this number of samples an accelerator keeps a computed order as an array.
LISTED = 2**24

#: The most rows: they are counted in 32 bits.
MOST = 2**32 - 1

#: What decides a computed order, for a fingerprint.
NETWORK = f"feistel, {ROUNDS} rounds"


class Stored:
    """The order of the arrays.

    As those below, it goes on beyond its end: position n + i is the i-th of the next pass. `draw`
    gives what `at` needs for as many passes as there are keys; both are traced. `name` tells what
    decides the order, for a fingerprint.
    """

    name = False

    def __init__(self, length: int):
        self.length = length

    def draw(self, keys: Key[Array, " passes"]) -> PyTree:
        return ()

    def at(self, drawn: PyTree, positions: UInt32[Array, " n"]) -> UInt32[Array, " n"]:
        return positions % np.uint32(self.length)


class Drawn:
    """True permutations, kept as arrays."""

    name = "jax.random.permutation"

    def __init__(self, length: int):
        self.length = length

    def draw(self, keys: Key[Array, " passes"]) -> Int[Array, " rows"]:
        def one(key: Array) -> Array:
            return jax.random.permutation(key, self.length)

        return jax.vmap(one)(keys).ravel()

    def at(self, drawn: Int[Array, " rows"], positions: UInt32[Array, " n"]) -> UInt32[Array, " n"]:
        return rows(drawn, positions).astype(jnp.uint32)


class Computed:
    """Keyed permutations, computed; what is kept are the keys of the rounds."""

    name = NETWORK

    def __init__(self, length: int):
        self.length = length

    def draw(self, keys: Key[Array, " passes"]) -> UInt32[Array, "passes rounds"]:
        def one(key: Array) -> Array:
            return jax.random.bits(key, (ROUNDS,), jnp.uint32)

        return jax.vmap(one)(keys)

    def at(
        self, drawn: UInt32[Array, "passes rounds"], positions: UInt32[Array, " n"]
    ) -> UInt32[Array, " n"]:
        if len(drawn) == 1:
            return permuted(positions, drawn[0], self.length)
        length = np.uint32(self.length)
        return permuted(positions % length, drawn[positions // length].T, self.length)


class Listed(Computed):
    """The same permutations, computed once in an epoch and kept as arrays.

    An accelerator asks the host whether a walk goes on, which for every batch would take as long
    as a small step.
    """

    def draw(self, keys: Key[Array, " passes"]) -> UInt32[Array, " rows"]:
        drawn = super().draw(keys)
        return super().at(drawn, jnp.arange(len(keys) * self.length, dtype=jnp.uint32))

    def at(
        self, drawn: UInt32[Array, " rows"], positions: UInt32[Array, " n"]
    ) -> UInt32[Array, " n"]:
        return rows(drawn, positions)


Order = Stored | Drawn | Computed


def order_of(shuffle: bool | str, length: int) -> Order:
    """The order of data on the device that `shuffle` asks for.

    Raises:
        DataError: more rows than can be counted.
    """
    if length > MOST:
        raise DataError(f"{length} samples are too many: at most {MOST}. Split the data.")
    if shuffle is False:
        return Stored(length)
    if shuffle is True and length >= SMALL:
        listed = jax.default_backend() != "cpu" and length <= LISTED
        return Listed(length) if listed else Computed(length)
    if length >= 2**31:
        raise DataError(
            f"{length} samples are too many for shuffle='exact': jax.random.permutation counts "
            "up to 2**31 - 1. Pass shuffle=True, which computes the order."
        )
    return Drawn(length)


def check_shuffle(shuffle: Any) -> None:
    """Raises `DataError` for what is neither a bool nor "exact"."""
    if not (isinstance(shuffle, bool) or (isinstance(shuffle, str) and shuffle == "exact")):
        raise DataError(
            "shuffle must be True (an order that is computed), 'exact' (a true permutation), False "
            f"or, of AccessData alone, Blocks(size); got {shuffle!r}."
        )


def rows(array: Array, index: UInt32[Array, " n"]) -> Array:
    """`array[index]`, for indices that are known to be inside.

    Indexing with brackets counts in int32, and reads other rows beyond 2**31.
    """
    numbers = jax.lax.GatherDimensionNumbers(
        offset_dims=tuple(range(1, array.ndim)), collapsed_slice_dims=(0,), start_index_map=(0,)
    )
    sizes = (1, *array.shape[1:])
    # JAX says no type of its argument `fill_value`.
    return jax.lax.gather(  # pyright: ignore[reportUnknownMemberType]
        array, index[:, None], numbers, sizes, mode="promise_in_bounds"
    )


def permuted(
    positions: UInt32[Array, " n"], keys: UInt32[Array, "rounds ..."], length: int
) -> UInt32[Array, " n"]:
    """The samples at positions of the permutation of 0..length-1 that the keys give."""
    found = _step(positions, keys, length)
    if _cells(length) == length:
        return found
    # Whoever lands on a cell beyond the end goes on from there: the cycle that it is on comes back.
    return jax.lax.while_loop(
        lambda at: (at >= np.uint32(length)).any(),
        lambda at: jnp.where(at >= np.uint32(length), _step(at, keys, length), at),
        found,
    )


def permuted_on_host(
    positions: UInt32[np.ndarray, " n"], keys: UInt32[np.ndarray, " rounds"], length: int
) -> UInt32[np.ndarray, " n"]:
    """As `permuted`, with NumPy.

    >>> keys = np.arange(12, dtype=np.uint32)
    >>> sorted(permuted_on_host(np.arange(5, dtype=np.uint32), keys, 5).tolist())
    [0, 1, 2, 3, 4]
    """
    found = _step(positions, keys, length)
    while (beyond := found >= length).any():
        found[beyond] = _step(found[beyond], keys, length)
    return found


def _grid(length: int) -> tuple[int, int]:
    """Lines and columns of the squarest grid that holds so many cells: each at most 2**16."""
    lines = isqrt(length - 1) + 1
    return lines, -(-length // lines)


def _cells(length: int) -> int:
    lines, columns = _grid(length)
    return lines * columns


def _step(cell: Any, keys: Any, length: int) -> Any:
    """The cell that a cell of the grid is moved to: a permutation of all cells.

    Line and column are shifted in turn, each as the other says. Four rounds, the textbook's
    number, are not enough for halves as small as these.
    """
    lines, columns = _grid(length)
    line, column = cell // np.uint32(columns), cell % np.uint32(columns)
    for number in range(0, ROUNDS, 2):
        line = _shifted(line, column ^ keys[number], lines)
        column = _shifted(column, line ^ keys[number + 1], columns)
    return line * np.uint32(columns) + column


def _shifted(value: Any, source: Any, size: int) -> Any:
    """`value` plus a number that hashes `source`, modulo `size`, without a division."""
    shift = ((_mixed(source) >> np.uint32(16)) * np.uint32(size)) >> np.uint32(16)
    value = value + shift
    return value - (value >= np.uint32(size)).astype(np.uint32) * np.uint32(size)


def _mixed(value: Any) -> Any:
    """A hash of 32 bits in which every bit of the input moves every bit of the output.

    "lowbias32" of C. Wellons, Prospecting for Hash Functions (2018).
    """
    value = (value ^ (value >> np.uint32(16))) * np.uint32(0x7FEB352D)
    value = (value ^ (value >> np.uint32(15))) * np.uint32(0x846CA68B)
    return value ^ (value >> np.uint32(16))
