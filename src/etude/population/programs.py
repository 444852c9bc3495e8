"""The compiled programs of a population: one for each team of members in each phase."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from etude.callbacks.base import Reason
from etude.callbacks.members import column
from etude.engine.chunk import Chunk
from etude.engine.precision import float_dtype
from etude.engine.program import Executor, Program
from etude.engine.state import State
from etude.population.groups import Group, group_of
from etude.population.spread import Spread
from etude.population.threads import Threads
from etude.training.nonfinite import fault_told
from etude.training.phase_visit import Visit

#: Which members step together, team by team.
Teams = tuple[tuple[int, ...], ...]


class TeamPrograms:
    """The programs of all phases; a phase keeps its teams and its executors, to keep its bits."""

    def __init__(self, groups: Sequence[Group], executor: Executor | None, spread: Spread):
        self.groups, self.spread = groups, spread
        self.executor: Executor | None = executor
        #: by phase; that of the second group is `fit[1]`
        self.executors: dict[str, Executor] = {}
        self.teams: dict[str, Teams] = {}
        #: by phase, from how many threads its teams are started, where it was timed
        self.threads: dict[str, int] = {}
        self._compiled: dict[str, TeamProgram] = {}

    def compiled(self, visit: Visit) -> float | None:
        """Compiles the programs of a visit if there are none yet; the seconds that this took."""
        name = visit.phase.name
        if name in self._compiled:
            return None
        began, teams = time.perf_counter(), self.teams[name]

        def program(place: int) -> Program:
            return self.program(name, group_of(self.groups, teams[place][0]), visit.state[place])

        # Each device compiles for itself, all at once.
        threads = Threads(self.spread.devices(teams))
        programs = threads.map(program)
        if not self.spread.several:
            threads = threads_for(programs, self.threads.get(name))
        self._compiled[name] = TeamProgram(teams, programs, threads)
        return time.perf_counter() - began

    def program(self, phase: str, number: int, state: State) -> Program:
        """The program of a team of a group, of which this is the state."""
        key = f"{phase}[{number}]" if number else phase
        bound = self.groups[number].settings.bound[phase]
        executor = self.executors.get(key) or self.executor
        made = Program(bound.plan, state, None, executor, bound.metrics)
        self.executors[key] = made.executor
        return made

    def of(self, visit: Visit) -> "TeamProgram":
        """The program of a visit that was entered."""
        return self._compiled[visit.phase.name]

    def enter(self, visit: Visit) -> None:
        """Points the programs of the phase to the data of this visit."""
        self.of(visit).enter(visit)

    def take_waited(self, visit: Visit) -> float:
        """Nobody waits for data that are on the device."""
        return 0.0

    def close(self) -> None:
        """Ends the threads that steps are started from."""
        for program in self._compiled.values():
            program.close()


class TeamProgram:
    """The programs of the teams of a phase as one, as `etude.engine.program.Program` is one.

    Teams are started from several threads, on a CPU because XLA runs what comes from one thread one
    after another there, and on several devices because a device that is busy may let its thread
    wait, which must not hold up the others.
    """

    def __init__(self, teams: Teams, programs: Sequence[Program], threads: Threads):
        self.teams, self.programs, self.threads = teams, programs, threads
        self._visit: Visit | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the columns of all members, `loss.3`; known once a chunk was started."""
        return tuple(column(*pair) for pair in sorted(self._pairs))

    @property
    def _pairs(self) -> list[tuple[str, int]]:
        """Metric and member of each column, team by team."""
        return [
            (name, member)
            for team, program in zip(self.teams, self.programs, strict=True)
            for name in program.metrics
            for member in team
        ]

    def enter(self, visit: Visit) -> None:
        """Another visit begins: its data are read in another order."""
        self._visit = visit
        for program in self.programs:
            program.enter(())

    def advance(
        self, state: Any, first: int, steps: int, stop: Callable[[], bool] = lambda: False
    ) -> tuple[tuple[State, ...], "TeamChunk"]:
        """Starts `steps` steps of all teams in which a member goes on.

        All of them end at the same step, so that `stop` is not asked.
        """
        assert self._visit is not None
        members = self._visit.members

        def run(place: int) -> tuple[State, Chunk | None]:
            if all(members[number].reason is not None for number in self.teams[place]):
                return state[place], None
            return self.programs[place].advance(state[place], first, steps)

        made = self.threads.map(run)
        states = tuple(after for after, _ in made)
        return states, TeamChunk(self, self._visit, first, [chunk for _, chunk in made])

    def close(self) -> None:
        """Ends the threads."""
        self.threads.close()

    def laid_out(self, columns: Sequence[np.ndarray]) -> Float[np.ndarray, "steps columns"]:
        """The columns of all teams, in the order of `metrics`."""
        pairs = self._pairs
        order = sorted(range(len(pairs)), key=lambda place: pairs[place])
        return np.concatenate(columns, axis=1)[:, np.array(order, np.int64)]


