"""The compiled programs of a training: one for each phase, compiled at its first visit."""

import time

from etude.data.prefetch import Prefetch
from etude.engine import randomness
from etude.engine.place import Place
from etude.engine.program import Executor, Program
from etude.engine.source import Resident
from etude.training.phase_visit import Visit
from etude.training.settings import Settings


class Programs:
    """Programs by phase; a phase keeps its executor, to keep its bits."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.executors: dict[str, Executor] = {}
        self._compiled: dict[str, Program] = {}
        #: what reads ahead, by phase, where data come from the host
        self._readers: dict[str, Prefetch] = {}

    def compiled(self, visit: Visit) -> float | None:
        """Compiles the program of a visit if there is none yet; the seconds that this took."""
        name, source = visit.phase.name, visit.phase.source
        if name in self._compiled:
            return None
        began = time.perf_counter()
        if not isinstance(source, Resident):
            layout = visit.plan.layout
            if layout is None:
                self._readers[name] = Prefetch(source, Place.of(visit.state.clock))
            else:
                self._readers[name] = Prefetch(source, layout.batches, layout.batches.share)
        kept = name in self.executors
        executor = self.executors[name] if kept else self.settings.executor
        metrics = self.settings.bound[name].metrics
        reader = self._readers.get(name)
        program = Program(visit.plan, visit.state, reader, executor, metrics)
        self._compiled[name], self.executors[name] = program, program.executor
        return time.perf_counter() - began

    def of(self, visit: Visit) -> Program:
        """The program of a visit that was entered."""
        return self._compiled[visit.phase.name]

    def enter(self, visit: Visit) -> None:
        """Points the program of the phase to the data of this visit."""
        entropy = randomness.order_entropy(self.settings.seed, visit.phase.name, visit.number)
        self.of(visit).enter(entropy)

    def take_waited(self, visit: Visit) -> float:
        """Seconds that a visit has waited for its data since this was last asked."""
        reader = self._readers.get(visit.phase.name)
        return 0.0 if reader is None else reader.take_waited()

    def close(self) -> None:
        """Stops reading ahead."""
        for reader in self._readers.values():
            reader.close()
