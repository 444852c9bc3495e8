"""Which device of a mesh trains which members of a population.

Every device trains its share of each group by programs of its own: nothing passes between devices
while they step, and a member has the bits that it has in the same team on one device.

>>> from etude.engine.mesh import mesh
>>> spread = Spread.over(mesh(members=2), [range(3), range(3, 8)])
>>> spread.shares(range(8))
((0, 1, 6, 7), (2, 3, 4, 5))
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.sharding import Mesh, SingleDeviceSharding
from jaxtyping import PyTree

from etude.engine.mesh import MEMBERS, said
from etude.engine.place import Place


@dataclass(frozen=True)
class Spread:
    """The devices of a population, and whose members are whose.

    Attributes:
        mesh: None: all members are where their models and data are.
        device_of: the number of the device of each member, in the order of the mesh.
    """

    mesh: Mesh | None = None
    device_of: Mapping[int, int] = field(default_factory=dict[int, int])

    @classmethod
    def over(cls, mesh: Mesh | None, groups: Sequence[Sequence[int]]) -> "Spread":
        """The members of each group in shares as equal as can be, one for each device."""
        if mesh is None:
            return cls()
        loads = [0] * mesh.size
        found: dict[int, int] = {}
        for members in groups:
            idlest = sorted(range(mesh.size), key=lambda device: loads[device])
            for device, share in zip(idlest, parts(members, mesh.size), strict=True):
                loads[device] += len(share)
                found |= dict.fromkeys(share, device)
        return cls(mesh, found)

    @property
    def several(self) -> bool:
        """Whether there is more than one device."""
        return self.mesh is not None and self.mesh.size > 1

    @property
    def told(self) -> str | None:
        """The mesh in words; None if there is none."""
        return None if self.mesh is None else said(self.mesh)

    def put(self, member: int, tree: PyTree) -> PyTree:
        """Arrays on the device of a member."""
        if self.mesh is None:
            return tree
        device = self.mesh.devices.flat[self.device_of[member]]
        return Place(SingleDeviceSharding(device)).put(tree)

    def shares(self, members: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Some members, those of each device together; devices without any are left out."""
        if self.mesh is None:
            return (tuple(members),)
        found: dict[int, tuple[int, ...]] = {}
        for member in members:
            found[self.device_of[member]] = (*found.get(self.device_of[member], ()), member)
        return tuple(found[device] for device in sorted(found))

    def devices(self, teams: Sequence[Sequence[int]]) -> list[int]:
        """The device of each team."""
        return [self.device_of.get(team[0], 0) for team in teams]


def parts(members: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Members in so many parts, as equal as can be, the longer ones first.

    >>> parts(range(5), 2), parts(range(2), 3)
    ([(0, 1, 2), (3, 4)], [(0,), (1,), ()])
    """
    short, longer = divmod(len(members), count)
    found: list[tuple[int, ...]] = []
    start = 0
    for number in range(count):
        end = start + short + (number < longer)
        found.append(tuple(members[start:end]))
        start = end
    return found


def unspread(mesh: Any, sharding: Any, count: int) -> Iterator[str]:
    """A sentence for everything in the way of spreading so many members over a mesh."""
    if sharding is not None:
        yield (
            "sharding spreads one model over devices, and each member of a population is whole on "
            "one. Leave sharding out; mesh=et.mesh(members=4) spreads the members."
        )
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        yield (f"mesh is a jax.sharding.Mesh; got {type(mesh).__name__}. Pass et.mesh(members=4).")
    elif mesh.axis_names != (MEMBERS,):
        yield (
            f"A population is spread over the axis {MEMBERS!r} alone, each member whole on one "
            f"device; got a mesh of {said(mesh)}. Pass mesh=et.mesh(members={mesh.size})."
        )
    elif mesh.size > count:
        yield (
            f"A population of {count} cannot be spread over {mesh.size} devices, of which some "
            f"would have no member. Pass at most mesh=et.mesh(members={count}), on the command "
            f"line --devices {count}."
        )
