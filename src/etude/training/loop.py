"""The loop of a training, on one screen, and what it does between stretches of steps."""

import time
from typing import Any

from etude.callbacks.base import Reason, Stop
from etude.run import Run
from etude.training.endings import Endings
from etude.training.journal import Journal
from etude.training.judge import Judge
from etude.training.nonfinite import FaultError
from etude.training.phase_visit import Visit, with_model, without_model
from etude.training.programs import Programs
from etude.training.resuming import Resume
from etude.training.saving import Saving
from etude.training.session import Session
from etude.training.settings import Settings
from etude.training.signals import Signals
from etude.training.stepping import Stepping
from etude.training.telling import Telling


class Training:
    """One sitting of a training: from its beginning, or a resume, to its end."""

    def __init__(self, settings: Settings, run: Run | None):
        self.settings, self.hooks = settings, settings.hooks
        self.journal = Journal(run, settings.on_full_disk)
        self.signals = Signals()
        self.programs = Programs(settings)
        self.session = Session(settings, run, self.programs)
        self.telling = Telling(self.hooks, self.journal, None if run is None else run.path)
        self.stepping = Stepping(settings, self.programs, self.signals, self.telling)
        self.judge = Judge(settings, self.signals.poll)
        saving = Saving(run, self.hooks, self.journal)
        self.endings = Endings(self.session, saving, self.programs, self.telling)
        #: of the model that the training leaves
        self.metrics: dict[str, Any] = {}

    def run_through(self, resume: Resume | None = None) -> None:
        """All phases, from the first or from a checkpoint, with every way to end."""
        with self.signals:
            try:
                self.session.start(resume, self.journal)
                self.telling.call("on_train_begin", self.session.root.innermost)
                while not self._all_phases():
                    pass  # after a roll-back
                self._measure_outcome(self.session.root)
                # The end is told last, so that whatever fails before is told as an exception.
                self.endings.save()
                self.endings.saving.wait()
                self.telling.call("on_train_end", self.session.root)
            except BaseException as error:
                self.endings.badly(error)
                raise
            self.endings.shut()

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
            ending = self.hooks.stop or visit.ending()
            measured = self._validate(visit, last=ending is not None)
            # Decided before the checkpoint is made, so that a resume need not decide again.
            self._decide(visit, measured, ending)
            visit.processed = visit.step
            if asked := self.hooks.take_save():
                self.endings.save(optional=asked.optional)
        self._close(visit)

    def _validate(self, visit: Visit, *, last: bool) -> dict[str, Any] | None:
        """The metrics of the validations that are due, of all at the `last`; None if none is."""
        made: dict[int, dict[str, Any]] = {}
        for place in self.judge.due(visit, last=last):
            began = time.perf_counter()
            ema = visit.phase.validations[place].ema
            arrays = visit.plan.arrays(visit.state, ema=ema)
            made[place] = self.judge.measure(visit, place, arrays, visit.step)
            visit.note_best(made[place], arrays, ema=ema)
            self.telling.took(visit, "valid", time.perf_counter() - began)
        if not made:
            return None
        visit.note_verdict(made)
        found = {name: value for metrics in made.values() for name, value in metrics.items()}
        self.journal.validation(visit, found)
        self.session.validations.append(found)
        self.telling.call("on_validation_end", visit, found)
        return found

    def _measure_outcome(self, visit: Visit) -> None:
        """The validations of the last phase on the model that the training leaves."""
        began = time.perf_counter()
        if self.judge.complete(visit):
            self.telling.took(visit, "valid", time.perf_counter() - began)
        for metrics in visit.verdict.values():
            self.metrics |= metrics

    def _decide(self, visit: Visit, measured: dict[str, Any] | None, ending: Stop | None) -> None:
        """Whether the visit ends here, and whether a rescue must come first."""
        # A stop that the validation asked for says more than the length that is reached.
        ending, phase = self.hooks.take_stop() or ending, visit.phase
        if measured is not None and phase.reached(measured):
            visit.reason, visit.detail = Reason.GOAL, ", ".join(map(str, phase.goals))
        elif ending is not None:
            visit.reason, visit.detail = ending.reason, ending.detail
        if measured is None or phase.rescue is None:
            return
        if phase.rescue.when(list(self.session.validations)):
            rescue = phase.rescue.phase
            self.journal.event(visit, "rescue", by=rescue.name)
            visit.child = self.session.visit(rescue, visit.state.model, visit.global_step)
            visit.state = without_model(visit.state)

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
            self.journal.event(visit, "phase_begin")
            visit.begun = True
        self.endings.open.append(visit)
        self.telling.call("on_phase_begin", visit)

    def _enter(self, visit: Visit) -> None:
        """Compiles the phase, unless it is, and points it to the data of this visit."""
        if visit.reason is None:
            seconds = self.programs.compiled(visit)
            if seconds is not None:
                self.telling.took(visit, "compile", seconds)
            self.programs.enter(visit)

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
