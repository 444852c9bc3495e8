"""Everything that can be wrong is found before anything is compiled, in one message."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.engine import randomness
from etude.engine.admission import check_data
from etude.engine.divisible import check_divisible
from etude.engine.evaluation import Evaluator, default_measure
from etude.engine.layout import Layout
from etude.engine.leaf_roles import is_array
from etude.engine.learner import Probe
from etude.engine.once import Once
from etude.engine.phase import Phase
from etude.engine.program import columns
from etude.engine.source import Resident
from etude.engine.step import Plan, state_of
from etude.errors import (
    ConfigurationError,
    DataError,
    EtudeError,
    ModelError,
    RuleError,
)
from etude.training.hooks import Hooks
from etude.training.reports import Reports


# What is found before training is a ConfigurationError. If all of it is of one of these kinds, it
# is of that kind as well, as the same mistake is in a loop of one's own.
class PhaseRuleError(RuleError, ConfigurationError):
    """Rules, losses or measures of phases that return something else than they must."""


class PhaseModelError(ModelError, ConfigurationError):
    """A model that cannot be trained as phases ask."""


class PhaseDataError(DataError, ConfigurationError):
    """Data of phases that cannot be trained on."""


KINDS = {RuleError: PhaseRuleError, ModelError: PhaseModelError, DataError: PhaseDataError}


@dataclass(frozen=True)
class Bound:
    """A phase bound to a model: its plan and its validations."""

    plan: Plan
    #: one for each validation, in their order
    evaluators: tuple[Evaluator, ...]
    #: names of the metrics of a step, where they are known without reading data
    metrics: tuple[str, ...] | None

    def anew(self, once: Once) -> "Bound":
        """The same, which traces losses and measures again: what they read may have changed."""
        evaluators = tuple(evaluator.anew() for evaluator in self.evaluators)
        return replace(self, plan=replace(self.plan, once=once), evaluators=evaluators)


def bind(
    model: PyTree,
    phases: Sequence[Phase],
    hooks: Hooks,
    *,
    policy: str,
    folder: Path | None,
    layout: Layout | None = None,
) -> tuple[dict[str, Bound], Reports]:
    """Binds all phases, rescues included, by name; and what they are known to report.

    Every step and every measure is traced (not compiled), so that a loss that cannot work in the
    last phase is found before the first begins. Raises `ConfigurationError` with all problems,
    which is a `RuleError`, `ModelError` or `DataError` too if all of them are.
    """
    problems: list[str] = []
    faults: list[type[EtudeError]] = []
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
    bound: dict[str, Bound] = {}
    once = Once()
    reports = Reports(everyone, hooks.callbacks)
    for phase in everyone:
        try:
            one, measured = _bind_one(model, phase, policy == "skip", hooks.probes, once, layout)
        except EtudeError as error:
            problems.append(f"Phase {phase.name!r}: {error}")
            faults.append(type(error))
        else:
            bound[phase.name] = one
            reports.expect(phase, one.metrics, measured)
    if len(bound) == len(everyone):
        problems += reports.problems()
    if problems:
        one_kind = len(set(faults)) == 1 and len(faults) == len(problems)
        kind = KINDS.get(faults[0], ConfigurationError) if one_kind else ConfigurationError
        raise kind("\n".join(dict.fromkeys(problems)))
    return bound, reports


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
    model: PyTree,
    phase: Phase,
    skip: bool,
    probes: tuple[Probe, ...],
    once: Once,
    layout: Layout | None,
) -> tuple[Bound, list[frozenset[str]]]:
    plan = Plan.of(phase, model, skip_nonfinite=skip, probes=probes, once=once, layout=layout)
    if layout is not None:
        check_divisible(phase, layout.batches.devices)
    arrays = once.of("arrays", lambda: jax.eval_shape(lambda: eqx.filter(model, is_array)))
    steps = None
    if isinstance(phase.source, Resident):
        keys = once.of(
            "keys", lambda: jax.eval_shape(lambda: randomness.visit_keys(0, phase.name, 0))
        )
        state = once.of(
            ("state", plan.steps_alike),
            lambda: jax.eval_shape(partial(state_of, plan, donate=False), arrays, keys),
        )
        steps = columns(plan, state)
    evaluators, names = [], list[frozenset[str]]()
    for validation in phase.validations:
        measure = validation.measure or default_measure(phase.turns[0])
        name = f"phase {phase.name!r}, validation {validation.name!r}"
        kept = phase.turns[0].compiled
        evaluators.append(Evaluator(measure, plan.static, kept, name, layout))
        measured = evaluators[-1].names(arrays, validation.data, phase.hyper)
        found = frozenset(f"{validation.name}/{name}" for name in measured)
        if twice := sorted(found & frozenset().union(*names)):
            raise ConfigurationError(
                f"Two validations report {', '.join(map(repr, twice))}, and one would hide the "
                "other. Give one of them another name: Validation(..., name='test')."
            )
        names.append(found)
    check_data(model, phase)
    return Bound(plan, tuple(evaluators), steps), names
