"""A member of a population as a run of its own: what its lone training would have left."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etude.callbacks.base import Reason, StepMetrics
from etude.callbacks.members import column, of_member
from etude.population.binding import Bound
from etude.population.resuming import restored_visit
from etude.population.states import activated
from etude.population.subject import Members
from etude.run import History, Run
from etude.training.journal import Journal
from etude.training.loop import Training
from etude.training.one_model import OneModel
from etude.training.phase_visit import Visit
from etude.training.settings import Settings


@dataclass(frozen=True)
class FinishedPopulation:
    """The run of a population that is trained, read from its folder."""

    subject: Members
    front: Visit
    meta: dict[str, Any]
    history: History

    @classmethod
    def open(cls, bound: Bound, folder: Path) -> "FinishedPopulation":
        """That in a folder, made by the trainer of this population."""
        subject = Members(bound.anew())
        with Run.open(folder, lock=False) as run:
            restored = run.checkpoints.restore()
            front = restored_visit(subject, run, restored)
        return cls(subject, front, restored.meta, History.open(folder))

    @property
    def members(self) -> tuple[Visit, ...]:
        """Where each member ended, without its state."""
        return self.front.members

    def at_fault(self, member: int) -> bool:
        """Whether a loss or an update of a member was not finite."""
        return self.members[member].reason is Reason.FAULT

    def hand_out(self, member: int, settings: Settings, run: Run) -> None:
        """Writes the history of a member, and a checkpoint of its end, into a run.

        `settings` are those of its lone training, which can load the run and go on with it.
        """
        run.history.clear()  # of an attempt that was killed
        lone = Training(OneModel(settings), run)
        name, seen = self.front.phase.name, self.subject.seen(self.front, member)
        plan = settings.bound[name].plan
        root = replace(
            seen, phase=plan.phase, plan=plan, begun=True, closed=True,
            processed=seen.step, seconds=self.front.seconds,
            state=activated(seen.state, [True]),  # it has ended, but does not stand still
        )  # fmt: skip
        phases = [phase for phase, _ in self.meta["reasons"]]
        reasons = [(phase, self._ending(phase, member).reason) for phase in phases]
        lone.session.take_over(root, self.meta["visit_counts"], reasons)
        executors = self.meta["executors"].items()
        lone.subject.programs.executors |= {n: e for n, e in executors if n in settings.bound}
        for event in self.history.events:
            if event["event"] == "phase_begin":
                self._write(lone.journal, replace(root, **_place(settings, event)), member)
        lone.endings.save()
        lone.endings.shut()

    def _write(self, journal: Journal, visit: Visit, member: int) -> None:
        """The records of a member in one phase, by the names of a lone training."""
        journal.event(replace(visit, step=0), "phase_begin")
        here = {"phase": visit.phase.name, "visit": visit.number}
        mine = [one for one in self.history.events if here.items() <= one.items()]
        # The last one counts: a phase that became longer ends again.
        end = [one for one in mine if one["event"] == "phase_end"][-1]
        told = self._ending(visit.phase.name, member)
        own = replace(visit, step=end["step"] if told.step is None else told.step)
        names: list[str] = []
        columns: list[np.ndarray] = []
        for name in self.history.names:
            if name.startswith("train/") and name.endswith(column("", member)):
                found = self.history[name]
                made = (found.step > own.origin) & (found.step <= own.global_step)
                if made.any():
                    (short,) = of_member({name.removeprefix("train/"): name}, member)
                    names.append(short)
                    columns.append(found.value[made])
        if columns:
            journal.steps(own, StepMetrics(tuple(names), 1, np.stack(columns, axis=1)))
        for one in self.history.validations:
            metrics = of_member(one, member)
            if here.items() <= one.items() and metrics:
                journal.validation(replace(visit, step=one["step"]), metrics)
        detail = {"detail": told.detail} if told.detail else {}
        journal.event(own, "phase_end", reason=told.reason.name, **detail)

    def _ending(self, phase: str, member: int) -> "_Ending":
        """How a phase ended for a member; the population ended it by the reason of its last one."""
        if phase == self.front.phase.name:
            visit = self.members[member]
            assert visit.reason is not None
            detail = "; ".join(filter(None, [visit.detail, visit.without_best()]))
            return _Ending(visit.reason, detail, visit.step)
        for one in reversed(self.history.events):
            if (one["event"], one.get("phase"), one.get("member")) == ("member_end", phase, member):
                return _Ending(Reason[one["reason"]], one.get("detail", ""), one["at"])
        return _Ending(Reason.LENGTH)  # of which there is no event


class _Ending(NamedTuple):
    """Why a member ended a phase, and after how many steps; None: all of the phase."""

    reason: Reason
    detail: str = ""
    step: int | None = None


def _place(settings: Settings, event: dict[str, Any]) -> dict[str, Any]:
    """Where the visit stands that an event begins."""
    phase = settings.bound[event["phase"]].plan.phase
    return {"phase": phase, "number": event["visit"], "origin": event["global_step"]}