class TeamChunk(NamedTuple):
    """What a chunk of all teams leaves behind; None of a team that stands still."""

    program: TeamProgram
    visit: Visit
    first: int
    chunks: Sequence[Chunk | None]

    def read(self) -> tuple[Float[np.ndarray, "steps columns"], int, int]:
        """Waits for the chunk: `(metrics of all members, step reached, 0)`.

        A member whose loss or update was not finite has ended; its metrics are NaN from then on.
        """
        found = [None if chunk is None else chunk.read_all() for chunk in self.chunks]
        # A team of which all members are at fault stays behind, and so may all of them.
        reached = max(self.visit.step, *(one[1] for one in found if one is not None))
        length = max(0, reached - self.first)
        columns: list[np.ndarray] = []
        for place, (one, program) in enumerate(zip(found, self.program.programs, strict=True)):
            team = self.program.teams[place]
            rows = np.full((length, len(program.metrics), len(team)), np.nan, float_dtype())
            if one is not None:
                made = len(one[0])
                rows[:made] = one[0].reshape(made, *rows.shape[1:])
                for index, fault in enumerate(one[2].tolist()):
                    member = self.visit.members[team[index]]
                    if fault and member.reason is None:
                        self._end(member, place, index, fault, program.metrics, rows)
            columns.append(rows.reshape(length, len(program.metrics) * len(team)))
        for member in self.visit.members:
            if member.reason is None:
                member.step = reached
        return self.program.laid_out(columns), reached, 0

    def _end(
        self,
        member: Visit,
        place: int,
        index: int,
        fault: int,
        names: tuple[str, ...],
        rows: np.ndarray,
    ) -> None:
        """A member ends with the step at which a learner was at fault."""
        member.reason, member.step = Reason.FAULT, _steps(member, self.visit.state[place], index)
        row = rows[member.step - self.first - 1, :, index]
        metrics = dict(zip(names, row.tolist(), strict=True))
        member.detail = fault_told(member, fault, metrics)


def _steps(member: Visit, team: State, index: int) -> int:
    """The steps that a member that stands still has made: the turns of its first learner say it.

    A lone member has the clock to itself, which steps dispatched after the fault do not move.
    """
    if not team.fault.ndim:
        return int(team.clock)
    first = team.learners[0]
    turns = np.atleast_1d(first.updates) + np.atleast_1d(first.skipped)
    return int(turns[index]) // member.plan.learners[0].repeat


def threads_for(programs: Sequence[Program], most: int | None = None) -> Threads:
    """The threads, `most` at most, from which these programs are started on one device."""
    loops = all(program.executor == "loop" for program in programs)
    count = os.cpu_count() or 1 if jax.default_backend() == "cpu" and loops else 1
    count = count if most is None else min(most, count)
    return Threads([place % count for place in range(len(programs))])
