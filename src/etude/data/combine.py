"""Several sources in one phase: drawn together, or in weighted turns.

>>> import jax.numpy as jnp
>>> from etude.data import ArrayData
>>> a, b = ArrayData(jnp.arange(6), 2), ArrayData(jnp.arange(9), 3)
>>> Together({"a": a, "b": b}).steps_per_epoch
3
>>> Turns({"a": a, "b": b}, weights={"a": 2, "b": 1}).pattern
('a', 'b', 'a')
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from math import gcd
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from etude.data.access import AccessData
from etude.data.arrays import ArrayData
from etude.data.shuffle import MOST
from etude.data.stream import StreamData
from etude.engine.numbers import is_count
from etude.engine.source import Fetch, Fingerprinted, Share
from etude.errors import DataError, suggest

OnHost = AccessData | StreamData


def Together(sources: Mapping[str, Any]) -> "Combined | CombinedOnHost":  # noqa: N802
    """Every batch is a dict with a batch of each source.

    An epoch has as many steps as the longest source needs to show everything once. Where a
    source runs out, a fresh permutation follows, so no batch is short (those of a `StreamData`
    are as they come).

    Args:
        sources: either all `ArrayData`, or all `AccessData` and `StreamData`.

    Raises:
        DataError: no sources, sources of several kinds, or of no known one.

    >>> import jax.numpy as jnp
    >>> both = Together({"a": ArrayData(jnp.zeros(4), 2), "b": ArrayData(jnp.ones(9), 3)})
    >>> both.steps_per_epoch
    3
    """
    names = _checked(sources)
    steps = _longest([sources[name].steps_per_epoch for name in names])
    return _combined(sources, [names], dict.fromkeys(names, 1), steps)


def Turns(  # noqa: N802
    sources: Mapping[str, Any], weights: Mapping[str, int] | None = None
) -> "Combined | CombinedOnHost":
    """Every batch is a dict with a batch of one source, whose name is its only key.

    The sources take turns in a fixed, even pattern (smooth weighted round-robin), so that the
    position in each is a function of the step. They may differ in structure and shape. An epoch
    is the fewest whole patterns in which every source has shown everything once; those that run
    out earlier go on with fresh permutations, and no batch is short.

    Args:
        sources: either all `ArrayData`, or all `AccessData` and `StreamData`.
        weights: turns of each source in one pattern, integers; 1 each, if None.

    Raises:
        DataError: as `Together`, and for weights that are no positive integers or miss a source.

    >>> import jax.numpy as jnp
    >>> turns = Turns({"a": ArrayData(jnp.zeros(4), 2), "b": ArrayData(jnp.ones(9), 3)})
    >>> turns.pattern, turns.steps_per_epoch
    (('a', 'b'), 6)
    """
    names = _checked(sources)
    weights = _checked_weights(names, weights)
    needed = [sources[name].steps_per_epoch for name in names]
    known = [
        None if steps is None else -(-steps // weights[name])
        for name, steps in zip(names, needed, strict=True)
    ]
    pattern = [[name] for name in smooth_pattern(weights)]
    periods = _longest(known)
    steps = None if periods is None else periods * len(pattern)
    return _combined(sources, pattern, weights, steps)


def smooth_pattern(weights: Mapping[str, int]) -> list[str]:
    """An order of turns in which each name occurs `weight` times, spread as evenly as can be.

    Smooth weighted round-robin, as in nginx: each turn, every name gains its weight; the richest
    takes the turn and pays the total.

    >>> smooth_pattern({"a": 5, "b": 1, "c": 1})
    ['a', 'a', 'b', 'a', 'c', 'a', 'a']
    """
    total, wealth = sum(weights.values()), dict.fromkeys(weights, 0)
    pattern: list[str] = []
    for _ in range(total):
        wealth = {name: wealth[name] + weights[name] for name in weights}
        richest = max(wealth, key=wealth.__getitem__)
        wealth[richest] -= total
        pattern.append(richest)
    return pattern


class _Schedule:
    """Which sources serve a step, and the index of the batch of each."""

    def __init__(self, pattern: list[list[str]], weights: Mapping[str, int], steps: int | None):
        self.period, self.weights = len(pattern), weights
        self.served, self.steps = pattern, steps
        #: for each name, its turns before each place of the pattern
        self.before = {
            name: np.cumsum([0, *(name in served for served in pattern)])[:-1].astype(np.int32)
            for name in weights
        }

    def turn(self, name: str, position: int) -> int:
        """The number of turns of a source before a position."""
        periods, place = divmod(position, self.period)
        return periods * self.weights[name] + int(self.before[name][place])

    def turns(self, name: str) -> int | None:
        """The turns of a source in an epoch."""
        return None if self.steps is None else self.turn(name, self.steps)


class Combined:
    """Sources on the device, combined: made by `Together` and `Turns`."""

    tail: Fetch | None = None

    def __init__(self, sources: Mapping[str, ArrayData], schedule: _Schedule):
        self._sources, self._schedule = dict(sources), schedule
        self.arrays = {name: source.arrays for name, source in sources.items()}
        assert schedule.steps is not None  # arrays have a length
        self.steps_per_epoch = schedule.steps
        self._needed = {
            name: _counted(name, source, cast(int, schedule.turns(name)))
            for name, source in sources.items()
        }
        kinds = list(dict.fromkeys(map(tuple, schedule.served)))
        self.fetches: Sequence[Fetch] = [self._fetch(kind) for kind in kinds]
        self._kinds = np.array([kinds.index(tuple(s)) for s in schedule.served], np.int32)

    @property
    def pattern(self) -> tuple[str, ...]:
        """The names in the order of their turns."""
        return tuple(name for served in self._schedule.served for name in served)

    def fingerprint(self) -> dict[str, Any]:
        """What decides its batches."""
        return _fingerprint(self._sources, self._schedule)

    def order(self, key: Key[Array, ""]) -> PyTree:
        """For each source as many permutations, one after another, as an epoch takes."""
        orders: dict[str, Array] = {}
        for index, (name, source) in enumerate(self._sources.items()):
            keys = jax.random.split(
                jax.random.fold_in(key, index), -(-self._needed[name] // source.length)
            )
            orders[name] = source.permutations.draw(keys)
        return orders

    def kind(self, position: Int[Array, ""]) -> Int[Array, ""]:
        """Whose turn it is."""
        return jnp.asarray(self._kinds)[position % self._schedule.period]

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Refused: a sample could count twice."""
        raise _no_sequence()

    def shown(self) -> Iterator[PyTree]:
        """What a loss looks at before the training: a batch of each kind."""
        return _shown(self._sources, self._schedule)

    def _fetch(self, names: tuple[str, ...]) -> Fetch:
        schedule = self._schedule

        def fetch(arrays: PyTree, order: PyTree, position: Array) -> PyTree:
            periods, place = position // schedule.period, position % schedule.period
            batch: dict[str, PyTree] = {}
            for name in names:
                turn = periods * schedule.weights[name] + jnp.asarray(schedule.before[name])[place]
                full = self._sources[name].fetches[0]
                batch[name] = full(arrays[name], order[name], turn)
            return batch

        return fetch


