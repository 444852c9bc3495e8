"""Anything that can be iterated again and again, a torch `DataLoader` among them.

It cannot seek: a resumed run reads up to its position again.

>>> import numpy as np
>>> data = StreamData([np.zeros(4), np.ones(4), np.ones(2)])
>>> data.steps_per_epoch, data.seeks
(3, False)
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from inspect import signature
from itertools import count, islice
from operator import attrgetter
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from etude.data.checks import (
    check_finite,
    check_flags,
    first_nonfinite,
    length_of,
    named_leaves,
    to_numpy,
)
from etude.engine.numbers import is_count
from etude.engine.source import Share
from etude.errors import DataError
from etude.kinds import is_a

# Whether double precision holds in this thread: asked for every batch, so in the shortest way.
_double = attrgetter("jax_enable_x64")


class StreamData:
    """Batches as they come from an iterable; torch tensors become NumPy arrays.

    Batches may differ in shape (each shape is compiled once), not in structure. Resuming is exact
    if every pass can be repeated. A `DataLoader` that shuffles draws from torch's global
    generator, so seed it by the epoch instead:
    `StreamData(lambda epoch: DataLoader(..., generator=torch.Generator().manual_seed(epoch)))`.

    Args:
        batches: an iterable that begins again at each `iter()` (a list, a `DataLoader`), or a
            function `make(epoch)` of the number of the pass, counted from 0, that returns a fresh
            iterator. A generator is refused: it can be read only once.
        steps_per_epoch: batches of a pass; what a longer pass has more is left out. None:
            `len(batches)` if there is one, else unknown; lengths are then given as `Steps(n)`.
        allow_nonfinite: accept NaN and infinite values.

    Raises:
        DataError: at once, for what cannot be iterated again, yields nothing, or has a bad first
            batch (it is read for that); while reading, for a batch of another structure, bad
            values, or a pass that ends early. It names the batch and the epoch.

    >>> import numpy as np
    >>> data = StreamData(lambda epoch: ({"x": np.full(2, i)} for i in range(3)))
    >>> [(batch["x"].tolist(), samples) for batch, samples in data.sequential()]
    [([0, 0], 2), ([1, 1], 2), ([2, 2], 2)]
    """

    seeks = False

    def __init__(
        self,
        batches: Any,
        steps_per_epoch: int | None = None,
        *,
        allow_nonfinite: bool = False,
    ):
        self._make = _maker(batches)
        if not (steps_per_epoch is None or is_count(steps_per_epoch)):
            raise DataError(
                f"steps_per_epoch is a whole number from 1, or None; got {steps_per_epoch!r}."
            )
        check_flags(allow_nonfinite=allow_nonfinite)
        self.steps_per_epoch = _length(batches) if steps_per_epoch is None else int(steps_per_epoch)
        self.allow_nonfinite = allow_nonfinite
        #: that of the first batch, with and without double precision
        self._forms: dict[bool, Any] = {}
        next(self._pass(0))

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches of one pass from a position on, or, of unknown length, of all passes.

        `entropy` has no say in the order of an opaque iterable.
        """
        passes = count() if self.steps_per_epoch is None else iter([epoch])
        return islice(self._chain(passes), position, None)

    def wrapped(
        self,
        entropy: tuple[int, ...],
        epoch: int,
        position: int,
        steps: int | None,
        share: Share | None = None,
    ) -> Iterator[PyTree]:
        """The same of an epoch of `steps` batches, which may be several passes.

        Of a share, all is read, and cut.
        """
        if steps is None or self.steps_per_epoch is None:
            found = islice(self._chain(count()), position, None)
        else:
            per_epoch = -(-steps // self.steps_per_epoch)
            found = islice(self._chain(count(epoch * per_epoch)), position, steps)
        return found if share is None else map(share.cut, found)

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """One pass, as `(batch, samples)`; the first axis of every array counts samples."""
        for batch in self._pass(0):
            yield batch, length_of(batch)

    def _chain(self, passes: Iterator[int]) -> Iterator[PyTree]:
        for number in passes:
            yield from self._pass(number)

    def _pass(self, number: int) -> Iterator[PyTree]:
        position, expected = -1, self.steps_per_epoch
        for position, batch in enumerate(islice(self._make(number), expected)):
            yield self._checked(batch, position, number)
        read = position + 1
        if read == 0:
            raise DataError(
                f"The iterable yields nothing in epoch {number}. Check the files or the "
                "selection; an iterator that was read before must be made anew for each epoch."
            )
        if expected is not None and read < expected:
            raise DataError(
                f"Epoch {number} of the iterable ended after {read} batches; expected {expected}. "
                f"Pass steps_per_epoch={read}, or lengthen the iterable."
            )

    def _checked(self, batch: Any, position: int, number: int) -> PyTree:
        # Most batches are of the form of the first: names are made for the others alone.
        leaves, treedef = jax.tree.flatten(batch)
        first = self._forms.get(_double(jax.config))
        if (treedef, _kinds(leaves)) != first:
            leaves = self._converted(batch, f"data in batch {position} of epoch {number}")
        # Copies, because the device reads them later, when an iterable may have filled the same
        # buffer again.
        leaves = [leaf.copy() for leaf in leaves]
        batch = treedef.unflatten(leaves)
        if not self.allow_nonfinite:
            for leaf in leaves:
                if first_nonfinite(leaf) is not None:
                    check_finite(batch, f"data in batch {position} of epoch {number}")
        return batch

    def _converted(self, batch: Any, where: str) -> list[np.ndarray]:
        """The leaves as NumPy arrays, which must be of the form of the first batch."""
        leaves = [to_numpy(leaf, name) for name, leaf in named_leaves(batch, where)]
        if not leaves:
            raise DataError(f"No array: {where} is {batch!r}. Yield arrays, or dicts of arrays.")
        form = jax.tree.structure(batch), _kinds(leaves)
        first = self._forms.setdefault(_double(jax.config), form)
        if form != first:
            raise DataError(
                f"The structure changes: {where} has {_said(form)}, the first batch "
                f"{_said(first)}. Yield the same structure, axes and types every time; for "
                "several kinds of batch, combine sources with Turns."
            )
        return leaves


def _kinds(leaves: list[Any]) -> list[tuple[int, np.dtype] | None]:
    """Axes and types; None for what is no NumPy array."""
    return [(leaf.ndim, leaf.dtype) if type(leaf) is np.ndarray else None for leaf in leaves]


def _maker(batches: Any) -> Callable[[int], Iterator[Any]]:
    if is_a(batches, Iterator):
        raise DataError(
            f"A {type(batches).__name__} can be read only once, so neither a second epoch nor a "
            "resumed run could read it. Pass a function that makes a fresh one, "
            "StreamData(lambda epoch: make_batches()), or something with __iter__ such as a list."
        )
    if is_a(batches, Iterable):
        return lambda number: iter(batches)
    if not callable(batches):
        raise DataError(
            f"{type(batches).__name__} cannot be iterated. Pass an iterable of batches, or a "
            "function of the epoch that makes an iterator."
        )
    try:
        signature(batches).bind(0)
    except TypeError as error:
        raise DataError(
            "The function that makes the batches gets the number of the epoch; this one does not "
            f"take one argument ({error}). Write `lambda epoch: make_batches()`."
        ) from error
    make: Any = batches
    return lambda number: iter(make(number))


def _length(batches: Any) -> int | None:
    if not isinstance(batches, Sized):
        return None
    try:
        return len(batches) or None  # nothing at all is found out by reading
    except TypeError:  # a DataLoader over a torch IterableDataset has a __len__ that refuses
        return None


def _said(form: Any) -> str:
    treedef, kinds = form
    axes = ", ".join(f"{ndim} axes of {dtype}" for ndim, dtype in kinds)
    return f"{treedef} with {axes}"
