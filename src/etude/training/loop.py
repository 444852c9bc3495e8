"""The loop of a training, on one screen, and what it does between stretches of steps."""

import time
from typing import Any

from etude.callbacks.base import Stop
from etude.engine.ending import fails
from etude.engine.processes import loss_explained, processes
from etude.run import History, Run
from etude.run.folder import HISTORY
from etude.run.history_writers import HistoryCopy
from etude.training.endings import Endings
from etude.training.journal import Journal
from etude.training.nonfinite import FaultError
from etude.training.phase_visit import Visit, with_model
from etude.training.resuming import Resume
from etude.training.saving import Saving
from etude.training.session import Session
from etude.training.signals import Signals
from etude.training.stepping import Stepping
from etude.training.subject import Subject
from etude.training.telling import Telling


class Training:
    """One sitting of a training: from its beginning, or a resume, to its end."""

    def __init__(self, subject: Subject, run: Run | None):
        settings, folder = subject.settings, None if run is None else run.path
        self.subject, self.settings, self.hooks = subject, settings, settings.hooks
        # Of several processes, the first writes the run.
        self.journal = Journal(run if run and run.writes else None, settings.on_full_disk)
        self.signals = Signals()
        self.session = Session(subject, run)
        self.telling = Telling(self.hooks, self.journal, folder, subject)
        self.stepping = Stepping(settings, subject.programs, self.signals, self.telling)
        self.boundary = subject.boundary(self.session, self.telling, self.signals.poll)
        saving = Saving(run, self.hooks, self.journal)
        self.endings = Endings(self.session, saving, self.telling)
        #: of what the training leaves
        self.metrics: dict[str, Any] = {}

    def run_through(self, resume: Resume | None = None) -> None:
        """All phases, from the first or from a checkpoint, with every way to end."""
        with self.signals:
            try:
                with loss_explained():
                    self._through(resume)
            except BaseException as error:
                fails(processes())
                self.endings.badly(error)
                raise
            self.endings.shut()
            processes().first_says(lambda: None)  # its files are closed: others may read them

    def history(self) -> History:
        """What was written, once the training is over: in all processes what the first wrote."""
        run = self.session.run
        if run is None or self.journal.run is not None:
            return self.journal.written()
        return History(HistoryCopy.of(run.path / HISTORY))

    def _through(self, resume: Resume | None) -> None:
        self.session.start(resume, self.journal)
        self.telling.call("on_train_begin", self.session.root.innermost)
        while not self._all_phases():
            pass  # after a roll-back
        self.metrics = self.boundary.measure_outcome(self.session.root)
        # The end is told last, so that whatever fails before is told as an exception.
        self.endings.save()
        self.endings.saving.wait()
        self.telling.call("on_train_end", self.session.root)

    def _all_phases(self) -> bool:
        """Runs the phases from where the training stands; False after a roll-back."""
        phases = self.settings.phases
        try:
            while True:
                visit = self.session.root
                self._run_visit(visit)
                index = phases.index(visit.phase) + 1
                if index == len(phases):
                    return True
                self.session.go_on_to(phases[index])
                self.endings.save()
        except FaultError as fault:
            self.endings.roll_back(fault)
            return False

    def _run_visit(self, visit: Visit) -> None:
        """One visit to a phase: to the next boundary, whatever is due there, and so on."""
        self._open(visit)
        while visit.reason is None or visit.child is not None:
            if visit.child is not None:  # a rescue is under way, perhaps since before a resume
                self._run_visit(visit.child)
                self._take_over(visit, visit.child)
                continue
            self.stepping.advance(visit)
            # What ends the visit is known before the validation, which is also made at the end.
            ending = self._ending(visit)
            measured = self.boundary.validate(visit, last=ending is not None)
            self.hooks.settle()
            # Decided before the checkpoint is made, so that a resume need not decide again.
            self.boundary.decide(visit, measured, ending)
            visit.processed = visit.step
            if asked := self.hooks.take_save():
                self.endings.save(optional=asked.optional)
        self._close(visit)

    def _ending(self, visit: Visit) -> Stop | None:
        """What ends the visit before its validations, in all processes alike."""
        late = processes().first_says(lambda: visit.late)
        self.hooks.settle()
        return self.hooks.stop or visit.ending(late=late)

    def _take_over(self, visit: Visit, rescue: Visit) -> None:
        """The visit goes on with what its rescue has made."""
        visit.state, visit.child = with_model(visit.state, rescue.outcome()), None
        visit.origin = rescue.global_step - visit.step
        if not visit.keeps_best:
            visit.forget_verdict()
        self._enter(visit)

    def _open(self, visit: Visit) -> None:
        visit.entered = time.monotonic()
        if visit.child is None:
            self._enter(visit)
        if not visit.begun:
            self.journal.event(visit, "phase_begin", **self.subject.details(visit))
            visit.begun = True
        self.endings.open.append(visit)
        self.telling.call("on_phase_begin", visit)

    def _enter(self, visit: Visit) -> None:
        """Compiles the phase, unless it is, and points it to the data of this visit."""
        if visit.reason is None:
            seconds = self.subject.programs.compiled(visit)
            if seconds is not None:
                self.telling.took(visit, "compile", seconds)
            self.subject.programs.enter(visit)

    def _close(self, visit: Visit) -> None:
        reason = visit.reason
        assert reason is not None
        if not visit.closed:
            self.journal.end(visit, reason)
            self.session.ended(visit, reason)
            visit.closed = True
        self.endings.open.remove(visit)
        self.telling.call("on_phase_end", visit, reason)
        self.hooks.take_stop()  # the visit has ended already, and another one is not meant
