"""What happens to the members of a population between stretches of steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np

from etude.callbacks.base import Exchange, Reason, Stop
from etude.callbacks.members import column, of_member
from etude.engine.state import State
from etude.errors import ConfigurationError, NonFiniteError, suggest
from etude.population.factors import times
from etude.population.states import copy, exchanged
from etude.training.fingerprint import described
from etude.training.judge import Judge
from etude.training.phase_visit import Visit
from etude.training.session import Session
from etude.training.telling import Telling

if TYPE_CHECKING:
    from etude.population.subject import Members


class MembersBoundary:
    """The boundaries of a population: each member is measured, and ends, as it would alone."""

    def __init__(
        self,
        subject: "Members",
        session: Session,
        telling: Telling,
        poll: Callable[[], None],
    ):
        self.subject, self.session, self.telling = subject, session, telling
        self.hooks = telling.hooks
        #: the judge of each member, of its group
        judges = [Judge(group.settings, poll) for group in subject.bound.groups]
        groups = subject.bound.groups
        self._judges = {
            n: judge for g, judge in zip(groups, judges, strict=True) for n in g.members
        }

    def validate(self, visit: Visit, *, last: bool) -> dict[str, Any] | None:
        """The metrics of the validations that are due, of the members that go on."""
        going = [number for number, one in enumerate(visit.members) if one.reason is None]
        due = self._judges[0].due(visit, last=last)
        if not going or not due:
            return None
        began = time.perf_counter()
        found: dict[str, Any] = {}
        for number in going:
            found |= self._measure(visit, number, due)
        self.telling.took(visit, "valid", time.perf_counter() - began)
        self.telling.journal.validation(visit, found)
        self.telling.call("on_validation_end", visit, found)
        return found

    def measure_outcome(self, visit: Visit) -> dict[str, Any]:
        """The validations of the last phase on the models that the training leaves."""
        began = time.perf_counter()
        found, made = dict[str, Any](), False
        for number, member in enumerate(visit.members):
            seen = self.subject.seen(visit, number)
            made |= self._judges[number].complete(seen)
            member.verdict, member.verdict_step = seen.verdict, seen.verdict_step
            found |= {
                column(name, number): value
                for metrics in seen.verdict.values()
                for name, value in metrics.items()
            }
        if made:
            self.telling.took(visit, "valid", time.perf_counter() - began)
        return found

    def decide(self, visit: Visit, measured: dict[str, Any] | None, ending: Stop | None) -> None:
        """Which members end here, and whether all have."""
        ending = self.hooks.take_stop() or ending
        stops = self.hooks.take_member_stops()
        for number, member in enumerate(visit.members):
            if member.reason is not None:
                continue
            own = of_member(measured or {}, number)
            stop = stops.get(number) or ending
            if own and member.phase.reached(own):
                member.reason, member.detail = Reason.GOAL, ", ".join(map(str, member.phase.goals))
            elif stop is not None:
                member.reason, member.detail = stop.reason, stop.detail
        self._end(visit)
        # All that are asked for at once copy members as they are before any.
        before = replace(visit)
        for exchange in self.hooks.take_exchanges():
            self._exchange(visit, before, exchange)
        reasons = [member.reason for member in visit.members]
        if None in reasons:
            return
        if all(reason is Reason.FAULT for reason in reasons):
            told = "\n".join(
                f"Member {number}: {one.detail}" for number, one in enumerate(visit.members)
            )
            raise NonFiniteError(
                f"No member goes on:\n{told}\nLower the learning rate, clip the updates "
                "(Learner(clip_norm=1.0)), check the data, or choose nonfinite='skip'."
            )
        last = max(
            (one for one in visit.members if one.reason is not Reason.FAULT),
            key=lambda one: one.step,
        )
        visit.reason, visit.detail = last.reason, last.detail

    def _measure(self, visit: Visit, number: int, due: Sequence[int]) -> dict[str, Any]:
        """The validations of one member, by the names of its columns."""
        member, seen = visit.members[number], self.subject.seen(visit, number)
        made: dict[int, dict[str, Any]] = {}
        for place in due:
            ema = member.phase.validations[place].ema
            arrays = member.plan.arrays(seen.state, ema=ema)
            made[place] = self._judges[number].measure(seen, place, arrays, visit.step)
            member.note_best(made[place], arrays, ema=ema)
        member.note_verdict(made)
        return {
            column(name, number): value
            for metrics in made.values()
            for name, value in metrics.items()
        }

    def _end(self, visit: Visit) -> None:
        """Members that have ended are told, once, and stand still."""
        ended = [
            number
            for number, one in enumerate(visit.members)
            if one.reason is not None and not one.closed
        ]
        for number in ended:
            member = visit.members[number]
            assert member.reason is not None
            detail = "; ".join(filter(None, [member.detail, member.without_best()]))
            if member.reason is not Reason.LENGTH or detail:  # the length is that of the phase
                self.telling.journal.event(
                    visit, "member_end", member=number, at=member.step, reason=member.reason.name,
                    **({"detail": detail} if detail else {}),
                )  # fmt: skip
            member.closed = True
            self.telling.call("on_member_end", visit, number, member.reason, detail)
        if ended:
            visit.state = self.subject.activated(visit, visit.state)

    def _exchange(self, visit: Visit, before: Visit, asked: Exchange) -> None:
        """A member goes on as a copy of another, with other numbers, unless it has ended."""
        group = self.subject.group(asked.member)
        if asked.source not in group.members:
            raise ConfigurationError(
                f"Member {asked.member} cannot go on as a copy of member {asked.source}: their "
                "models have other shapes. Exchange within a group."
            )
        source = self.subject.state(before, asked.source)
        member = visit.members[asked.member]
        if member.reason is not None:  # what it has come to would be lost
            self.telling.journal.event(
                visit, "exchange_left_out", member=asked.member, source=asked.source,
                ended=member.reason.name,
            )  # fmt: skip
            return
        hyper = dict(source.hyper)
        for name, factor in asked.factors.items():
            if name not in hyper:
                raise ConfigurationError(
                    f"An exchange has a factor for {name!r}, which does not vary. "
                    f"{suggest(name, hyper)}"
                )
            hyper[name] = times(name, hyper[name], factor)
        own = self.subject.state(visit, asked.member)
        new = eqx.tree_at(
            lambda s: (s.model, s.learners, s.hyper),
            own,
            (source.model, source.learners, hyper),
        )
        if not member.keeps_best:
            member.forget_verdict()
        team, index = self.subject.place_of(visit.phase.name, asked.member)
        states: list[State] = list(visit.state)
        # Copies: two states that are given away share no buffer.
        new = copy(self.subject.spread.put(asked.member, new))
        states[team] = exchanged(states[team], index, new)
        visit.state = tuple(states)
        told = {name: described(np.asarray(hyper[name])) for name in asked.factors}
        self.telling.journal.event(
            visit, "exchange", member=asked.member, source=asked.source, **told
        )
