"""Tells callbacks where the training stands, and how long things took."""

from pathlib import Path
from typing import Any

from etude.callbacks.base import Event
from etude.run.durations import What
from etude.training.hooks import Hooks
from etude.training.journal import Journal
from etude.training.phase_visit import Visit
from etude.training.subject import Subject


class Telling:
    """The hooks of the callbacks, called with the place of a visit and a way to its model."""

    def __init__(self, hooks: Hooks, journal: Journal, folder: Path | None, subject: Subject):
        self.hooks, self.journal, self.folder, self.subject = hooks, journal, folder, subject

    def call(self, hook: str, visit: Visit, *arguments: Any) -> None:
        """Calls one hook of every callback."""
        self.hooks.call(hook, self.event(visit), *arguments)

    def took(self, visit: Visit, what: What, seconds: float, steps: int = 0) -> None:
        """Something took so long: written down, and told."""
        self.journal.took(visit, what, seconds, steps)
        self.call("on_time", visit, what, seconds, steps)

    def event(self, visit: Visit) -> Event:
        """Where the training stands."""
        return Event(
            phase=visit.phase.name,
            visit=visit.number,
            step=visit.step,
            total_steps=visit.phase.total_steps,
            steps_per_epoch=visit.phase.steps_per_epoch,
            global_step=visit.global_step,
            folder=self.folder,
            model=self.subject.model_of(visit),
            members=self.subject.count,
            groups=self.subject.groups,
            teams=self.subject.teams(visit),
        )
