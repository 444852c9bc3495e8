"""Data that a loss refuses by their values, before anything is compiled.

>>> import jax.numpy as jnp
>>> from dataclasses import dataclass
>>> from etude.errors import DataError
>>> @dataclass(frozen=True)
... class LogLoss:
...     def __call__(self, w, batch, context):
...         return jnp.mean((w - jnp.log(batch)) ** 2)
...     def check_data(self, model, batch):
...         if batch.min() <= 0:
...             raise DataError(f"LogLoss: needs positive values; got {batch.min()}.")
>>> isinstance(LogLoss(), ChecksData)
True
"""

from collections.abc import Iterator
from contextlib import closing
from types import MethodType
from typing import Any, Protocol, cast, runtime_checkable

import jax
from jaxtyping import PyTree

from etude.engine.phase import Phase
from etude.engine.rule import Gradient
from etude.engine.source import Hosted, Resident, Source


@runtime_checkable
class ChecksData(Protocol):
    """A loss, a rule or a measure that looks at its data before the training.

    Of a loss that is a method, its object is asked.
    """

    def check_data(self, model: PyTree, batch: PyTree) -> None:
        """Raises `DataError` for values that cannot be trained on, such as labels of no class.

        Args:
            model: as the training begins.
            batch: arrays on the host, in the structure of a batch: all samples of an `ArrayData`,
                the first batch of other sources.
        """
        ...


@runtime_checkable
class Whole(Protocol):
    """A source that has all of its samples in the structure of a batch."""

    def whole(self) -> PyTree:
        """All samples, as one batch."""
        ...


def check_data(model: PyTree, phase: Phase) -> None:
    """Shows the data of a phase, and of its validations, to the losses that ask for them.

    A stream is not looked at: what is read of it early would be missing later; nor is what an
    `augment` changes before a loss sees it. Raises what they raise.
    """
    rules = [turn.rule for turn in phase.turns]
    losses = [rule.loss if isinstance(rule, Gradient) else rule for rule in rules]
    asked: list[tuple[list[Any], Any]] = [
        ([one.measure or losses[0]], one.data) for one in phase.validations
    ]
    if phase.augment is None:
        asked.insert(0, (losses, phase.source))
    for judges, source in asked:
        # Learners of one game ask once.
        owners = {id(owner): owner for owner in map(_owner, judges)}
        askers = [owner for owner in owners.values() if isinstance(owner, ChecksData)]
        if askers:
            for batch in _shown(source):
                for one in askers:
                    one.check_data(model, batch)


def _owner(loss: Any) -> Any:
    return loss.__self__ if isinstance(loss, MethodType) else loss


def _shown(source: Source | None) -> Iterator[PyTree]:
    """What can be seen of a source before the training: one batch, or nothing."""
    if isinstance(source, Whole):
        yield jax.device_get(source.whole())
    elif isinstance(source, Resident) or (isinstance(source, Hosted) and source.seeks):
        with closing(cast(Any, source.sequential())) as batches:
            for batch, _ in batches:
                yield jax.device_get(batch)
                return
