"""How many members step together: what a short timing finds fastest.

Side by side, small models pay off, on a CPU too; large ones do not, and convolutions become grouped
ones there, which are slow. So the trainer tries, and says what it found.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax

from etude.engine.chunk import CAPACITY
from etude.engine.program import Program
from etude.engine.state import State
from etude.engine.surroundings import setting
from etude.population.programs import TeamProgram, Teams, threads_for
from etude.population.spread import parts
from etude.population.states import copy, together
from etude.training.phase_visit import Visit

#: Seconds that a round of steps should last to be timed, and how many rounds are.
ROUND, ROUNDS = 0.06, 5
#: By how much a team must be faster than its members one by one: they keep their own bits.
GAIN = 1.05
#: Sizes that are tried, beside all members together.
SIZES = (1, 4, 16, 64)


def teams_of(members: Sequence[int], size: int) -> Teams:
    """Members in teams of at most `size`, as equal as can be.

    >>> teams_of(range(6), 4)
    ((0, 1, 2), (3, 4, 5))
    """
    return tuple(parts(members, -(-len(members) // size)))


@dataclass(frozen=True)
class Choice:
    """The size of a team that was found fastest, and from how many threads teams are started.

    Attributes:
        seconds: of a step of all members, by the size of a team; none where nothing was timed.
        threads: None if nothing was timed.
    """

    size: int
    threads: int | None = None
    seconds: Mapping[int, float] = field(default_factory=dict[int, float])


def fastest(
    members: Sequence[int],
    states: Sequence[State],
    make: Callable[[State], Program],
    visit: Visit,
    most: int | None = None,
) -> Choice:
    """The teams in which members on one device make their steps fastest.

    The states are copied. `make` compiles the program of a team; `most` are the threads from which
    teams are started at most.
    """
    count = len(members)
    convolutions = jax.default_backend() == "cpu" and make(states[0]).executor == "dispatch"
    if count == 1 or convolutions or setting("disable_jit"):
        return Choice(1)

    sizes = [*(size for size in SIZES if size < count), count]
    trials = [
        trial for size in sizes for trial in _trials(size, members, states, make, visit, most)
    ]
    try:
        # In turns, so that a busy machine slows all of them alike.
        for _ in range(ROUNDS):
            for trial in trials:
                trial.go()
    finally:
        for trial in trials:
            trial.program.close()
    found = {size: min((t for t in trials if t.size == size), key=_best) for size in sizes}
    seconds = {size: trial.best for size, trial in found.items()}
    best = min(seconds, key=lambda size: seconds[size])
    if seconds[best] * GAIN > seconds[1]:
        best = 1
    return Choice(best, found[best].program.threads.count, seconds)


def _best(trial: "_Trial") -> float:
    return trial.best


def _trials(
    size: int,
    members: Sequence[int],
    states: Sequence[State],
    make: Callable[[State], Program],
    visit: Visit,
    most: int | None,
) -> "list[_Trial]":
    """Teams of a size on trial: from as many threads as there are cores, and from one.

    Large operations use all cores by themselves, and from several threads are in each other's way.
    """
    teams, places = teams_of(members, size), {member: n for n, member in enumerate(members)}
    crowds = [together([states[places[number]] for number in team]) for team in teams]
    # Copies: the steps are thrown away.
    first = _Trial(size, teams, [copy(state) for state in crowds], make, visit, most)
    if first.program.threads.count == 1:
        return [first]
    return [first, _Trial(size, teams, [copy(state) for state in crowds], make, visit, 1)]


class _Trial:
    """Teams that make steps to be timed."""

    def __init__(
        self,
        size: int,
        teams: Teams,
        states: Sequence[State],
        make: Callable[[State], Program],
        visit: Visit,
        threads: int | None,
    ):
        self.size, self.states = size, tuple(states)
        programs = [make(state) for state in states]
        self.program = TeamProgram(teams, programs, threads_for(programs, threads))
        self.program.enter(visit)
        self.done, self.steps = 0, 1
        #: seconds of a step of all members, in the fastest round
        self.best = math.inf
        self._advance()  # the first holds what is done once
        while self._advance() < ROUND and 2 * self.steps <= CAPACITY:
            self.steps *= 2

    def go(self) -> None:
        """One round."""
        self.best = min(self.best, self._advance() / self.steps)

    def _advance(self) -> float:
        began = time.perf_counter()
        self.states, _ = self.program.advance(self.states, self.done, self.steps)
        jax.block_until_ready(self.states)
        self.done += self.steps
        return time.perf_counter() - began
