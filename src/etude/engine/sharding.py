"""How the arrays of a model are spread over a mesh: by their size, or by rules for their paths.

>>> import numpy as np
>>> from etude.engine.mesh import mesh
>>> model = {"w": np.zeros((6, 4), np.float32), "b": np.zeros(4, np.float32)}
>>> tuple(specs_of(mesh(data=2), Sharded(at_least=64), model)["['w']"])
('data', None)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.mesh import DATA, said
from etude.errors import ConfigurationError, suggest
from etude.kinds import is_a, is_mapping

MIB = 2**20


@dataclass(frozen=True)
class Sharded:
    """Large arrays are spread over an axis of the mesh, each along one of its dimensions.

    The dimension is the largest that the axis divides; an array without one stays whole on every
    device. Known as FSDP or ZeRO-3: a device keeps its share of parameters, optimizer state and
    averages, and gathers what a layer needs when it needs it.

    Args:
        at_least: bytes of the smallest array that is spread; smaller ones cost more to gather than
            they take.
        axis: of the mesh.

    Raises:
        ConfigurationError: a size that is no positive integer.

    >>> Sharded().at_least
    4194304
    """

    at_least: int = 4 * MIB
    axis: str = DATA

    def __post_init__(self) -> None:
        if not is_a(self.at_least, int) or isinstance(self.at_least, bool) or self.at_least < 1:
            raise ConfigurationError(
                f"Sharded: at_least is a positive number of bytes; got {self.at_least!r}."
            )

    def spec(self, mesh: Mesh, leaf: Any) -> PartitionSpec:
        """How an array is spread."""
        size = mesh.shape[self.axis]
        fitting = [place for place, length in enumerate(leaf.shape) if length % size == 0]
        if _bytes(leaf) < self.at_least or not fitting:
            return PartitionSpec()
        chosen = max(fitting, key=lambda place: leaf.shape[place])
        return PartitionSpec(*[self.axis if n == chosen else None for n in range(leaf.ndim)])


#: What a trainer takes as `sharding`.
Sharding = Sharded | Mapping[str, PartitionSpec | Sharded] | None


def specs_of(mesh: Mesh, sharding: Any, model: PyTree) -> dict[str, PartitionSpec]:
    """How each array of a model is spread, by its path.

    Raises:
        ConfigurationError: rules of another form, that match nothing, name axes that the mesh does
            not have, or split what the axis does not divide. All problems are in one message.
    """
    leaves = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(model)
        if is_array(leaf)
    }
    if sharding is None:
        return dict.fromkeys(leaves, PartitionSpec())
    if isinstance(sharding, Sharded):
        rules: dict[str, Any] = {"": sharding}
    elif is_mapping(sharding):
        rules = dict(sharding)
    else:
        raise ConfigurationError(
            "sharding is None, Sharded(...), or a dict of rules by path, as in "
            f'{{"layers.*weight": PartitionSpec(None, "model")}}; got {type(sharding).__name__}.'
        )
    problems: list[str] = []
    taken: dict[str, tuple[str, ...]] = {}
    for pattern, rule in rules.items():
        try:
            taken[pattern] = tuple(name for name in leaves if re.search(pattern, name))
        except (re.error, TypeError) as error:
            problems.append(f"sharding: {pattern!r} is no regular expression for a path: {error}.")
        problems += _problems(mesh, pattern, rule)
    if problems:
        raise ConfigurationError("\n".join(problems))
    specs = dict.fromkeys(leaves, PartitionSpec())
    free = set(leaves)
    for pattern, rule in rules.items():
        mine = [name for name in taken[pattern] if name in free]
        free -= set(mine)
        if not taken[pattern]:
            problems.append(
                f"sharding: {pattern!r} matches no array of the model. {suggest(pattern, leaves)}"
            )
        elif not mine:
            problems.append(
                f"sharding: all that {pattern!r} matches is taken by the rules before it, of which "
                "the first that matches an array decides. Put it before them, or leave it out."
            )
        elif isinstance(rule, Sharded):
            found = {name: rule.spec(mesh, leaves[name]) for name in mine}
            if not any(found.values()):
                problems.append(_too_small(mesh, rule, [leaves[name] for name in mine]))
            specs |= found
        else:
            problems += [one for name in mine for one in _unfit(mesh, rule, name, leaves[name])]
            specs |= {name: rule for name in mine}  # noqa: C420 (of one type)
    if problems:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)))
    return specs


def _problems(mesh: Mesh, pattern: str, rule: Any) -> list[str]:
    if isinstance(rule, Sharded):
        axes = [rule.axis]
    elif isinstance(rule, PartitionSpec):
        axes = [axis for entry in rule for axis in _axes(entry)]
    else:
        return [
            f"sharding: the rule for {pattern!r} is a PartitionSpec or Sharded(...); got "
            f"{type(rule).__name__}."
        ]
    return [
        f"sharding: the mesh has no axis {axis!r}; it has {said(mesh)}. "
        f"{suggest(str(axis), mesh.axis_names)}"
        for axis in dict.fromkeys(axes)
        if axis not in mesh.shape
    ]


def _unfit(mesh: Mesh, spec: PartitionSpec, name: str, leaf: Any) -> list[str]:
    """What keeps an array from being spread so."""
    if len(spec) > leaf.ndim:
        return [
            f"sharding: {name} has the shape {list(leaf.shape)}, of fewer dimensions than {spec}."
        ]
    problems: list[str] = []
    for place, entry in enumerate(spec):
        size = prod(mesh.shape[axis] for axis in _axes(entry))
        if leaf.shape[place] % size:
            problems.append(
                f"sharding: {name} has the shape {list(leaf.shape)}; {spec} splits dimension "
                f"{place} in {size}, which does not divide {leaf.shape[place]}."
            )
    return problems


def _too_small(mesh: Mesh, rule: Sharded, leaves: list[Any]) -> str:
    largest = max(leaves, key=_bytes)
    size = mesh.shape[rule.axis]
    if _bytes(largest) < rule.at_least:
        return (
            f"sharding: no array has at_least={rule.at_least} bytes; the largest has "
            f"{_bytes(largest)}. Pass Sharded(at_least={_bytes(largest)}), or leave sharding out: "
            "so small a model is best replicated."
        )
    return (
        f"sharding: no large array has a dimension that the {size} devices of axis {rule.axis!r} "
        f"divide; the largest has the shape {list(largest.shape)}. Use another number of devices, "
        "or leave sharding out."
    )


def _axes(entry: Any) -> tuple[str, ...]:
    """The axes of one dimension of a spec: none, one, or several."""
    axes: list[str] = jax.tree.leaves(entry)
    return tuple(axes)


def _bytes(leaf: Any) -> int:
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.extended):
        return 0
    return prod(leaf.shape) * leaf.dtype.itemsize
