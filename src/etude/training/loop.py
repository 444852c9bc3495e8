"""The loop of a training, on one screen, and what it does between chunks.

Nothing here is compiled, and nothing here runs inside a chunk of steps.
"""

import contextlib
import time
from typing import Any

import equinox as eqx
import jax

from etude.callbacks.base import Event, Reason, StepMetrics, Stop
from etude.engine import randomness
from etude.engine.chunk import Chunk
from etude.engine.leaf_roles import is_array
from etude.engine.phase import Phase
from etude.engine.place import Place
from etude.engine.step import copied, state_of
from etude.engine.surroundings import setting
from etude.run import Run
from etude.run.durations import What
from etude.training.chunk_length import Pace
from etude.training.fingerprint import fingerprint
from etude.training.journal import Journal
from etude.training.judge import Judge
from etude.training.nonfinite import FaultError, given_up
from etude.training.programs import Programs
from etude.training.resuming import Resume, go_back, load_visit, restoration
from etude.training.saving import Saving
from etude.training.settings import Settings
from etude.training.signals import Interrupted, Signals
from etude.training.store import with_model, without_model
from etude.training.visit import Visit


class Training:
    """One sitting of a training: from its beginning, or a resume, to its end."""

    def __init__(self, settings: Settings, run: Run | None):
        self.settings, self.run, self.hooks = settings, run, settings.hooks
        self.journal = Journal(run, settings.on_full_disk)
        self.saving = Saving(run, self.hooks, self.journal)
        self.pace = Pace()
        self.signals = Signals()
        self.programs = Programs(settings)
        self.judge = Judge(settings, self.signals.poll)
        self.fingerprint = {} if run is None else fingerprint(settings)
        #: those of the model that the training leaves
        self.metrics: dict[str, Any] = {}
        # The session: what belongs to the training as a whole, and to its checkpoints.
        self.visits: dict[str, int] = {}
        self.validations: list[dict[str, Any]] = []
        self.reasons: list[tuple[str, Reason]] = []
        self.rollbacks = 0
        self.root: Visit | None = None
        #: visits whose beginning the callbacks have seen in this sitting, but not their end
        self.open: list[Visit] = []

    def run_through(self, resume: Resume | None = None) -> None:
        """All phases, from the first or from a checkpoint, with every way to end."""
        with self.signals:
            try:
                self.root = (self._rewind(resume) if resume else None) or self._first()
                self.hooks.call("on_train_begin", self._event())
                while not self._all_phases():
                    pass  # after a roll-back
                self._measure_outcome(self._visit())
                # The end is told last, so that whatever fails before is told as an exception.
                self._save()
                self.saving.wait()
                self.hooks.call("on_train_end", self._event())
            except BaseException as error:
                self._end_badly(error)
                raise
            self._shut()

    def _all_phases(self) -> bool:
        """Runs the phases from where the root visit stands; False after a roll-back."""
        phases = self.settings.phases
        try:
            while True:
                visit = self._visit()
                self._run_visit(visit)
                index = phases.index(visit.phase) + 1
                if index == len(phases):
                    return True
                self.root = self._begin(phases[index], visit.outcome(), visit.global_step)
                self._save()
        except FaultError as fault:
            self._roll_back(fault)
            return False

    def _run_visit(self, visit: Visit) -> None:
        """One visit to a phase: to the next boundary, whatever is due there, and so on."""
        self._open(visit)
        while visit.reason is None or visit.child is not None:
            if visit.child is not None:  # a rescue is under way, perhaps since before a resume
                self._run_visit(visit.child)
                self._take_over(visit, visit.child)
                continue
            self._advance(visit)
            # What ends the visit is known before the validation, which is also made at the end.
            ending = self.hooks.stop or visit.ending()
            measured = self._validate(visit, last=ending is not None)
            # Decided before the checkpoint is made, so that a resume need not decide again.
            self._decide(visit, measured, ending)
            visit.processed = visit.step
            if self.hooks.take_save():
                self._save()
        self._close(visit)

    def _advance(self, visit: Visit) -> None:
        """Steps up to the next boundary; one chunk is made while the one before is read."""
        self.signals.poll()
        target, ahead, pending = self._boundary(visit), visit.step, None
        if ahead < target and not self.hooks.requested:
            self._begin_epoch(visit)
        self.pace.start()
        while ahead < target and not self.hooks.requested and not self._interrupts(visit):
            steps = min(self.pace.steps(), target - ahead)
            program = self.programs.of(visit)
            with _guard():
                visit.state, chunk = program.advance(
                    visit.state, ahead, steps, lambda: self._interrupts(visit)
                )
            ahead += steps
            if pending is not None:
                self._read(visit, pending)
            pending = chunk
        if pending is not None:
            self._read(visit, pending)
        self.signals.poll()

    def _interrupts(self, visit: Visit) -> bool:
        """Whether a signal or the time limit asks for the end of the chunk."""
        return self.signals.name is not None or visit.late

    def _read(self, visit: Visit, chunk: Chunk) -> None:
        """Waits for a chunk, writes its metrics down and shows them to the callbacks."""
        rows, visit.step, fault = chunk.read()
        seconds = self.pace.made(len(rows))
        metrics = StepMetrics(self.programs.of(visit).metrics, chunk.first + 1, rows)
        self.settings.reports.saw_steps(visit.phase, metrics.names)
        self.journal.steps(visit, metrics)
        self._took(visit, "train", seconds, len(rows))
        if waited := self.programs.take_waited(visit):
            self._took(visit, "data", waited)
        if fault:
            raise FaultError(visit, fault, metrics)
        event = self._event(visit)
        self.hooks.steps(event, metrics)
        per_epoch = event.steps_per_epoch
        if self.hooks.epochs and per_epoch and visit.step % per_epoch == 0:
            self.hooks.call("on_epoch_end", event)

    def _begin_epoch(self, visit: Visit) -> None:
        """Tells that an epoch begins, once: not again after a resume in it."""
        event = self._event(visit)
        if self.hooks.epochs and event.steps_per_epoch and event.epoch >= visit.epochs_begun:
            visit.epochs_begun = event.epoch + 1
            self.hooks.call("on_epoch_begin", event)

    def _boundary(self, visit: Visit) -> int:
        """The next step at which something other than steps must happen."""
        phase, done = visit.phase, visit.processed
        intervals = [phase.in_steps(v.every) for v in phase.validations]
        if self.hooks.epochs and phase.steps_per_epoch:
            intervals.append(phase.steps_per_epoch)
        if self.hooks.every_step:
            intervals.append(1)
        ends = [(done // n + 1) * n for n in intervals]
        for end in (self.hooks.next_step(self._event(visit)), phase.total_steps):
            ends += [] if end is None else [end]
        return min(ends)

    def _validate(self, visit: Visit, *, last: bool) -> bool:
        """The validations that are due, all of them at the `last`; whether there was any."""
        made: dict[int, dict[str, Any]] = {}
        for place in self.judge.due(visit, last=last):
            began = time.perf_counter()
            ema = visit.phase.validations[place].ema
            arrays = visit.plan.arrays(visit.state, ema=ema)
            made[place] = self.judge.measure(visit, place, arrays, visit.step)
            visit.note_best(made[place], arrays, ema=ema)
            self._took(visit, "valid", time.perf_counter() - began)
        if not made:
            return False
        visit.note_verdict(made)
        found = {name: value for metrics in made.values() for name, value in metrics.items()}
        self.journal.validation(visit, found)
        self.validations.append(found)
        self.hooks.call("on_validation_end", self._event(visit), found)
        return True

    def _measure_outcome(self, visit: Visit) -> None:
        """The validations of the last phase on the model that the training leaves."""
        began = time.perf_counter()
        if self.judge.complete(visit):
            self._took(visit, "valid", time.perf_counter() - began)
        for metrics in visit.verdict.values():
            self.metrics |= metrics

    def _decide(self, visit: Visit, measured: bool, ending: Stop | None) -> None:
        """Whether the visit ends here, and whether a rescue must come first."""
        # A stop that the validation asked for says more than the length that is reached.
        ending, phase = self.hooks.take_stop() or ending, visit.phase
        if measured and phase.reached(self.validations[-1]):
            visit.reason, visit.detail = Reason.GOAL, ", ".join(map(str, phase.goals))
        elif ending is not None:
            visit.reason, visit.detail = ending.reason, ending.detail
        if measured and phase.rescue is not None and phase.rescue.when(self.validations):
            rescue = phase.rescue.phase
            self.journal.event(visit, "rescue", by=rescue.name)
            visit.child = self._begin(rescue, visit.state.model, visit.global_step)
            visit.state = without_model(visit.state)

    def _take_over(self, visit: Visit, rescue: Visit) -> None:
        """The visit goes on with what its rescue has made."""
        visit.state, visit.child = with_model(visit.state, rescue.outcome()), None
        visit.origin = rescue.global_step - visit.step
        if not visit.keeps_best:
            visit.forget_verdict()
        self._enter(visit)

    # Visits: how they begin and end.

    def _first(self) -> Visit:
        self.visits, self.validations, self.reasons = {}, [], []
        self.hooks.begin()
        arrays = jax.tree.map(copied, eqx.filter(self.settings.model, is_array))
        return self._begin(self.settings.phases[0], arrays, 0)

    def _begin(self, phase: Phase, arrays: Any, origin: int) -> Visit:
        number = self.visits.get(phase.name, 0)
        self.visits[phase.name] = number + 1
        plan = self.settings.bound[phase.name].plan
        attempt = self.rollbacks
        keys = randomness.visit_keys(self.settings.seed, phase.name, number, attempt)
        state = state_of(plan, arrays, keys)
        return Visit(phase, plan, number, attempt, origin, state)

    def _open(self, visit: Visit) -> None:
        visit.entered = time.monotonic()
        if visit.child is None:
            self._enter(visit)
        if not visit.begun:
            self.journal.event(visit, "phase_begin")
            visit.begun = True
        self.open.append(visit)
        self.hooks.call("on_phase_begin", self._event(visit))

    def _enter(self, visit: Visit) -> None:
        """Compiles the phase, unless it is, and points it to the data of this visit."""
        if visit.reason is None:
            seconds = self.programs.compiled(visit)
            if seconds is not None:
                self._took(visit, "compile", seconds)
            self.programs.enter(visit)

    def _close(self, visit: Visit) -> None:
        reason = visit.reason
        assert reason is not None
        if not visit.closed:
            self.journal.end(visit, reason)
            self.reasons.append((visit.phase.name, reason))
            visit.closed = True
        self.open.remove(visit)
        self.hooks.call("on_phase_end", self._event(visit), reason)
        self.hooks.take_stop()  # the visit has ended already, and another one is not meant

    # Checkpoints, interruptions, faults.

    def _save(self) -> None:
        self.saving.save(self._visit(), self._event(), self._session)

    def _session(self) -> dict[str, Any]:
        return {
            "seed": self.settings.seed,
            "fingerprint": self.fingerprint,
            "visit_counts": self.visits,
            "validations": self.validations,
            "reasons": [[name, reason.name] for name, reason in self.reasons],
            "executors": self.programs.executors,
            "rollbacks": self.rollbacks,
            "callbacks": self.hooks.states(),
            # Asked for, but not decided upon when a signal came.
            "stop": self.hooks.stop and [self.hooks.stop.reason.name, self.hooks.stop.detail],
        }

    def _rewind(self, how: Resume) -> Visit | None:
        """The visit at a checkpoint, with the history of that moment; None if there was none."""
        run = self.run
        assert run is not None
        found = restoration(run, self.settings, self.fingerprint, how)
        go_back(run, found, how)
        if found is None:
            return None
        self._take_back(found.meta)
        if found.note:
            self.journal.event(found.root.innermost, "resume", **found.note)
        return found.root

    def load(self, run: Run, checkpoint: str | None = None) -> Any:
        """The model at a checkpoint of a run, which is only read."""
        self.root = load_visit(run, self.settings, checkpoint)
        return self.model()

    def _take_back(self, meta: dict[str, Any]) -> None:
        self.visits, self.validations = meta["visit_counts"], meta["validations"]
        self.reasons = [(name, Reason[reason]) for name, reason in meta["reasons"]]
        # A roll-back keeps the executor of each phase, so that repeated steps have the same bits.
        self.programs.executors |= meta["executors"]
        self.rollbacks = meta["rollbacks"]
        self.hooks.restore(meta["callbacks"])
        stop = meta["stop"]
        self.hooks.stop = None if stop is None else Stop(Reason[stop[0]], stop[1])
        self.hooks.save = False

    def _roll_back(self, fault: FaultError) -> None:
        """Back to the last checkpoint, with other random numbers; or gives up."""
        policy, made = self.settings.nonfinite, self.rollbacks
        if policy.policy != "rollback" or made >= policy.retries:
            raise given_up(fault, made, None if self.run is None else self.run.path) from None
        for visit in reversed(self.open):
            self.hooks.call("on_phase_end", self._event(visit), Reason.ROLLBACK)
        self.open.clear()
        self.programs.close()
        self.saving.wait()
        self.root = self._rewind(Resume(changes="allow")) or self._first()
        # Counted here and not in the checkpoint that was restored: none can be forgotten.
        self.rollbacks = made + 1
        visit = self.root.innermost
        visit.attempt = self.rollbacks
        number = self.settings.seed, visit.phase.name, visit.number, visit.attempt
        key = Place.of(visit.state).put(randomness.phase_key(*number))
        visit.state = eqx.tree_at(lambda s: s.keys.step, visit.state, key)
        self.journal.event(visit, "rollback", attempt=self.rollbacks, fault=fault.sentence)
        self._save()

    def _end_badly(self, error: BaseException) -> None:
        """Saves what can be saved, says how to go on, and closes callbacks and files."""
        with contextlib.ExitStack() as after:  # what fails does not keep the rest from being done
            after.callback(self._shut, error)
            if self.root is None:
                return
            after.callback(self.hooks.fail, self._event(), error)
            if isinstance(error, Interrupted):
                step, name = self.root.innermost.step, error.args[0]
                saved = self.saving.for_later(self.root, self._event(), self._session)
                error.args = (f"Interrupted by {name} at step {step}. {saved}",)
            elif self.run is not None and isinstance(error, Exception):
                error.add_note(self.saving.advice(error))

    def _shut(self, error: BaseException | None = None) -> None:
        """Stops reading ahead, and closes the files of the run."""
        self.programs.close()
        self.saving.close(error)

    def _took(self, visit: Visit, what: What, seconds: float, steps: int = 0) -> None:
        self.journal.took(visit, what, seconds, steps)
        self.hooks.call("on_time", self._event(visit), what, seconds, steps)

    # Views.

    def _visit(self) -> Visit:
        assert self.root is not None
        return self.root

    def _event(self, visit: Visit | None = None) -> Event:
        visit = self._visit().innermost if visit is None else visit
        return Event(
            phase=visit.phase.name,
            visit=visit.number,
            step=visit.step,
            total_steps=visit.phase.total_steps,
            steps_per_epoch=visit.phase.steps_per_epoch,
            global_step=visit.global_step,
            folder=None if self.run is None else self.run.path,
            model=lambda *, ema=False: self._model_of(visit, ema=ema),
        )

    def _model_of(self, visit: Visit, *, ema: bool = False) -> Any:
        """A copy of the model as it is now; during a rescue, the rescue has it."""
        state = with_model(visit.state, visit.innermost.state.model)
        arrays = jax.tree.map(copied, visit.plan.arrays(state, ema=ema))
        return eqx.combine(arrays, visit.plan.static)

    def model(self) -> Any:
        """The model that the training leaves, or has so far."""
        visit = self._visit().innermost
        return eqx.combine(visit.outcome(), visit.plan.static)


def _guard() -> contextlib.AbstractContextManager[Any]:
    """No step may move data to the device or back, except where JAX runs uncompiled."""
    if setting("disable_jit"):
        return contextlib.nullcontext()
    return jax.transfer_guard("disallow")
