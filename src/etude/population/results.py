"""What a population leaves of each member."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from etude.callbacks.base import Reason
from etude.callbacks.members import of_member
from etude.population.binding import Bound
from etude.training.loop import Training


@dataclass(frozen=True)
class MemberResult:
    """Where a member of a population ended.

    Attributes:
        seed: its own.
        varied: its values, as `Population(vary=...)` names them, at the beginning.
        reason: why its last phase ended, with `detail`.
        step: steps that it made in that phase.
        metrics: what the validations of the last phase give for its model.
    """

    seed: int
    varied: Mapping[str, Any]
    reason: Reason
    detail: str
    step: int
    metrics: Mapping[str, Any]


def member_results(bound: Bound, training: Training) -> tuple[MemberResult, ...]:
    """Of each member, in their order; the training is over."""
    found: list[MemberResult] = []
    for member, visit in zip(bound.members, training.session.root.members, strict=True):
        assert visit.reason is not None
        metrics = of_member(training.metrics, member.number)
        found.append(
            MemberResult(
                member.seed, member.varied, visit.reason, visit.detail, visit.step, metrics
            )
        )
    return tuple(found)
