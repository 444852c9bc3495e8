"""What happens between stretches of steps: validations, and what follows from them."""

import time
from collections.abc import Callable
from typing import Any

from etude.callbacks.base import Reason, Stop
from etude.engine.processes import processes
from etude.training.judge import Judge
from etude.training.phase_visit import Visit, without_model
from etude.training.session import Session
from etude.training.telling import Telling


class Boundary:
    """The boundaries of the training of one model; `poll` is called between batches."""

    def __init__(self, session: Session, telling: Telling, poll: Callable[[], None]):
        self.session, self.telling, self.hooks = session, telling, telling.hooks
        self.judge = Judge(session.settings, poll)

    def validate(self, visit: Visit, *, last: bool) -> dict[str, Any] | None:
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
        self.telling.journal.validation(visit, found)
        self.session.validations.append(found)
        self.telling.call("on_validation_end", visit, found)
        return found

    def measure_outcome(self, visit: Visit) -> dict[str, Any]:
        """The validations of the last phase on the model that the training leaves."""
        began = time.perf_counter()
        if self.judge.complete(visit):
            self.telling.took(visit, "valid", time.perf_counter() - began)
        return {name: value for made in visit.verdict.values() for name, value in made.items()}

    def decide(self, visit: Visit, measured: dict[str, Any] | None, ending: Stop | None) -> None:
        """Whether the visit ends here, and whether a rescue must come first."""
        # A stop that the validation asked for says more than the length that is reached.
        ending, phase = self.hooks.take_stop() or ending, visit.phase
        if measured is not None and phase.reached(measured):
            visit.reason, visit.detail = Reason.GOAL, ", ".join(map(str, phase.goals))
        elif ending is not None:
            visit.reason, visit.detail = ending.reason, ending.detail
        if measured is None or phase.rescue is None:
            return
        when, seen = phase.rescue.when, list(self.session.validations)
        if processes().first_says(lambda: bool(when(seen))):
            rescue = phase.rescue.phase
            self.telling.journal.event(visit, "rescue", by=rescue.name)
            visit.child = self.session.visit(rescue, visit.state.model, visit.global_step)
            visit.state = without_model(visit.state)
