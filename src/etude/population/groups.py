"""Members by the shapes of their models, each group bound to the phases as a lone training is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.phase import Phase
from etude.errors import ModelError
from etude.population.given import Given
from etude.population.sameness import difference, same
from etude.population.spec import Member, Population
from etude.training.settings import Settings


@dataclass(frozen=True)
class Group:
    """Members of equal settings.

    Attributes:
        members: their numbers.
        settings: those of the lone training of the first of them.
    """

    members: tuple[int, ...]
    settings: Settings

    def anew(self) -> "Group":
        """The same for another training."""
        return replace(self, settings=self.settings.anew())


def group_of(groups: Sequence[Group], member: int) -> int:
    """The number of the group that a member belongs to."""
    return next(number for number, group in enumerate(groups) if member in group.members)


def grouped(members: Sequence[Member]) -> list[list[Member]]:
    """Members of equal settings together, in the order of their first ones."""
    found: list[list[Member]] = []
    for member in members:
        for group in found:
            if same(group[0].settings, member.settings):
                group.append(member)
                break
        else:
            found.append([member])
    return found


def models_of(population: Population | Given, group: Sequence[Member]) -> list[PyTree]:
    """The models that the members of a group begin with.

    Raises `ModelError` for one that is another than those of the same settings.
    """
    models = [population.model(member) for member in group]
    if isinstance(population, Given):
        return models  # their programs were compared
    for member, model in zip(group, models, strict=True):
        if found := difference(models[0], model):
            place, expected, got = found
            raise ModelError(
                f"Population: init makes another model for member {member.number} (seed "
                f"{member.seed}) than for member {group[0].number}, of equal settings: got {got} "
                f"at {place}, expected {expected}. Let only values of arrays depend on the key, "
                "make functions and objects once, outside init, and pass what else differs as a "
                'setting: vary={"width": [...]}.'
            )
    return models


def phases_of(phases: Sequence[Phase], hyper: Mapping[str, Any]) -> tuple[Phase, ...]:
    """The phases with the numbers of a member."""
    if not hyper:
        return tuple(phases)
    return tuple(replace(phase, hyper={**phase.hyper, **hyper}) for phase in phases)


def arrays_like(template: PyTree, model: PyTree) -> PyTree:
    """The arrays of a model in the structure of another of the same arrays.

    What is static may be other objects, such as functions that `init` makes anew at every call.
    """
    leaves = [leaf for leaf in jax.tree.leaves(model) if is_array(leaf)]
    return jax.tree.unflatten(jax.tree.structure(eqx.filter(template, is_array)), leaves)
