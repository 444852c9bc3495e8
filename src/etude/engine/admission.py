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

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from types import MethodType
from typing import Any, Protocol, cast, runtime_checkable

import jax
from jaxtyping import PyTree

from etude.engine.explaining import explained
from etude.engine.phase import Phase
from etude.engine.rule import Gradient
from etude.engine.source import Hosted, Resident, Source
from etude.errors import ConfigurationError, DataError


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
                the first batch of other sources, of each kind of several sources together.
        """
        ...


@runtime_checkable
class Shows(Protocol):
    """A source that says what a loss looks at before the training."""

    def shown(self) -> Iterator[PyTree]:
        """Batches, of as many samples as the source has at hand."""
        ...


def check_data(model: PyTree, phase: Phase) -> None:
    """Shows the data of a phase, and of its validations, to the losses that ask for them.

    A stream is not looked at: what is read of it early would be missing later; nor is what an
    `augment` changes before a loss sees it. Raises what they raise.
    """
    rules = [turn.rule for turn in phase.turns]
    losses = [rule.loss if isinstance(rule, Gradient) else rule for rule in rules]
    asked: list[tuple[str, list[Any], Any]] = [
        (f"validation {one.name!r}", [one.measure or losses[0]], one.data)
        for one in phase.validations
    ]
    if phase.augment is None:
        asked.insert(0, ("", losses, phase.source))
    for where, judges, source in asked:
        show_data(model, judges, source, where)


def show_data(model: PyTree, judges: Sequence[Any], source: Source | None, where: str = "") -> None:
    """Shows the data of a source to those losses that ask for them; `where` is in messages.

    Raises what they raise.
    """
    # Learners of one game ask once.
    owners = {id(owner): owner for owner in map(_owner, judges)}
    askers = [owner for owner in owners.values() if isinstance(owner, ChecksData)]
    if askers:
        for batch in _shown(source):
            for one in askers:
                _ask(where, one, model, batch)


def _owner(loss: Any) -> Any:
    """Whose `check_data` it is: the object of a method, the function of a partial one."""
    while isinstance(loss, partial):
        loss = cast(Any, loss).func
    return loss.__self__ if isinstance(loss, MethodType) else loss


def _ask(where: str, judge: Any, model: PyTree, batch: PyTree) -> None:
    name = type(judge).__name__
    if not callable(judge.check_data):
        raise ConfigurationError(
            f"{name}: check_data is a method (self, model, batch); got {judge.check_data!r}."
        )
    with explained(f"check_data of {name}{where and ', '}{where}", batch):
        try:
            answer = judge.check_data(model, batch)
        except DataError as error:
            if not where:
                raise
            raise DataError(f"{where}: {error}") from error
    if answer is not None:
        raise ConfigurationError(
            f"{name}: check_data raises DataError for what it refuses; got the answer {answer!r}, "
            "expected none."
        )


def _shown(source: Source | None) -> Iterator[PyTree]:
    """What can be seen of a source before the training: one batch, or nothing."""
    if isinstance(source, Shows):
        yield from map(jax.device_get, source.shown())
    elif isinstance(source, Resident) or (isinstance(source, Hosted) and source.seeks):
        with closing(cast(Any, source.sequential())) as batches:
            for batch, _ in batches:
                yield jax.device_get(batch)
                return
