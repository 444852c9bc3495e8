"""Going on with a run: from which checkpoint, with which settings, and what follows from both."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax

from etude.callbacks.base import Reason
from etude.engine import randomness
from etude.engine.leaf_roles import is_array
from etude.engine.named_arrays import named
from etude.engine.phase import Phase
from etude.engine.source import Resident
from etude.engine.step import state_of
from etude.errors import ConfigurationError, OtherSettingsError, ResumeError
from etude.run import Run, way_on
from etude.run.checkpoints import Restored
from etude.run.folder import is_run
from etude.training.fingerprint import ABSENT, DEVICES, Changes, compare
from etude.training.phase_visit import Visit
from etude.training.restoring import known_phase, refuse_first_version, restore_visits
from etude.training.settings import Settings

LISTED = 20  # more lines than this help nobody

PRNG = "default_prng_impl"


@dataclass(frozen=True)
class Resume:
    """How to go on: `Trainer.resume` documents it."""

    checkpoint: str | None = None
    changes: Literal["refuse", "allow"] = "refuse"
    #: what `config.yaml` of the run says from now on, if it is to say something else
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Restoration:
    """A checkpoint taken back into a trainer that may go on from it."""

    name: str
    root: Visit
    meta: dict[str, Any]
    #: settings that are other than the run's
    changes: Changes = field(default_factory=dict)

    @property
    def note(self) -> dict[str, Any]:
        """What the history says of going on, if anything but that it goes on."""
        if not self.changes:
            return {}
        other = any(map(only_rounds, self.changes))
        bits = {"bits": "equal to rounding, on other devices"} if other else {}
        return {"changes": self.changes, **bits}


def goes_on(resume: Any, folder: Path | None, *, overwrite: bool) -> bool:
    """Whether `Trainer.fit(resume=resume)` goes on with the run in `folder`, if there is one.

    Raises `ConfigurationError` for what can never go on.
    """
    if resume is None:
        return False
    if resume != "auto":
        raise ConfigurationError(
            f"fit(resume=...) is 'auto' or None; got {resume!r}. From a particular checkpoint: "
            "trainer.resume(checkpoint='step-500')."
        )
    if folder is None or overwrite:
        raise ConfigurationError(
            "fit(resume='auto') goes on with the run in the trainer's folder; got "
            + ("no folder: Trainer(..., run='runs/x')." if folder is None else "overwrite=True.")
        )
    return is_run(folder)


def restoration(
    run: Run, settings: Settings, fingerprint: Mapping[str, Any], how: Resume
) -> Restoration | None:
    """The checkpoint to go on from, adapted to the settings of now; None if there never was one.

    Raises `ResumeError` if all checkpoints are gone, if the first version of etude wrote them, if
    the model or an optimizer is another, or if settings are and `how.changes` refuses that;
    `CheckpointError` if none can be restored.
    """
    restored = checkpoint_of(run, how)
    if restored is None:
        return None
    meta = restored.meta
    if "teams" in meta:
        raise ResumeError(
            f"The run in {run.path} trains a population. Go on with it by the trainer that has it: "
            "Trainer(phases=..., population=...)."
        )
    changes = _changes(settings, meta, fingerprint)
    refuse = how.changes == "refuse"
    if refuse and PRNG in changes:  # its keys are of another shape, and would be named instead
        raise _other_settings(run, changes)
    try:
        root = restore_visits(run, restored, *_beginnings(run, settings, changes))
    except ResumeError as error:
        if not changes:
            raise
        # 64-bit mode, a precision or an optimizer says more than the leaves that follow from it.
        raise ResumeError(
            f"{error}\nThese settings are other than those of the run:\n{listed(changes)}"
        ) from None
    first = [phase.name for phase in settings.phases]
    behind = first[: first.index(root.phase.name)] if root.phase.name in first else []
    serious = {
        name: pair
        for name, pair in changes.items()
        if not (longer(name, pair, behind) or only_rounds(name))
    }
    for visit in _chain(root):
        total = visit.phase.total_steps
        if total is not None and visit.step > total:
            serious.setdefault(f"phases.{visit.phase.name}.length", (visit.step, total))
    if refuse and serious:
        raise _other_settings(run, serious, behind)
    for visit in _chain(root):
        _adapt(visit, changes, meta)
    # All of a class begin anew: states are told apart by their order, which may have changed too.
    called = [name.split(".")[1] for name in changes if name.startswith("callbacks.")]
    changed = {name.split("[")[0] for name in called}
    meta["callbacks"] = [c for c in meta["callbacks"] if c["name"] not in changed]
    for name in [n for n in meta["executors"] if f"phases.{n}.executor" in changes]:
        del meta["executors"][name]
    return Restoration(restored.name, root, meta, changes)


def checkpoint_of(run: Run, how: Resume) -> Restored | None:
    """The checkpoint to go on from, as it was stored; None if there never was one.

    Raises `ResumeError` if all are gone, or if the first version of etude wrote them.
    """
    if how.checkpoint is None and run.checkpoints.lost():
        raise ResumeError(
            f"All checkpoints of the run in {run.path} are gone, so there is nothing to go on "
            "from, and nothing was touched. Put them back, or train anew with overwrite=True "
            "(--overwrite), which replaces the history as well."
        )
    if how.checkpoint is None and run.checkpoints.empty():
        return None
    restored = run.checkpoints.restore(how.checkpoint)
    refuse_first_version(run, restored)
    return restored


def go_back(run: Run, found: Restoration | None, how: Resume) -> None:
    """Makes a run what it was at the checkpoint, or at its beginning if there is none."""
    if how.config is not None and how.config != run.config:
        run.configure(how.config)
    if found is None:
        run.history.clear()
        return
    if how.checkpoint is not None:  # what came after it is not part of the run any more
        run.checkpoints.remove_after(found.name)
    missing = run.history.rewind(found.meta["history"], found.root.innermost.global_step)
    if missing is not None:
        warnings.warn(f"{missing} Training goes on from {found.name!r}.", stacklevel=7)


def _changes(settings: Settings, meta: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    ran, runs = {}, {}
    for name, executor in meta["executors"].items():
        bound = settings.bound.get(name)
        # A phase keeps the executor that it began with, unless another one is asked for by name.
        if settings.executor and bound and isinstance(bound.plan.phase.source, Resident):
            ran[f"phases.{name}.executor"] = executor
            runs[f"phases.{name}.executor"] = settings.executor
    return compare({**meta["fingerprint"], **ran}, {**now, **runs})


def longer(name: str, pair: tuple[Any, Any], behind: list[str]) -> bool:
    """Whether a change only lets a phase train longer, which is not behind the run."""
    match, (old, new) = re.fullmatch(r"phases\.(.+)\.(length|limit)", name), pair
    if match is None or match[1] in behind or ABSENT in pair:
        return False
    if new is None or old is None:
        return match[2] == "limit" and new is None
    return new > old


def only_rounds(name: str) -> bool:
    """Whether a setting says on which devices, whose number changes the rounding alone."""
    return name.startswith(f"{DEVICES}.")


def _other_settings(run: Run, changes: Changes, behind: list[str] | None = None) -> ResumeError:
    return OtherSettingsError(
        f"The run in {run.path} was made with other settings than these:\n"
        + listed(changes, behind),
        way_on(run.path, " --changes allow", "changes='allow'"),
    )


def listed(changes: Changes, behind: list[str] | None = None) -> str:
    """A line for each setting that differs, got and expected."""
    over = tuple(f"phases.{name}." for name in behind or [])
    lines = [
        f"  {name}: got {new!r}, expected {old!r}"
        + (" (the run is past this phase)" if name.startswith(over) and over else "")
        for name, (old, new) in changes.items()
    ]
    if len(lines) > LISTED:
        lines = [*lines[:LISTED], f"  and {len(lines) - LISTED} more"]
    return "\n".join(lines)


def _beginnings(run: Run, settings: Settings, changes: Changes) -> tuple[Any, Any]:
    """`begin` and `renewed` of `restore_visits`."""
    phases: dict[str, Phase] = {
        bound.plan.phase.name: bound.plan.phase for bound in settings.bound.values()
    }

    def begin(name: str, position: Mapping[str, Any]) -> Visit:
        plan = settings.bound[known_phase(name, phases, run).name].plan
        arrays = eqx.filter(settings.model, is_array)
        number, attempt = position["number"], position["attempt"]
        keys = randomness.visit_keys(settings.seed, name, number, attempt)
        state = state_of(plan, arrays, keys, donate=False)
        return Visit(plan.phase, plan, number, attempt, position["origin"], state)

    def renewed(visit: Visit) -> dict[str, jax.Array]:
        """Leaves of a fresh state that hold settings of now, in place of the checkpoint's."""
        prefixes = [r"\.keys\."] if {"seed", PRNG} & changes.keys() else []
        if any(name.startswith(f"phases.{visit.phase.name}.hyper") for name in changes):
            prefixes.append(r"\.hyper")
        several = len(visit.plan.learners) > 1
        for index, learner in enumerate(visit.plan.learners):
            place = f"learners.{learner.name}" if several else "learner"
            optimizer = f"phases.{visit.phase.name}.{place}.optimizer"
            if any(name.startswith(optimizer) for name in changes):
                # Where `optax.inject_hyperparams` keeps a learning rate.
                prefixes.append(rf"\.learners\[{index}\]\.optimizer.*\.hyperparams\[")
        if not prefixes:
            return {}
        pattern = re.compile("|".join(prefixes))
        return {k: v for k, v in named(visit.state).items() if pattern.match(k)}

    return begin, renewed


def _adapt(visit: Visit, changes: Changes, meta: dict[str, Any]) -> None:
    """Lets settings that have changed have their effect on a visit."""
    phase = f"phases.{visit.phase.name}"

    def changed(*names: str) -> bool:
        return any(name.startswith(names) for name in changes)

    if changed(f"{phase}.keep", f"{phase}.validation"):
        visit.forget_best()
    cause = {
        Reason.LENGTH: not visit.finished,
        Reason.TIME: f"{phase}.limit" in changes,
        Reason.GOAL: changed(f"{phase}.goal"),
        Reason.PATIENCE: changed("callbacks."),
        Reason.CALLBACK: changed("callbacks."),
    }
    # A visit goes on if what ended it ends it no more.
    if visit.reason is not None and cause.get(visit.reason, False):
        if visit.closed:
            meta["reasons"].pop()
        visit.reason, visit.detail, visit.closed = None, "", False


def _chain(root: Visit) -> list[Visit]:
    visits = [root]
    while (child := visits[-1].child) is not None:
        visits.append(child)
    return visits
