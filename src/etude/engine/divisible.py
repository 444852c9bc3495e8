"""Batches that the devices of a mesh divide, which is found out before anything is compiled."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from etude.engine.layout import ByRows
from etude.engine.phase import Phase
from etude.engine.randomness import root_key
from etude.engine.source import Resident
from etude.errors import ConfigurationError


@runtime_checkable
class Batched(Protocol):
    """A source on the host that knows how many samples its full batches have."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """That of every source in it."""
        ...


def check_divisible(phase: Phase, devices: int) -> None:
    """Raises `ConfigurationError` where full batches, or micro-batches, are not of equal parts.

    The last batch of an epoch may be short: it is computed whole on every device. What a stream
    yields is not known beforehand.
    """
    source = phase.source
    sizes = source.batch_sizes if isinstance(source, Batched) else ()
    problems: list[str] = []
    if isinstance(source, Resident):
        sizes = tuple(_resident(source))
        problems += _shards(source.arrays, devices)
    for size in dict.fromkeys(sizes):
        if size % devices:
            near = size // devices * devices
            choices = [str(n) for n in (near, near + devices) if n]
            problems.append(
                f"batch_size {size} is not divisible by the {devices} devices of the axis 'data'. "
                f"Choose {' or '.join(choices)}, or another mesh."
            )
            continue
        for learner in phase.turns:
            micro = -(-size // learner.accumulate)
            if micro % devices:
                problems.append(
                    f"{learner.title}: accumulate={learner.accumulate} makes micro-batches of "
                    f"{micro} from {size} samples, which the {devices} devices of the axis 'data' "
                    "do not divide. Accumulate over fewer, or choose a larger batch."
                )
    if problems:
        raise ConfigurationError(" ".join(dict.fromkeys(problems)))


def _resident(source: Resident) -> Iterator[int]:
    order = jax.eval_shape(source.order, root_key(0))
    for fetch in source.fetches:
        batch = jax.eval_shape(partial(_fetched, fetch), source.arrays, order)
        yield from (leaf.shape[0] for leaf in jax.tree.leaves(batch) if leaf.ndim)


def _fetched(fetch: Any, arrays: PyTree, order: PyTree) -> PyTree:
    return fetch(arrays, order, jnp.int32(0))


def _shards(arrays: PyTree, devices: int) -> Iterator[str]:
    for one in jax.tree.leaves(arrays, is_leaf=lambda leaf: isinstance(leaf, ByRows)):
        if isinstance(one, ByRows):
            shards = len(jax.tree.leaves(one)[0])
            if shards % devices:
                yield (
                    f"shards={shards} is not divisible by the {devices} devices of the axis "
                    "'data'. Choose a multiple of all numbers of devices that you will use."
                )
