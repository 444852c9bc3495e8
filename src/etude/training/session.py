"""What belongs to a training as a whole: the visits so far, and what a checkpoint says of them."""

from collections import deque
from dataclasses import replace
from typing import Any

from etude.callbacks.base import Reason, Stop
from etude.engine.phase import MEMORY, Phase
from etude.engine.processes import processes
from etude.run import Run
from etude.training.journal import Journal
from etude.training.phase_visit import Visit
from etude.training.resuming import Restoration, Resume, checkpoint_of, go_back
from etude.training.subject import Place, Subject


class Session:
    """A training from its beginning to now, across sittings."""

    def __init__(self, subject: Subject, run: Run | None):
        self.subject, self.settings, self.run = subject, subject.settings, run
        self.fingerprint = {} if run is None else subject.fingerprint()
        #: visits to each phase that have begun
        self.counts: dict[str, int] = {}
        #: what a rescue goes by: the latest validations, so that a checkpoint does not grow
        self.validations: deque[dict[str, Any]] = deque(maxlen=MEMORY)
        self.reasons: list[tuple[str, Reason]] = []
        self.rollbacks = 0
        self._root: Visit | None = None

    @property
    def begun(self) -> bool:
        """Whether there is anything to save."""
        return self._root is not None

    @property
    def root(self) -> Visit:
        """The visit to one of the phases of the trainer; a rescue in it is its child."""
        assert self._root is not None
        return self._root

    def hand_over(self) -> Any:
        """The model that the training leaves; nothing can be trained or saved after this."""
        return self.subject.model(self.root.innermost)

    def start(self, resume: Resume | None, journal: Journal) -> None:
        """Begins anew, or as `resume` says where there is a checkpoint."""
        if resume is None or not self._rewind(resume, journal):
            self.counts, self.reasons = {}, []
            self.validations.clear()
            self.settings.hooks.begin()
            arrays = self.subject.first()
            self._root = self.visit(self.settings.phases[0], arrays, 0, donate=False)

    def take_over(
        self, root: Visit, counts: dict[str, int], reasons: list[tuple[str, Reason]]
    ) -> None:
        """Stands where a training has come that was made elsewhere."""
        self._root, self.counts, self.reasons = root, counts, reasons

    def go_on_to(self, phase: Phase) -> None:
        """The next phase begins with what the one before has left."""
        arrays = self.subject.hand_over(self.root)
        self._root = self.visit(phase, arrays, self.root.global_step)

    def visit(self, phase: Phase, arrays: Any, origin: int, *, donate: bool = True) -> Visit:
        """A new visit to a phase, which the arrays are given to, or copied for."""
        number = self.counts.get(phase.name, 0)
        self.counts[phase.name] = number + 1
        place = Place(number, self.rollbacks, origin)
        return self.subject.visit(phase, arrays, place, donate=donate)

    def ended(self, visit: Visit, reason: Reason) -> None:
        """A visit has ended."""
        self.reasons.append((visit.phase.name, reason))

    def as_json(self) -> dict[str, Any]:
        """What a checkpoint says beside its visits."""
        settings, stop = self.settings, self.settings.hooks.stop
        rescued = any(bound.plan.phase.rescue for bound in settings.bound.values())
        return {
            "seed": settings.seed,
            "fingerprint": self.fingerprint,
            "visit_counts": self.counts,
            "validations": list(self.validations) if rescued else [],
            "reasons": [[name, reason.name] for name, reason in self.reasons],
            "executors": self.subject.programs.executors,
            "rollbacks": self.rollbacks,
            "callbacks": settings.hooks.states(),
            # Asked for, but not decided upon when a signal came.
            "stop": stop and [stop.reason.name, stop.detail],
            **self.subject.as_json(),
        }

    def _rewind(self, how: Resume, journal: Journal) -> bool:
        """Back to a checkpoint, with the history of that moment; False if there was none."""
        assert self.run is not None
        found = self._found(self.run, how)
        if self.run.writes:
            go_back(self.run, found, how)
        if found is None:
            return False
        self._root = found.root
        self._take_back(found.meta)
        if found.note:
            journal.event(found.root.innermost, "resume", **found.note)
        return True

    def _found(self, run: Run, how: Resume) -> Restoration | None:
        """The checkpoint to go on from: of several processes, the one that the first has chosen.

        Raises `ConfigurationError` in all of them if another one has other files of that name.
        """
        together = processes()
        if together.alone:
            return self.subject.restore(run, self.fingerprint, how)

        def choose() -> str | None:
            restored = checkpoint_of(run, how)
            return None if restored is None else restored.name

        name = together.first_says(choose)
        if name is None:
            return None
        digest = together.all_do(lambda: run.checkpoints.digest(name))
        together.all_agree({f"checkpoint {name} of {run.path} (a digest)": digest})
        chosen = replace(how, checkpoint=name)
        return together.all_do(lambda: self.subject.restore(run, self.fingerprint, chosen))

    def _take_back(self, meta: dict[str, Any]) -> None:
        hooks = self.settings.hooks
        self.counts = meta["visit_counts"]
        self.validations = deque(meta["validations"], MEMORY)
        self.reasons = [(name, Reason[reason]) for name, reason in meta["reasons"]]
        # A roll-back keeps each phase's executor, so that the repeated steps give the same bits.
        self.subject.programs.executors |= meta["executors"]
        self.rollbacks = meta["rollbacks"]
        hooks.restore(meta["callbacks"])
        stop = meta["stop"]
        hooks.stop = None if stop is None else Stop(Reason[stop[0]], stop[1])
        hooks.save = None
