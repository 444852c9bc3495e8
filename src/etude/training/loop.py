"""The loop of a training, on one screen, and what it does between chunks.

Nothing here is compiled, and nothing here runs inside a chunk of steps.
"""

import time
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np

from etude.callbacks.base import Event, Reason, StepMetrics
from etude.callbacks.checkpointing import ModelCheckpoint
from etude.engine import randomness
from etude.engine.chunk import CAPACITY, Chunk
from etude.engine.errors import ConfigurationError, NonFiniteError
from etude.engine.phase import Phase, reached
from etude.engine.program import Executor, Program
from etude.engine.roles import is_array
from etude.engine.step import copied, state_of
from etude.run import CheckpointError, Run
from etude.training.checks import Bound
from etude.training.hooks import Hooks
from etude.training.journal import Journal
from etude.training.pace import Pace
from etude.training.signals import Signals
from etude.training.store import known_phase, restore_visits, save_visits, with_model, without_model
from etude.training.visit import Visit


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by SIGTERM or Ctrl-C; the message says how to go on."""


@dataclass(frozen=True)
class NonFinite:
    """What to do when a loss or an update becomes NaN or infinite.

    Attributes:
        policy: "stop" raises `NonFiniteError`; "skip" leaves the step out and goes on with the
            old weights; "rollback" restores the last checkpoint and goes on with other random
            numbers.
        retries: roll-backs before giving up.

    >>> NonFinite("rollback", retries=2).retries
    2
    """

    policy: Literal["stop", "skip", "rollback"] = "stop"
    retries: int = 3

    def __post_init__(self):
        if self.policy not in ("stop", "skip", "rollback"):
            raise ConfigurationError(
                f"NonFinite: policy is 'stop', 'skip' or 'rollback'; got {self.policy!r}."
            )


class _FaultError(Exception):
    """A loss or an update of a learner was not finite."""

    def __init__(self, visit: Visit, learner: str, metrics: dict[str, float]):
        bad = [name for name, value in metrics.items() if not np.isfinite(value)]
        self.visit, self.metric = visit, ", ".join(bad) or "the updates (the loss is finite)"
        self.sentence = (
            f"Phase {visit.phase.name!r}, step {visit.step}, learner {learner!r}: "
            f"not finite: {self.metric}."
        )


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know; `Trainer` documents it."""

    model: Any
    phases: tuple[Phase, ...]
    bound: dict[str, Bound]
    hooks: Hooks
    nonfinite: NonFinite
    seed: int
    executor: Executor | None
    on_full_disk: Literal["stop", "continue"]


