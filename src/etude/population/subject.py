"""A population as what a training trains."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.callbacks.base import Reason
from etude.engine import randomness
from etude.engine.beginning import copied
from etude.engine.phase import Phase
from etude.engine.state import State
from etude.engine.step import state_of
from etude.population.binding import Bound
from etude.population.boundary import MembersBoundary
from etude.population.groups import Group, group_of
from etude.population.programs import TeamPrograms, Teams
from etude.population.resuming import restored_population
from etude.population.sizing import fastest, teams_of
from etude.population.states import activated, alone, together
from etude.run import Run
from etude.training.fingerprint import DEVICES, described, fingerprint
from etude.training.phase_visit import Visit
from etude.training.resuming import Restoration, Resume
from etude.training.session import Session
from etude.training.subject import Place
from etude.training.telling import Telling


class Members:
    """The members of a population; `etude.training.subject.Subject` says how they are trained.

    The visit to a phase has the states of its teams, and a visit for each member, without a state,
    that says where the member stands: how it ended, its best weights.
    """

    def __init__(self, bound: Bound):
        self.bound, self.settings = bound, bound.settings
        self.count = len(bound.members)
        self.groups = tuple(group.members for group in bound.groups)
        self.spread = bound.spread
        self.programs = TeamPrograms(bound.groups, self.settings.executor, bound.spread)
        #: by phase, the seconds of a step in teams of each size that was timed in this sitting
        self.timed: dict[str, dict[int, float]] = {}
        #: members at fault in the phase before, and what was: they take no part in the next
        self._fallen: dict[int, str] = {}

    def fingerprint(self) -> dict[str, Any]:
        found = fingerprint(self.settings)
        for number, group in enumerate(self.bound.groups[1:], 1):
            other = fingerprint(group.settings)
            found |= {
                f"groups.{number}.{name}": one
                for name, one in other.items()
                if found.get(name) != one
            }
        if self.spread.told is not None:
            found[f"{DEVICES}.mesh"] = self.spread.told
        found["population.members"] = self.count
        found["population.team"] = self.bound.population.team
        for member in self.bound.members:
            place = f"population.{member.number}"
            found[f"{place}.seed"] = member.seed
            found |= {f"{place}.{name}": _named(one) for name, one in member.varied.items()}
        return found

    def first(self) -> list[PyTree]:
        return list(self.bound.arrays)

    def visit(self, phase: Phase, arrays: PyTree, place: Place, *, donate: bool) -> Visit:
        visit = self.begun(phase, place)
        states = [
            self._state(phase.name, number, placed, place, donate=donate)
            for number in range(self.count)
            for placed in [self.spread.put(number, arrays[number])]
        ]
        if phase.name not in self.programs.teams:
            self.programs.teams[phase.name] = self._teams(visit, states)
        teams = self.programs.teams[phase.name]
        visit.state = tuple(together([states[number] for number in team]) for team in teams)
        if self._fallen:
            visit.state = self.activated(visit, visit.state)
        return visit

    def activated(self, visit: Visit, states: Sequence[State]) -> tuple[State, ...]:
        """The states of the teams, in which those members step that have not ended."""
        going = [member.reason is None for member in visit.members]
        teams = self.programs.teams[visit.phase.name]
        return tuple(
            activated(state, [going[number] for number in team])
            for state, team in zip(states, teams, strict=True)
        )

    def begun(self, phase: Phase, place: Place) -> Visit:
        """A visit without states; those whose last phase ended with a fault take no part."""
        number, attempt, origin = place
        plans = [self._plan(phase.name, number) for number in range(self.count)]
        visit = Visit(phase, plans[0], number, attempt, origin, None)
        visit.members = tuple(
            Visit(plan.phase, plan, number, attempt, origin, None) for plan in plans
        )
        for number, detail in self._fallen.items():
            member = visit.members[number]
            member.reason, member.detail, member.closed = Reason.FAULT, detail, True
        return visit

    def fresh(self, phase: str, place: Place) -> tuple[State, ...]:
        """The states of the teams of a phase as if it began now, for a resume to be filled in.

        A team is on the device of its first member, also if others are elsewhere.
        """

        def state(number: int, team: Sequence[int]) -> State:
            arrays = self.spread.put(team[0], self.bound.arrays[number])
            return self._state(phase, number, arrays, place, donate=False)

        teams = self.programs.teams[phase]
        return tuple(together([state(number, team) for number in team]) for team in teams)

    def divide(self, visit: Visit) -> None:
        """Divides the teams whose members are on several devices, as after a resume on others."""
        name, teams = visit.phase.name, self.programs.teams
        states: list[State] = []
        for team, state in zip(teams[name], visit.state, strict=True):
            shares = self.spread.shares(team)
            if len(shares) == 1:
                states.append(state)
                continue
            for share in shares:
                members = [alone(state, team.index(number)) for number in share]
                states.append(self.spread.put(share[0], together(members)))
        visit.state = tuple(states)
        self.programs.teams = {
            phase: tuple(share for team in those for share in self.spread.shares(team))
            for phase, those in teams.items()
        }

    def hand_over(self, visit: Visit) -> list[PyTree]:
        self._fallen = {
            number: member.detail
            for number, member in enumerate(visit.members)
            if member.reason is Reason.FAULT
        }
        return [self.seen(visit, number).hand_over() for number in range(self.count)]

    def model(self, visit: Visit) -> tuple[Any, ...]:
        return tuple(
            eqx.combine(arrays, member.plan.static)
            for arrays, member in zip(self.hand_over(visit), visit.members, strict=True)
        )

    def model_of(self, visit: Visit) -> Callable[..., Any]:
        def build(*, ema: bool = False) -> Any:
            return tuple(self._copy(visit, number, ema=ema) for number in range(self.count))

        return build

    def teams(self, visit: Visit) -> str:
        phase = visit.phase.name
        sizes = Counter(len(team) for team in self.programs.teams[phase])
        told = ", ".join(f"{many} of {size}" for size, many in sizes.items())
        seconds = self.timed.get(phase, {})
        tried = ", ".join(
            f"{seconds[1] / one:.2f} times as fast in teams of {size}"
            for size, one in seconds.items()
            if size > 1
        )
        where = f", on {len(set(self._devices(phase)))} devices" if self.spread.several else ""
        timed = f" (timed: {tried})" if tried else ""
        return f"{self.count} members in teams: {told}{where}{timed}"

    def details(self, visit: Visit) -> dict[str, Any]:
        phase = visit.phase.name
        sizes = [len(team) for team in self.programs.teams[phase]]
        devices = {"devices": self._devices(phase)} if self.spread.several else {}
        return {"members": self.count, "teams": sizes, **devices}

    def as_json(self) -> dict[str, Any]:
        stops = self.settings.hooks.member_stops
        return {
            "teams": self.programs.teams,
            "threads": self.programs.threads,
            "member_stops": [[n, stop.reason.name, stop.detail] for n, stop in stops.items()],
        }

    def restore(self, run: Run, fingerprint: Mapping[str, Any], how: Resume) -> Restoration | None:
        return restored_population(self, run, fingerprint, how)

    def boundary(
        self, session: Session, telling: Telling, poll: Callable[[], None]
    ) -> MembersBoundary:
        return MembersBoundary(self, session, telling, poll)

    def group(self, member: int) -> Group:
        """The group of a member."""
        return self.bound.groups[group_of(self.bound.groups, member)]

    def place_of(self, phase: str, member: int) -> tuple[int, int]:
        """The team of a member in a phase, and its place there."""
        for number, team in enumerate(self.programs.teams[phase]):
            if member in team:
                return number, team.index(member)
        raise AssertionError(f"no team has member {member}")

    def state(self, visit: Visit, member: int) -> State:
        """The state of a member."""
        team, index = self.place_of(visit.phase.name, member)
        return alone(visit.state[team], index)

    def seen(self, visit: Visit, member: int) -> Visit:
        """The visit of a member with its state, as that of a lone training has it."""
        return replace(visit.members[member], state=self.state(visit, member))

    def _devices(self, phase: str) -> list[int]:
        return self.spread.devices(self.programs.teams[phase])

    def _plan(self, phase: str, member: int) -> Any:
        return self.group(member).settings.bound[phase].plan

    def _state(
        self, phase: str, number: int, arrays: PyTree, place: Place, *, donate: bool
    ) -> State:
        member, plan = self.bound.members[number], self._plan(phase, number)
        keys = randomness.visit_keys(member.seed, phase, place.number, place.attempt)
        hyper = {**plan.phase.hyper, **member.hyper} if member.hyper else None
        return state_of(plan, arrays, keys, donate=donate, hyper=hyper)

    def _teams(self, visit: Visit, states: Sequence[State]) -> Teams:
        """The teams of a phase: of the size that was asked for, or that is fastest."""
        found: list[tuple[int, ...]] = []
        for number, group in enumerate(self.bound.groups):
            shares = self.spread.shares(group.members)
            size = self.bound.population.team
            if size is None:
                size = self._timed_size(visit, number, max(shares, key=len), states)
            found += [team for share in shares for team in teams_of(share, size)]
        return tuple(found)

    def _timed_size(
        self, visit: Visit, group: int, share: Sequence[int], states: Sequence[State]
    ) -> int:
        """The size of a team that is fastest for members of a group that are on one device."""
        name = visit.phase.name
        choice = fastest(
            share,
            [states[member] for member in share],
            lambda state: self.programs.program(name, group, state),
            visit,
            1 if self.spread.several else None,
        )
        # Of groups that are timed one by one, the first says what is told.
        if not group:
            self.timed[name] = dict(choice.seconds)
            if choice.threads is not None and not self.spread.several:
                self.programs.threads[name] = choice.threads
        return choice.size

    def _copy(self, visit: Visit, number: int, *, ema: bool) -> Any:
        plan = visit.members[number].plan
        arrays = plan.arrays(self.state(visit, number), ema=ema)
        return eqx.combine(jax.tree.map(copied, arrays), plan.static)


def _named(value: Any) -> Any:
    """A varied value as a checkpoint knows it: functions and types by their names."""
    if isinstance(value, complex):
        return str(value)
    return getattr(value, "__qualname__", None) or described(value)
