"""How a training ends, and how it goes back: well, badly, or to its last checkpoint."""

import contextlib

import equinox as eqx

from etude.callbacks.base import Reason
from etude.engine import randomness
from etude.engine.place import Place
from etude.training.nonfinite import FaultError, given_up
from etude.training.phase_visit import Visit
from etude.training.resuming import Resume
from etude.training.saving import Saving
from etude.training.session import Session
from etude.training.signals import Interrupted
from etude.training.telling import Telling


class Endings:
    """The endings of one training."""

    def __init__(self, session: Session, saving: Saving, telling: Telling):
        self.session, self.saving, self.programs = session, saving, session.subject.programs
        self.telling, self.settings, self.run = telling, session.settings, session.run
        #: visits whose beginning the callbacks have seen in this sitting, but not their end
        self.open: list[Visit] = []

    def roll_back(self, fault: FaultError) -> None:
        """Back to the last checkpoint, with other random numbers.

        Raises `NonFiniteError` if the settings have it so, or after too many of them.
        """
        session, policy = self.session, self.settings.nonfinite
        made = session.rollbacks
        if policy.policy != "rollback" or made >= policy.retries:
            raise given_up(fault, made, None if self.run is None else self.run.path) from None
        for visit in reversed(self.open):
            self.telling.call("on_phase_end", visit, Reason.ROLLBACK)
        self.open.clear()
        self.programs.close()
        self.saving.wait()
        session.start(Resume(changes="allow"), self.telling.journal)
        # Counted here and not in the checkpoint that was restored: none can be forgotten.
        session.rollbacks = made + 1
        visit = session.root.innermost
        visit.attempt = session.rollbacks
        seed, name = self.settings.seed, visit.phase.name
        key = randomness.phase_key(seed, name, visit.number, visit.attempt)
        key = Place.of(visit.state).put(key)
        visit.state = eqx.tree_at(lambda s: s.keys.step, visit.state, key)
        self.telling.journal.event(visit, "rollback", attempt=visit.attempt, fault=fault.sentence)
        self.save()

    def save(self, *, optional: bool = False) -> None:
        """Hands a checkpoint of everything to the writer, which may leave out an `optional` one."""
        root = self.session.root
        event = self.telling.event(root.innermost)
        self.saving.save(root, event, self.session.as_json, optional=optional)

    def badly(self, error: BaseException) -> None:
        """Saves what can be saved, says how to go on, and closes callbacks and files."""
        with contextlib.ExitStack() as after:  # what fails does not keep the rest from being done
            after.callback(self.shut, error)
            if not self.session.begun:
                return
            root = self.session.root
            event = self.telling.event(root.innermost)
            after.callback(self.settings.hooks.fail, event, error)
            if isinstance(error, Interrupted):
                saved = self.saving.for_later(root, event, self.session.as_json)
                name, step = error.args[0], root.innermost.step
                error.args = (f"Interrupted by {name} at step {step}. {saved}",)
            elif self.run is not None and isinstance(error, Exception):
                error.add_note(self.saving.advice(error))

    def shut(self, error: BaseException | None = None) -> None:
        """Stops reading ahead, and closes the files of the run."""
        self.programs.close()
        self.saving.close(error)
