"""The compiled programs of a training: one for each phase, compiled at its first visit."""

import time

from etude.engine import randomness
from etude.engine.program import Executor, Program
from etude.training.settings import Settings
from etude.training.visit import Visit


class Programs:
    """Programs by phase; a phase keeps its executor, to keep its bits."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.executors: dict[str, Executor] = {}
        self._compiled: dict[str, Program] = {}

    def compiled(self, visit: Visit) -> float | None:
        """Compiles the program of a visit if there is none yet; the seconds that this took."""
        name = visit.phase.name
        if name in self._compiled:
            return None
        began = time.perf_counter()
        kept = name in self.executors
        wanted = self.executors[name] if kept else self.settings.executor
        metrics = self.settings.bound[name].metrics
        program = Program(visit.plan, visit.state, wanted, metrics, clock=time.perf_counter)
        self._compiled[name], self.executors[name] = program, program.executor
        return time.perf_counter() - began

    def of(self, visit: Visit) -> Program:
        """The program of a visit that was entered."""
        return self._compiled[visit.phase.name]

    def enter(self, visit: Visit) -> None:
        """Points the program of the phase to the data of this visit."""
        entropy = randomness.order_entropy(self.settings.seed, visit.phase.name, visit.number)
        self.of(visit).enter(entropy)

    def close(self) -> None:
        """Stops reading ahead."""
        for program in self._compiled.values():
            program.close()
