"""What a population leaves of each member."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.callbacks.base import Reason
from etude.callbacks.members import of_member
from etude.population.spec import Member
from etude.population.subject import Members
from etude.run.trials import TABLE
from etude.run.whole_file import write_whole
from etude.training.loop import Training


@dataclass(frozen=True)
class MemberResult:
    """Where a member of a population ended.

    Attributes:
        seed: its own.
        varied: its values, as `Population(vary=...)` names them; of a number that an exchange has
            changed in the last phase, that at the end.
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


def member_results(subject: Members, training: Training) -> tuple[MemberResult, ...]:
    """Of each member, in their order; the training is over."""
    found: list[MemberResult] = []
    root = training.session.root
    for member, visit in zip(subject.bound.members, root.members, strict=True):
        assert visit.reason is not None
        varied = _present(member, subject.state(root, member.number).hyper)
        metrics = of_member(training.metrics, member.number)
        found.append(
            MemberResult(member.seed, varied, visit.reason, visit.detail, visit.step, metrics)
        )
    return tuple(found)


def _present(member: Member, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a member, with the numbers that its state has; as they were given, if equal."""
    found = dict(member.varied)
    for name, first in member.hyper.items():
        now = np.asarray(hyper[name])
        if now != np.asarray(first).astype(now.dtype):
            # The shortest text of a number in single precision is what it was before rounding.
            found[name] = float(str(now)) if now.dtype.kind == "f" else now.item()
    return found


def write_table(folder: Path, members: Sequence[MemberResult]) -> None:
    """A row for each member, which the report of the run shows."""
    varied = list(members[0].varied)
    scalars = [
        {name: value for name, value in one.metrics.items() if np.ndim(value) == 0}
        for one in members
    ]
    names = list(dict.fromkeys(name for one in scalars for name in one))
    rows = [
        [
            str(number),
            str(one.seed),
            *(f"{one.varied[name]}" for name in varied),
            one.reason.name,
            str(one.step),
            *(f"{metrics[name]:.5g}" if name in metrics else "" for name in names),
        ]
        for number, (one, metrics) in enumerate(zip(members, scalars, strict=True))
    ]
    head = ["member", "seed", *varied, "ended", "step", *names]
    write_whole(folder / TABLE, json.dumps({"head": head, "rows": rows}).encode())
