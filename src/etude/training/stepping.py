"""Steps from one boundary to the next: nothing here is compiled, nothing runs inside a chunk."""

import contextlib
from typing import Any

import jax

from etude.callbacks.base import StepMetrics
from etude.engine.processes import processes
from etude.engine.surroundings import setting
from etude.training.chunk_length import Pace
from etude.training.nonfinite import FaultError
from etude.training.phase_visit import Visit
from etude.training.settings import Settings
from etude.training.signals import Signals
from etude.training.subject import ProgramsOf, Read
from etude.training.telling import Telling


class Stepping:
    """Makes the steps of visits, and tells what they gave."""

    def __init__(
        self, settings: Settings, programs: ProgramsOf, signals: Signals, telling: Telling
    ):
        self.settings, self.hooks = settings, settings.hooks
        self.programs, self.signals, self.telling = programs, signals, telling
        self.pace, self.together = Pace(), processes()
        #: whose step callbacks know to begin, and which
        self._begun: tuple[Visit | None, int] = (None, -1)

    def advance(self, visit: Visit) -> None:
        """Steps up to the next boundary; one chunk is made while the one before is read.

        Raises `FaultError` where a loss or an update was not finite.
        """
        self.signals.poll()
        target = self.together.first_says(lambda: self._boundary(visit))
        ahead, pending = visit.step, None
        if ahead < target and not self.hooks.requested:
            self._begin_epoch(visit)
            self._begin_batch(visit)
        self.pace.start()
        while steps := self._next(visit, target - ahead):
            program = self.programs.of(visit)
            with _guard():
                visit.state, chunk = program.advance(
                    visit.state, ahead, steps, lambda: self._cuts_short(visit)
                )
            ahead += steps
            if pending is not None:
                self._read(visit, pending)
            pending = chunk
        if pending is not None:
            self._read(visit, pending)
        self.signals.poll()

    def _boundary(self, visit: Visit) -> int:
        """The next step at which something other than steps must happen."""
        phase, done = visit.phase, visit.processed
        intervals = [phase.in_steps(v.every) for v in phase.validations]
        if self.hooks.epochs and phase.steps_per_epoch:
            intervals.append(phase.steps_per_epoch)
        if self.hooks.every_step:
            intervals.append(1)
        ends = [(done // n + 1) * n for n in intervals]
        for end in (self.hooks.next_step(self.telling.event(visit)), phase.total_steps):
            ends += [] if end is None else [end]
        return min(ends)

    def _next(self, visit: Visit, left: int) -> int:
        """Steps of the next chunk, as the first process has it; 0 where a boundary is asked for."""
        asked = self._interrupts(visit) or self.hooks.requested or visit.stands_still

        def steps() -> int:
            return 0 if asked else min(self.pace.steps(), left)

        return self.together.first_says(steps) if left > 0 else 0

    def _interrupts(self, visit: Visit) -> bool:
        """Whether a signal or the time limit asks for a boundary."""
        return self.signals.noticed() or visit.late

    def _cuts_short(self, visit: Visit) -> bool:
        """Whether they end a chunk before its length, which several processes have agreed on."""
        return self.together.alone and self._interrupts(visit)

    def _read(self, visit: Visit, chunk: Read) -> None:
        """Waits for a chunk, writes its metrics down and shows them to the callbacks."""
        rows, visit.step, fault = chunk.read()
        seconds = self.pace.made(len(rows))
        metrics = StepMetrics(self.programs.of(visit).metrics, chunk.first + 1, rows)
        self.settings.reports.saw_steps(visit.phase, metrics.names)
        self.telling.journal.steps(visit, metrics)
        self.telling.took(visit, "train", seconds, len(rows))
        if waited := self.programs.take_waited(visit):
            self.telling.took(visit, "data", waited)
        if not len(rows):
            return  # all members were at fault before it began
        if fault:
            raise FaultError(visit, fault, metrics)
        event = self.telling.event(visit)
        self.hooks.steps(event, metrics)
        per_epoch = event.steps_per_epoch
        if self.hooks.epochs and per_epoch and visit.step % per_epoch == 0:
            self.hooks.call("on_epoch_end", event)

    def _begin_epoch(self, visit: Visit) -> None:
        """Tells that an epoch begins, once: not again after a resume in it."""
        event = self.telling.event(visit)
        if self.hooks.epochs and event.steps_per_epoch and event.epoch >= visit.epochs_begun:
            visit.epochs_begun = event.epoch + 1
            self.hooks.call("on_epoch_begin", event)

    def _begin_batch(self, visit: Visit) -> None:
        """Tells that a step begins, once: not again after a checkpoint that a hook asked for."""
        if self.hooks.every_step and self._begun != (visit, visit.step):
            self._begun = visit, visit.step
            self.hooks.call("on_batch_begin", self.telling.event(visit))


def _guard() -> contextlib.AbstractContextManager[Any]:
    """No step may move data to the device or back, except where JAX runs uncompiled."""
    if setting("disable_jit"):
        return contextlib.nullcontext()
    return jax.transfer_guard("disallow")
