"""A population bound to phases: what is wrong is found before anything is compiled."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from etude.callbacks.base import Callback
from etude.engine import randomness
from etude.engine.chunk import fetched_step, order_of
from etude.engine.leaf_roles import is_array
from etude.engine.phase import Phase
from etude.engine.program import Executor
from etude.engine.sharding import Sharding
from etude.engine.source import Resident
from etude.engine.step import Plan, state_of
from etude.errors import ConfigurationError, EtudeError, suggest
from etude.kinds import is_mapping
from etude.population.each import EachMember
from etude.population.given import Given
from etude.population.groups import Group, arrays_like, grouped, models_of, phases_of
from etude.population.reading import reads
from etude.population.spec import SEED, Member, Population, arguments
from etude.population.spread import Spread, unspread
from etude.training.binding import bind
from etude.training.hooks import Hooks
from etude.training.nonfinite import NonFinite
from etude.training.settings import Settings


@dataclass(frozen=True)
class Bound:
    """A population bound to phases.

    Attributes:
        members: all of them.
        groups: those of equal shapes together.
        arrays: of the model that each member begins with; they are the user's.
        spread: which device trains which members.
    """

    population: Population | Given
    members: tuple[Member, ...]
    groups: tuple[Group, ...]
    arrays: tuple[PyTree, ...]
    spread: Spread

    @property
    def settings(self) -> Settings:
        """What the loop goes by: the settings of the first group."""
        return self.groups[0].settings

    def anew(self) -> "Bound":
        """The same for another training."""
        return replace(self, groups=tuple(group.anew() for group in self.groups))


def bind_population(
    population: Population | Given,
    phases: tuple[Phase, ...],
    callbacks: Sequence[Callback],
    *,
    nonfinite: NonFinite,
    folder: Path | None,
    seed: int,
    executor: Executor | None,
    on_full_disk: Literal["stop", "continue"],
    mesh: Mesh | None = None,
    sharding: Sharding = None,
) -> Bound:
    """Binds every group of members to the phases.

    Raises `ConfigurationError` with all problems, `ModelError` for members of other shapes.
    """
    members = population.listed(seed)
    problems = [
        *unspread(mesh, sharding, len(members)),
        *_unsuited(phases, nonfinite),
        *_unplaced(phases, members[0]),
    ]
    listed: list[Callback] = []
    for callback in callbacks:
        try:
            listed.append(_placed(callback, population.count))
        except EtudeError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)))
    hooks = Hooks(listed)
    arrays: dict[int, PyTree] = {}
    groups: list[Group] = []
    for group in grouped(members):
        models = models_of(population, group)
        for member, model in zip(group, models, strict=True):
            arrays[member.number] = arrays_like(models[0], model)
        own = phases_of(phases, group[0].hyper)
        bound, reports = bind(models[0], own, hooks, policy=nonfinite.policy, folder=folder)
        for phase in own:  # all are known, and columns of members are called otherwise
            reports.saw_steps(phase, bound[phase.name].metrics or ())
        settings = Settings(
            models[0], own, bound, reports, hooks, nonfinite, seed, executor, on_full_disk
        )
        groups.append(Group(tuple(member.number for member in group), settings))
    if problems := [*_unread(population, groups, members[0])]:
        raise ConfigurationError("\n".join(problems))
    ordered = tuple(arrays[member.number] for member in members)
    spread = Spread.over(mesh, [group.members for group in groups])
    return Bound(population, members, tuple(groups), ordered, spread)


def _unsuited(phases: Sequence[Phase], nonfinite: NonFinite) -> Iterator[str]:
    """What members that train side by side cannot have."""
    if nonfinite.policy == "rollback":
        yield (
            "A population has no roll-back: all members would go back for one. Choose "
            "nonfinite='stop', which ends that member alone, or 'skip'."
        )
    for phase in phases:
        if not isinstance(phase, Phase):
            continue  # `bind` says so
        if phase.rescue is not None:
            yield (
                f"Phase {phase.name!r}: a rescue of one member would hold up the others. Leave "
                "rescue out, or train the members one by one: Trainer(model, ...)."
            )
        if not isinstance(phase.source, Resident):
            yield (
                f"Phase {phase.name!r}: a population needs data on the device, of which each "
                f"member reads its own batches; got {type(phase.data).__name__}. Wrap arrays in "
                "ArrayData(arrays, batch_size=...), or train the members one by one."
            )


def _unplaced(phases: Sequence[Phase], member: Member) -> Iterator[str]:
    """Varied names that have no place, or two."""
    for phase in phases:
        if not isinstance(phase, Phase):
            continue
        if member.hyper and not is_mapping(phase.hyper):
            yield (
                f"Phase {phase.name!r}: a population varies {', '.join(map(repr, member.hyper))}, "
                f"so hyper is a dict of numbers; got {type(phase.hyper).__name__}. Name them: "
                'Phase(hyper={"rate": 0.1}).'
            )
        elif is_mapping(phase.hyper):
            for name in sorted(member.settings.keys() & phase.hyper.keys()):
                yield (
                    f"Population: {name!r} varies, and is both an argument of init and a number "
                    f"of phase {phase.name!r}. Give one of them another name."
                )


def _placed(callback: Callback, count: int) -> Callback:
    """The callback as it goes with a population."""
    if not isinstance(callback, Callback):
        return callback  # `Hooks` refuses it
    how: Any = callback.with_members()
    if how not in ("all", "each"):
        raise ConfigurationError(
            f"{type(callback).__name__}.with_members returns 'all' or 'each'; got {how!r}."
        )
    if how == "all":
        return callback
    try:
        return EachMember(callback, [deepcopy(callback) for _ in range(count)])
    except Exception as error:
        raise ConfigurationError(
            f"{type(callback).__name__} cannot be copied for each member of a population: "
            f"{type(error).__name__}: {error}. Let its with_members return 'all'."
        ) from error


def _unread(
    population: Population | Given, groups: Sequence[Group], member: Member
) -> Iterator[str]:
    """A sentence for each varied number that nothing reads."""
    phases = groups[0].settings.phases
    for name in member.hyper:
        if any(_reads(group, phase, name) for group in groups for phase in group.settings.phases):
            continue
        built = [
            learner.title
            for phase in phases
            for learner in phase.turns
            if learner.optimizer is not None and not learner.varies
        ]
        what = (
            f"{', '.join(dict.fromkeys(built))} has an optimizer that is built already, whose "
            "numbers cannot vary: pass a function of them, Learner(rule, lambda hyper: "
            f"optax.adam(hyper[{name!r}]))"
            if built
            else f"read it in a rule, a loss or a measure as context.hyper[{name!r}]"
        )
        known = sorted({*_hyper_names(phases), *_taken(population), SEED} - {name})
        near = f" {suggest(name, known)}" if suggest(name, known).startswith("Did") else ""
        yield f"Population: {name!r} varies, and nothing reads it: {what}.{near}"


def _taken(population: Population | Given) -> frozenset[str]:
    return arguments(population.init) if isinstance(population, Population) else frozenset()


def _hyper_names(phases: Sequence[Phase]) -> set[str]:
    return {name for phase in phases if is_mapping(phase.hyper) for name in phase.hyper}


def _reads(group: Group, phase: Phase, name: str) -> bool:
    """Whether a step or a measure of a phase depends on a number of `context.hyper`."""
    bound, model = group.settings.bound[phase.name], group.settings.model
    plan, source = bound.plan, phase.source
    state = abstract_state(plan, model)
    assert isinstance(source, Resident)
    order = jax.eval_shape(partial(order_of, source, epoch=0), state.keys.order)
    for fetch in [*source.fetches, *([] if source.tail is None else [source.tail])]:
        step = partial(_stepped, plan, source.steps_per_epoch, fetch)
        if reads(step, f"[0].hyper[{name!r}]", state, source.arrays, order, plan.total):
            return True
    return any(
        reads(evaluator.measured, f"[2].hyper[{name!r}]", *example)
        for evaluator, validation in zip(bound.evaluators, phase.validations, strict=True)
        for example in [evaluator.example(state.model, validation.data, phase.hyper)]
    )


def _stepped(*arguments: Any) -> Any:
    """What a step makes: the numbers of `context.hyper` are in its state before and after."""
    after, metrics = fetched_step(*arguments)
    return after.model, after.learners, metrics


def abstract_state(plan: Plan, model: PyTree) -> Any:
    """Shapes and types of the state of a lone training."""
    keys = jax.eval_shape(lambda: randomness.visit_keys(0, plan.phase.name, 0))
    arrays = jax.eval_shape(lambda: eqx.filter(model, is_array))
    return jax.eval_shape(partial(state_of, plan, donate=False), arrays, keys)
