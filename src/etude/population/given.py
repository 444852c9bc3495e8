"""A population of models that are made already: the trials of an experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etude.population.spec import Member


@dataclass(frozen=True)
class Given:
    """Members that differ in their seed, with the model that each begins with.

    It stands where a `Population` does.
    """

    seeds: Sequence[int]
    models: Sequence[Any]
    team: int | None = None

    @property
    def count(self) -> int:
        """How many members there are."""
        return len(self.seeds)

    def listed(self, seed: int) -> tuple[Member, ...]:
        """Its members; the seed of the trainer is that of none."""
        return tuple(Member(number, one, {}) for number, one in enumerate(self.seeds))

    def model(self, member: Member) -> Any:
        """The model that a member begins with."""
        return self.models[member.number]