class Training:
    """One sitting of a training: from its beginning, or a resume, to its end."""

    def __init__(self, settings: Settings, run: Run | None):
        self.settings, self.run, self.hooks = settings, run, settings.hooks
        self.journal = Journal(run)
        self.pace = Pace(1 if self.hooks.every_step else CAPACITY)
        self.signals = Signals()
        self.programs: dict[str, Program] = {}
        self.executors: dict[str, Executor] = {}
        # The session: what belongs to the training as a whole, and to its checkpoints.
        self.visits: dict[str, int] = {}
        self.validations: list[dict[str, Any]] = []
        self.reasons: list[tuple[str, Reason]] = []
        self.root: Visit | None = None

    def run_through(self, *, resume: bool) -> None:
        """All phases, from the first or from a checkpoint, with every way to end."""
        try:
            with self.signals:
                self.root = (self._restore() if resume else None) or self._first()
                self.hooks.call("on_train_begin", self._event())
                while not self._all_phases():
                    pass  # after a roll-back
                self.hooks.call("on_train_end", self._event())
                self._save()
                self._wait_for_checkpoints()
        except BaseException as error:
            self._end_badly(error)
            raise
        finally:
            for program in self.programs.values():
                program.close()
            if self.run is not None:
                self.run.close()

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
        except _FaultError as fault:
            self._roll_back(fault)
            return False

    def _run_visit(self, visit: Visit) -> None:
        """One visit to a phase: to the next boundary, whatever is due there, and so on."""
        self._open(visit)
        while visit.reason is None or visit.child is not None:
            if visit.child is not None:  # a rescue is under way, perhaps since before a resume
                self._run_visit(visit.child)
                visit.state = with_model(visit.state, visit.child.outcome())
                visit.child = None
                continue
            self._advance(visit)
            measured = self._validate(visit)
            # Decided before the checkpoint is made, so that a resume need not decide again.
            self._decide(visit, measured)
            visit.processed = visit.step
            if self.hooks.take_save():
                self._save()
        self._close(visit)

    def _advance(self, visit: Visit) -> None:
        """Steps up to the next boundary; one chunk is made while the one before is read."""
        target, ahead, pending = self._boundary(visit), visit.step, None
        self.pace.start()
        while ahead < target and not self.hooks.requested and self.signals.name is None:
            steps = min(self.pace.steps(), target - ahead)
            with jax.transfer_guard("disallow"):
                visit.state, chunk = self._program(visit).advance(visit.state, ahead, steps)
            ahead += steps
            if pending is not None:
                self._read(visit, pending)
            pending = chunk
        if pending is not None:
            self._read(visit, pending)
        self._poll()

    def _read(self, visit: Visit, chunk: Chunk) -> None:
        """Waits for a chunk, writes its metrics down and shows them to the callbacks."""
        rows, visit.step, fault = chunk.read()
        seconds = self.pace.made(len(rows))
        metrics = StepMetrics(self._program(visit).metrics, chunk.first + 1, rows)
        self.journal.steps(visit, metrics, seconds)
        if fault:
            learner = visit.plan.learners[fault - 1].name or f"number {fault}"
            raise _FaultError(visit, learner, metrics.last())
        event = self._event(visit)
        self.hooks.steps(event, metrics)
        per_epoch = event.steps_per_epoch
        if self.hooks.epochs and per_epoch and visit.step % per_epoch == 0:
            self.hooks.call("on_epoch_end", event)
            if not visit.finished:
                self.hooks.call("on_epoch_begin", event)

    def _boundary(self, visit: Visit) -> int:
        """The next step at which something other than steps must happen."""
        phase, done = visit.phase, visit.processed
        intervals = [phase.in_steps(v.every) for v in phase.validations]
        if self.hooks.epochs and phase.data.steps_per_epoch:
            intervals.append(phase.data.steps_per_epoch)
        ends = [(done // n + 1) * n for n in intervals]
        for end in (self.hooks.next_step(self._event(visit)), phase.total_steps):
            ends += [] if end is None else [end]
        return min(ends)

    def _validate(self, visit: Visit) -> bool:
        """The validations that are due; whether there was any."""
        phase, found = visit.phase, {}
        due = [v for v in phase.validations if visit.due(phase.in_steps(v.every))]
        if not due or visit.step == visit.processed:
            return False
        for validation in due:
            began = time.perf_counter()
            arrays = visit.plan.arrays(visit.state, ema=validation.ema)
            key = randomness.learner_key(visit.state.key, visit.state.step, randomness.VALIDATION)
            metrics = self.settings.bound[phase.name].evaluators[validation.name](
                arrays,
                validation.data,
                key,
                step=visit.step,
                progress=visit.step / (phase.total_steps or 1),
                poll=self._poll,
            )
            found |= {f"{validation.name}/{name}": value for name, value in metrics.items()}
            visit.note_best(found, arrays)
            self.journal.took(visit, "valid", time.perf_counter() - began)
        self.journal.validation(visit, found)
        self.validations.append(found)
        self.hooks.call("on_validation_end", self._event(visit), found)
        return True

    def _decide(self, visit: Visit, measured: bool) -> None:
        """Whether the visit ends here, and whether a rescue must come first."""
        stop, phase = self.hooks.take_stop(), visit.phase
        if measured and reached(phase.goal, self.validations[-1]):
            visit.reason, visit.detail = Reason.GOAL, str(dict(phase.goal))
        elif stop is not None:
            visit.reason, visit.detail = stop.reason, stop.detail
        elif visit.finished:
            visit.reason = Reason.LENGTH
        elif phase.limit is not None and visit.elapsed >= phase.limit.count:
            visit.reason = Reason.TIME
        if measured and phase.rescue is not None and phase.rescue.when(self.validations):
            rescue = phase.rescue.phase
            self.journal.event(visit, "rescue", by=rescue.name)
            visit.child = self._begin(rescue, visit.state.model, visit.global_step)
            visit.state = without_model(visit.state)

    # Visits: how they begin and end.

    def _first(self) -> Visit:
        arrays = jax.tree.map(copied, eqx.filter(self.settings.model, is_array))
        return self._begin(self.settings.phases[0], arrays, 0)

    def _begin(self, phase: Phase, arrays: Any, origin: int) -> Visit:
        number = self.visits.get(phase.name, 0)
        self.visits[phase.name] = number + 1
        plan = self.settings.bound[phase.name].plan
        state = state_of(plan, arrays, seed=self.settings.seed, visit=number)
        return Visit(phase, plan, number=number, attempt=0, origin=origin, state=state)

    def _open(self, visit: Visit) -> None:
        visit.entered = time.monotonic()
        entropy = randomness.order_entropy(self.settings.seed, visit.phase.name, visit.number)
        if visit.child is None and visit.reason is None:
            self._program(visit).enter(entropy)
        if not visit.begun:
            self.journal.event(visit, "phase_begin")
            visit.begun = True
        event = self._event(visit)
        self.hooks.call("on_phase_begin", event)
        if self.hooks.epochs and event.steps_per_epoch and visit.step % event.steps_per_epoch == 0:
            self.hooks.call("on_epoch_begin", event)

    def _close(self, visit: Visit) -> None:
        reason = visit.reason
        assert reason is not None
        if not visit.closed:
            details = {"detail": visit.detail} if visit.detail else {}
            self.journal.event(visit, "phase_end", reason=reason.name, **details)
            self.reasons.append((visit.phase.name, reason))
            visit.closed = True
        self.hooks.call("on_phase_end", self._event(visit), reason)

    def _program(self, visit: Visit) -> Program:
        """The compiled program of a phase; compiled at its first visit."""
        name = visit.phase.name
        if name not in self.programs:
            began = time.perf_counter()
            kept = name in self.executors  # a run keeps its executor, to keep its bits
            wanted = self.executors[name] if kept else self.settings.executor
            program = self.programs[name] = Program(visit.plan, visit.state, wanted)
            self.executors[name] = program.executor
            self.journal.took(visit, "compile", time.perf_counter() - began)
        return self.programs[name]

    # Checkpoints, interruptions, faults.

    def _save(self) -> None:
        """Hands a checkpoint of everything to the writer, and removes superfluous ones."""
        if self.run is None:
            return
        visit, began = self._visit(), time.perf_counter()
        event = self._event(visit.innermost)
        name = f"{event.global_step:09d}-{event.phase}"
        self.hooks.call("on_checkpoint", event, name)
        try:
            self.run.checkpoints.poll()
            save_visits(self.run, name, visit, self._session())
            kept = self.run.checkpoints.names()
            for callback in self.hooks.callbacks:
                if isinstance(callback, ModelCheckpoint):
                    for old in callback.superfluous(kept):
                        self.run.checkpoints.remove(old)
        except CheckpointError as error:
            self._full_disk(error)
        self.journal.took(visit, "checkpoint", time.perf_counter() - began)

    def _wait_for_checkpoints(self) -> None:
        if self.run is None:
            return
        try:
            self.run.checkpoints.wait()
        except CheckpointError as error:
            self._full_disk(error)

    def _full_disk(self, error: CheckpointError) -> None:
        if self.settings.on_full_disk == "stop":
            raise error
        self.journal.event(self._visit(), "checkpoint_failed", error=str(error))

    def _session(self) -> dict[str, Any]:
        return {
            "seed": self.settings.seed,
            "visit_counts": self.visits,
            "validations": self.validations,
            "reasons": [[name, reason.name] for name, reason in self.reasons],
            "executors": self.executors,
            "callbacks": self.hooks.states(),
        }

    def _restore(self) -> Visit | None:
        """The visit at the newest whole checkpoint; None if there is none yet."""
        run = self.run
        assert run is not None
        if not run.checkpoints.names():
            run.history.truncate(0)
            return None
        restored = run.checkpoints.restore()
        for sentence in restored.skipped:
            warnings.warn(sentence, stacklevel=2)
        meta = restored.meta
        phases = {bound.plan.phase.name: bound.plan.phase for bound in self.settings.bound.values()}

        def begin(name: str, position: Any) -> Visit:
            plan = self.settings.bound[known_phase(name, phases, run).name].plan
            arrays = jax.tree.map(copied, eqx.filter(self.settings.model, is_array))
            state = state_of(plan, arrays, seed=self.settings.seed, visit=position["number"])
            number, attempt = position["number"], position["attempt"]
            return Visit(plan.phase, plan, number, attempt, position["origin"], state)

        root = restore_visits(run, restored, self.settings.seed, begin)
        self.visits, self.validations = meta["visit_counts"], meta["validations"]
        self.reasons = [(name, Reason[reason]) for name, reason in meta["reasons"]]
        self.executors = meta["executors"]
        self.hooks.restore(meta["callbacks"])
        run.history.truncate(meta["history"])
        return root

    def _roll_back(self, fault: _FaultError) -> None:
        """Back to the last checkpoint, with other random numbers; or gives up."""
        policy = self.settings.nonfinite
        attempt = fault.visit.attempt + 1
        if policy.policy != "rollback" or attempt > policy.retries:
            tried = f" {policy.retries} roll-backs did not help." if attempt > 1 else ""
            cure = (
                "Lower the learning rate, clip the updates (Learner(clip_norm=1.0)), check the "
                "data, or choose nonfinite='skip' or 'rollback'."
            )
            last = "" if self.run is None else f" The last checkpoint is in {self.run.path}."
            raise NonFiniteError(f"{fault.sentence}{tried}{last} {cure}") from None
        self._wait_for_checkpoints()
        self.root = self._restore() or self._first()
        visit = self.root.innermost
        visit.attempt = attempt
        key = randomness.phase_key(self.settings.seed, visit.phase.name, visit.number, attempt)
        visit.state = eqx.tree_at(lambda s: s.key, visit.state, key)
        self.journal.event(visit, "rollback", attempt=attempt, fault=fault.sentence)
        for program in self.programs.values():
            program.close()
        self._save()

    def _poll(self) -> None:
        if self.signals.name is not None:
            raise Interrupted(self.signals.name)

    def _end_badly(self, error: BaseException) -> None:
        """Saves what can be saved, closes the callbacks, and says how to go on."""
        if self.root is None:
            return
        if isinstance(error, Interrupted):
            saved = ""
            if self.run is not None:
                self._save()
                self._wait_for_checkpoints()
                saved = f" The state is saved; go on with: etude resume {self.run.path}"
            step = self._visit().innermost.step
            error.args = (f"Interrupted by {error.args[0]} at step {step}.{saved}",)
        self.hooks.call("on_exception", self._event(), error)

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
            steps_per_epoch=visit.phase.data.steps_per_epoch,
            global_step=visit.global_step,
            folder=None if self.run is None else self.run.path,
            model=lambda: visit.plan.model(jax.tree.map(copied, visit.state)),
        )

    def model(self) -> Any:
        """The model that the training leaves."""
        visit = self._visit()
        return eqx.combine(visit.outcome(), visit.plan.static)
