"""Whether trainings differ in nothing but their seeds and models, so that they are one population.

Their settings are compared, the values of their data, and the text of their programs, in which
everything is that a loss, a rule or a measure closes over.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax

from etude.engine.chunk import fetched_step, order_of
from etude.engine.source import Resident
from etude.population.binding import abstract_state
from etude.population.sameness import same
from etude.training.binding import Bound
from etude.training.fingerprint import compare, fingerprint
from etude.training.settings import Settings


def differences(one: Settings, other: Settings) -> Iterator[str]:
    """What differs beside the seed and the values of the model, a few words each."""
    changes = compare(fingerprint(one), fingerprint(other))
    changes.pop("seed", None)
    yield from changes
    if changes:
        return
    for name, bound in one.bound.items():
        mine, theirs = bound.plan.phase, other.bound[name].plan.phase
        sources = {
            "data": (mine.source, theirs.source),
            **{
                f"data of validation {ours.name!r}": (ours.data, its.data)
                for ours, its in zip(mine.validations, theirs.validations, strict=True)
            },
        }
        found = [what for what, pair in sources.items() if not _same_data(*pair)]
        yield from (f"{what} of phase {name!r}" for what in found)
        if not found and _texts(one, bound) != _texts(other, other.bound[name]):
            yield f"steps or measures of phase {name!r}"


def _same_data(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if not (isinstance(one, Resident) and isinstance(other, Resident)):
        return False
    mine, theirs = jax.tree.leaves(one.arrays), jax.tree.leaves(other.arrays)
    return jax.tree.structure(one.arrays) == jax.tree.structure(other.arrays) and all(
        map(same, mine, theirs)
    )


def _texts(settings: Settings, bound: Bound) -> list[str]:
    """The programs of a phase and of its validations, before they are compiled."""
    plan, source = bound.plan, bound.plan.phase.source
    if not isinstance(source, Resident):
        return []
    state = abstract_state(plan, settings.model)
    order = jax.eval_shape(partial(order_of, source, epoch=0), state.keys.order)
    found: list[str] = []
    for fetch in [*source.fetches, *([] if source.tail is None else [source.tail])]:
        step = jax.jit(partial(fetched_step, plan, source.steps_per_epoch, fetch))
        found.append(step.lower(state, source.arrays, order, plan.total).as_text())
    for evaluator, validation in zip(bound.evaluators, plan.phase.validations, strict=True):
        found.append(evaluator.text(state.model, validation.data, plan.phase.hyper))
    return found
