"""Everything that can be wrong is found before anything is compiled, in one message."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.engine.errors import ConfigurationError, EtudeError
from etude.engine.evaluation import Evaluator, default_measure
from etude.engine.learner import Probe
from etude.engine.phase import Best, Phase
from etude.engine.program import columns
from etude.engine.roles import is_array
from etude.engine.source import Resident
from etude.engine.step import Plan, state_of
from etude.training.hooks import Hooks


@dataclass(frozen=True)
class Bound:
    """A phase bound to a model: its plan and its validations."""

    plan: Plan
    #: one for each validation, in their order
    evaluators: tuple[Evaluator, ...]
    #: names of the metrics of a step, where they are known without reading data
    metrics: tuple[str, ...] | None


def bind(
    model: PyTree,
    phases: Sequence[Phase],
    hooks: Hooks,
    *,
    policy: str,
    folder: Path | None,
) -> dict[str, Bound]:
    """Binds all phases, rescues included, by name.

    Every step and every measure is traced (not compiled), so that a loss that cannot work in the
    last phase is found before the first begins. Raises `ConfigurationError` with all problems.
    """
    problems: list[str] = []
    if policy == "rollback" and folder is None:
        problems.append("nonfinite='rollback' restores a checkpoint, which needs run='runs/name'.")
    if not phases:
        problems.append("There is no phase; pass at least one Phase.")
    for phase in phases:
        if not isinstance(phase, Phase):
            problems.append(f"phases must be Phase objects; got {type(phase).__name__}.")
    if problems:
        raise ConfigurationError(" ".join(problems))
    everyone = [*phases, *_rescues(phases)]
    names = [phase.name for phase in everyone]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"Two phases are called {name!r}; names must differ.")
    bound, reported = {}, frozenset()
    for phase in everyone:
        try:
            bound[phase.name], metrics = _bind_one(model, phase, policy == "skip", hooks.probes)
        except EtudeError as error:
            problems.append(f"Phase {phase.name!r}: {error}")
            continue
        reported |= metrics
        problems += _unmeasured(phase, metrics)
    if len(bound) == len(everyone):
        for callback in hooks.callbacks:
            problems += callback.problems(reported)
    if problems:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)))
    return bound


def _rescues(phases: Sequence[Phase]) -> list[Phase]:
    found: list[Phase] = []
    for phase in phases:
        rescue = phase.rescue
        while rescue is not None:
            # Phases compare by identity: one rescue may serve several phases.
            if not any(rescue.phase is known for known in [*phases, *found]):
                found.append(rescue.phase)
            rescue = rescue.phase.rescue
    return found


def _bind_one(
    model: PyTree, phase: Phase, skip: bool, probes: tuple[Probe, ...]
) -> tuple[Bound, frozenset[str]]:
    plan = Plan.of(phase, model, skip_nonfinite=skip, probes=probes)
    arrays = jax.eval_shape(lambda x: x, eqx.filter(model, is_array))
    steps = None
    if isinstance(phase.source, Resident):
        state = jax.eval_shape(lambda a: state_of(plan, a, seed=0, visit=0), arrays)
        steps = columns(plan, state)
    evaluators, names = [], frozenset()
    for validation in phase.validations:
        measure = validation.measure or default_measure(phase.turns[0])
        name = f"phase {phase.name!r}, validation {validation.name!r}"
        evaluators.append(Evaluator(measure, plan.static, name))
        measured = evaluators[-1].names(arrays, validation.data)
        found = {f"{validation.name}/{name}" for name in measured}
        if twice := sorted(names & found):
            raise ConfigurationError(
                f"Two validations report {', '.join(map(repr, twice))}, and one would hide the "
                "other. Give one of them another name: Validation(..., name='test')."
            )
        names |= found
    return Bound(plan, tuple(evaluators), steps), names


def _unmeasured(phase: Phase, metrics: frozenset[str]) -> list[str]:
    keep = [phase.keep.metric] if isinstance(phase.keep, Best) else []
    return [
        f"Phase {phase.name!r} watches {name!r}, which its validations do not report. "
        f"They report: {', '.join(map(repr, sorted(metrics)))}."
        for name in [*phase.goal, *keep]
        if name not in metrics and _star(name) not in metrics
    ]


def _star(name: str) -> str:
    return name.rsplit("/", 1)[0] + "/*"