class CombinedOnHost:
    """Sources on the host, combined: made by `Together` and `Turns`."""

    def __init__(self, sources: Mapping[str, OnHost], schedule: _Schedule):
        self._sources, self._schedule = dict(sources), schedule
        self.steps_per_epoch = schedule.steps
        self.seeks = all(source.seeks for source in sources.values())

    @property
    def pattern(self) -> tuple[str, ...]:
        """The names in the order of their turns."""
        return tuple(name for served in self._schedule.served for name in served)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Samples of the full batches of each source, where they are known."""
        known = [one for one in self._sources.values() if isinstance(one, AccessData)]
        return tuple(size for one in known for size in one.batch_sizes)

    def fingerprint(self) -> dict[str, Any]:
        """What decides its batches."""
        return _fingerprint(self._sources, self._schedule)

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[PyTree]:
        """The batches of one epoch from a position on; without end, if its length is unknown."""
        return self._joined(entropy, epoch, position, None)

    def share_of_batches(
        self, entropy: tuple[int, ...], epoch: int, position: int, share: Share
    ) -> Iterator[PyTree]:
        """The same, of which only a share is read, except from streams."""
        return self._joined(entropy, epoch, position, share)

    def _joined(
        self, entropy: tuple[int, ...], epoch: int, position: int, share: Share | None
    ) -> Iterator[PyTree]:
        schedule = self._schedule
        streams = {
            name: source.wrapped(
                (*entropy, index), epoch, schedule.turn(name, position), schedule.turns(name), share
            )
            for index, (name, source) in enumerate(self._sources.items())
        }
        while schedule.steps is None or position < schedule.steps:
            served = schedule.served[position % schedule.period]
            yield {name: next(streams[name]) for name in served}
            position += 1

    def sequential(self) -> Iterator[tuple[PyTree, int]]:
        """Refused: a sample could count twice."""
        raise _no_sequence()

    def share_of_sequence(self, share: Share) -> Iterator[tuple[PyTree, int]]:
        """Refused, as `sequential`."""
        raise _no_sequence()

    def shown(self) -> Iterator[PyTree]:
        """What a loss looks at before the training: a batch of each kind, nothing of streams."""
        return _shown(self._sources, self._schedule) if self.seeks else iter(())


def _shown(sources: Mapping[str, Any], schedule: _Schedule) -> Iterator[PyTree]:
    for names in dict.fromkeys(map(tuple, schedule.served)):
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context(closing(sources[name].sequential())) for name in names
            }
            yield {name: next(stream)[0] for name, stream in streams.items()}


def _combined(
    sources: Mapping[str, Any],
    pattern: list[list[str]],
    weights: Mapping[str, int],
    steps: int | None,
) -> Combined | CombinedOnHost:
    schedule = _Schedule(pattern, weights, steps)
    if all(isinstance(source, ArrayData) for source in sources.values()):
        return Combined(sources, schedule)
    return CombinedOnHost(sources, schedule)


def _fingerprint(sources: Mapping[str, Any], schedule: _Schedule) -> dict[str, Any]:
    own = {
        name: source.fingerprint() if isinstance(source, Fingerprinted) else type(source).__name__
        for name, source in sources.items()
    }
    pattern = " ".join("+".join(served) for served in schedule.served)
    # The place of a source among them seeds its order, which the pattern may not show.
    shown = list(dict.fromkeys(name for served in schedule.served for name in served))
    order = {} if shown == list(sources) else {"order": ", ".join(sources)}
    return {"pattern": pattern, "sources": own, **order}


def _counted(name: str, source: ArrayData, turns: int) -> int:
    """The samples of a source that an epoch needs, again and again the same if they are few."""
    needed = turns * source.batch_size
    if needed > MOST:
        raise DataError(
            f"An epoch takes {needed} samples of source {name!r}, which has "
            f"{source.length}: at most {MOST}. Give it a smaller batch or weight."
        )
    return needed


def _longest(steps: Sequence[int | None]) -> int | None:
    known = [count for count in steps if count is not None]
    return max(known) if len(known) == len(steps) else None


def _checked(sources: Mapping[str, Any]) -> list[str]:
    if not sources:
        raise DataError('There are no sources to combine. Pass {"name": source, ...}.')
    kinds = {name: type(source).__name__ for name, source in sources.items()}
    for name, source in sources.items():
        if not isinstance(source, ArrayData | AccessData | StreamData):
            raise DataError(
                f"Source {name!r} is a {kinds[name]}. ArrayData, or AccessData and StreamData, "
                "can be combined; wrap the data in one of them."
            )
        if isinstance(source, ArrayData) and source.rows is not None:
            raise DataError(
                f"Source {name!r} is stored by rows (shards={source.rows.parts}), which cannot be "
                "combined: sources begin their batches anywhere. Leave shards out."
            )
    if len({isinstance(source, ArrayData) for source in sources.values()}) > 1:
        raise DataError(
            f"Data on the device and on the host cannot be combined: {kinds}. Wrap arrays as "
            "AccessData(list(zip(x, y)), batch_size), or load all into ArrayData."
        )
    return list(sources)


def _checked_weights(names: list[str], weights: Mapping[str, int] | None) -> dict[str, int]:
    weights = dict.fromkeys(names, 1) if weights is None else dict(weights)
    for name, weight in weights.items():
        if name not in names:
            raise DataError(f"weights name {name!r}, which is no source. {suggest(name, names)}")
        if not is_count(weight):
            raise DataError(
                f"The weight of {name!r} must be a positive integer; got {weight!r}. Leave out a "
                "source that takes no turns; scale fractions to integers."
            )
    missing = [name for name in names if name not in weights]
    if missing:
        raise DataError(f"weights miss {missing}. Give every source a positive integer.")
    turns = {name: int(weights[name]) for name in names}
    common = gcd(*turns.values())
    return {name: count // common for name, count in turns.items()}


def _no_sequence() -> DataError:
    return DataError(
        "Combined sources have no sequence in which every sample counts once, so they cannot "
        "serve in a validation. Validate on each source by itself: one Validation(source, "
        "name=...) for each."
    )
