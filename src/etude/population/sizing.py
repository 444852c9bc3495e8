"""How many members step together: what a short timing finds fastest.

Side by side, small models pay off, on a CPU too; large ones do not, and convolutions become grouped
ones there, which are slow. So the trainer tries, and says what it found.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import jax

from etude.engine.chunk import CAPACITY
from etude.engine.program import Program
from etude.engine.state import State
from etude.engine.surroundings import setting
from etude.population.programs import TeamProgram, Teams
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
    count = -(-len(members) // size)
    short, longer = divmod(len(members), count)
    found: list[tuple[int, ...]] = []
    start = 0
    for number in range(count):
        end = start + short + (number < longer)
        found.append(tuple(members[start:end]))
        start = end
    return tuple(found)


@dataclass(frozen=True)
class Choice:
    """The teams of a group that were found fastest, and from how many threads they are started.

    Attributes:
        seconds: of a step of all members, by the size of a team; none where nothing was timed.
        threads: None if nothing was timed.
    """

    teams: Teams
    threads: int | None = None
    seconds: Mapping[int, float] = field(default_factory=dict[int, float])


def fastest(
    members: Sequence[int],
    states: Sequence[State],
    make: Callable[[State], Program],
    visit: Visit,
) -> Choice:
    """The teams in which the members make their steps fastest.

    The states are copied. `make` compiles the program of a team.
    """
    count = len(members)
    convolutions = jax.default_backend() == "cpu" and make(states[0]).executor == "dispatch"
    if count == 1 or convolutions or setting("disable_jit"):
        return Choice(teams_of(members, 1))

    def timed(size: int, threads: int | None) -> tuple[float, int]:
        return _timed(teams_of(members, size), members, states, make, visit, threads)

    seconds: dict[int, float] = {}
    threads: dict[int, int] = {}
    for size in [*(size for size in SIZES if size < count), count]:
        seconds[size], threads[size] = timed(size, None)
        if threads[size] > 1:
            # Large operations use all cores by themselves, and are in each other's way.
            alone, _ = timed(size, 1)
            if alone < seconds[size]:
                seconds[size], threads[size] = alone, 1
    best = min(seconds, key=lambda size: seconds[size])
    if seconds[best] * GAIN > seconds[1]:
        best = 1
    return Choice(teams_of(members, best), threads[best], seconds)


def _timed(
    teams: Teams,
    members: Sequence[int],
    states: Sequence[State],
    make: Callable[[State], Program],
    visit: Visit,
    threads: int | None,
) -> tuple[float, int]:
    """Seconds of a step of all members, and the threads that they were started from."""
    # Copies: the steps are thrown away.
    places = {member: place for place, member in enumerate(members)}
    trial = tuple(copy(together([states[places[number]] for number in team])) for team in teams)
    program = TeamProgram(teams, [make(state) for state in trial], threads)
    program.enter(visit)
    done, steps, taken = 0, 1, 0.0

    def go(trial: tuple[State, ...]) -> tuple[tuple[State, ...], float]:
        began = time.perf_counter()
        trial, _ = program.advance(trial, done, steps)
        jax.block_until_ready(trial)
        return trial, time.perf_counter() - began

    try:
        trial, _ = go(trial)  # the first holds what is done once
        done += steps
        while taken < ROUND and 2 * steps <= CAPACITY:
            steps *= 2
            trial, taken = go(trial)
            done += steps
        best = taken
        for _ in range(ROUNDS - 1):
            trial, taken = go(trial)
            done, best = done + steps, min(best, taken)
    finally:
        program.close()
    return best / steps, program.threads
