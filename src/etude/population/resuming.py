"""Going on with the run of a population, to the same bits as if never interrupted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.callbacks.base import Reason, Stop
from etude.engine.named_arrays import expected
from etude.errors import ResumeError
from etude.run import Run, compare_leaves
from etude.run.checkpoints import Restored, Shared, placed
from etude.training.fingerprint import Changes, compare
from etude.training.phase_visit import Visit
from etude.training.restoring import below, known_phase
from etude.training.resuming import (
    Restoration,
    Resume,
    checkpoint_of,
    listed,
    longer,
    only_rounds,
)
from etude.training.subject import Place

if TYPE_CHECKING:
    from etude.population.subject import Members


def restored_population(
    subject: "Members", run: Run, fingerprint: Mapping[str, Any], how: Resume
) -> Restoration | None:
    """The checkpoint to go on from; None if there never was one.

    Only a length or a limit may be another, and longer, and the devices. Raises `ResumeError` for
    any other setting, and what a lone training raises for its checkpoints.
    """
    restored = checkpoint_of(run, how)
    if restored is None:
        return None
    meta = restored.meta
    _refuse_lone(run, restored)
    changes = compare(meta["fingerprint"], fingerprint)
    first = [phase.name for phase in subject.settings.phases]
    stands = meta["visits"][0]["phase"]
    behind = first[: first.index(stands)] if stands in first else []
    serious = {
        name: pair
        for name, pair in changes.items()
        if not (longer(name, pair, behind) or only_rounds(name))
    }
    if serious:
        raise ResumeError(
            f"The run in {run.path} was made with other settings than these:\n"
            f"{listed(serious, behind)}\nA population goes on with the settings that began it, "
            "of which only a phase may become longer. Train anew with the others."
        )
    root = restored_visit(subject, run, restored)
    _go_on(subject, root, meta, changes)
    hooks = subject.settings.hooks
    hooks.member_stops = {
        number: Stop(Reason[reason], detail, number)
        for number, reason, detail in meta["member_stops"]
    }
    return Restoration(restored.name, root, meta, changes)


def _refuse_lone(run: Run, restored: Restored) -> None:
    if "teams" not in restored.meta:
        raise ResumeError(
            f"The run in {run.path} trains one model, not a population. Take a trainer without "
            "population for it."
        )


def restored_visit(subject: "Members", run: Run, restored: Restored) -> Visit:
    """The visit of a checkpoint, with its members and the states of its teams."""
    meta = restored.meta
    subject.programs.teams = {
        name: tuple(map(tuple, teams)) for name, teams in meta["teams"].items()
    }
    subject.programs.threads = dict(meta["threads"])
    subject.programs.executors |= meta["executors"]
    front, *members = meta["visits"]
    phases = {phase.name: phase for phase in subject.settings.phases}
    phase = known_phase(front["phase"], phases, run)
    place = Place(front["number"], front["attempt"], front["origin"])
    visit = subject.begun(phase, place)
    visit.state = subject.fresh(phase.name, place)
    found, wanted = below("0/state", restored.leaves), expected(visit.state)
    difference = compare_leaves(wanted, found)
    if difference is not None:
        raise ResumeError(
            f"Checkpoint {restored.name} of {run.path} is of other models or another optimizer:\n"
            f"{difference}\nResume with the population, phases and optimizers that began the run."
        )
    visit.take_back(front, placed(found, wanted), None)
    subject.divide(visit)
    for number, (member, position) in enumerate(zip(visit.members, members, strict=True), 1):
        best = below(f"{number}/best", restored.leaves)
        member.take_back(position, {}, Shared(best) if best else None)
    return visit


def _go_on(subject: "Members", visit: Visit, meta: dict[str, Any], changes: Changes) -> None:
    """A phase that has become longer goes on for those that its length or limit had ended."""
    if visit.finished:
        return
    longer_limit = f"phases.{visit.phase.name}.limit" in changes
    overcome = {Reason.LENGTH, *([Reason.TIME] if longer_limit else [])}
    for member in visit.members:
        if member.reason in overcome:
            member.reason, member.detail, member.closed = None, "", False
    going = [member.reason is None for member in visit.members]
    if visit.reason is not None and any(going):
        if visit.closed:
            meta["reasons"].pop()
        visit.reason, visit.detail, visit.closed = None, "", False
        visit.state = subject.activated(visit, visit.state)


def load_population(subject: "Members", run: Run, checkpoint: str | None) -> tuple[Any, ...]:
    """The models of all members as a checkpoint has them."""
    restored = run.checkpoints.restore(checkpoint)
    _refuse_lone(run, restored)
    return subject.model(restored_visit(subject, run, restored))
