"""Where a training on several devices has its arrays: batches, model, and what follows the model.

>>> from etude.engine.mesh import mesh
>>> layout = Layout.of(mesh(data=2), None, {"w": jnp.zeros(3)})
>>> tuple(layout.batches.put(np.arange(4.0)).sharding.spec)
('data',)
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.mesh import DATA, MEMBERS, check_mesh, said
from etude.engine.place import Place, put
from etude.engine.processes import processes
from etude.engine.sharding import specs_of
from etude.engine.source import Piece, Resident, Share, Shared, Source
from etude.engine.state import State
from etude.errors import ConfigurationError
from etude.kinds import is_a


class ByRows(eqx.Module):
    """Marks data that are stored by rows: the first axis of each array counts the shards."""

    arrays: PyTree


@dataclass(frozen=True)
class Batches:
    """Batches spread over the data axis of a mesh, sample by sample.

    An array whose first axis the devices do not divide, as that of a short last batch, is whole on
    each of them: every device then computes the same, and the result is exact.
    """

    mesh: Mesh

    @property
    def devices(self) -> int:
        """How many parts a batch has."""
        return self.mesh.shape.get(DATA, 1)

    @cached_property
    def share(self) -> Share | None:
        """What this process reads of every batch; None where it reads all of it."""
        if self.mesh.is_multi_process and DATA in self.mesh.shape:
            axis = self.mesh.axis_names.index(DATA)
            here = {device.id for device in self.mesh.local_devices}
            mine = [
                place
                for place, devices in enumerate(np.moveaxis(self.mesh.devices, axis, 0))
                if any(device.id in here for device in np.ravel(devices))
            ]
            if mine == list(range(mine[0], mine[-1] + 1)):
                return Share(mine[0], mine[-1] + 1, self.devices)
        return None

    def sequence(self, source: Source) -> Iterator[tuple[PyTree, int]]:
        """The samples of a source in order, as `put` takes them: of a shared one, the share."""
        if self.share is not None and isinstance(source, Shared):
            return source.share_of_sequence(self.share)
        samples = source.sequential()
        if self.mesh.is_multi_process and not isinstance(source, Resident) and not source.seeks:
            return _in_step(samples)
        return samples

    def put(self, tree: PyTree) -> PyTree:
        """`tree`, or the pieces that this process has of it, on the devices."""

        def one(leaf: Any) -> Array:
            if not isinstance(leaf, Piece):
                return put(leaf, self._sharding(leaf))
            array = np.asarray(leaf.array)
            array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype), copy=False)
            if array.shape == leaf.shape:  # every process has read it all
                return put(array, self._sharding(array))
            sharding = NamedSharding(self.mesh, PartitionSpec(DATA))
            make = jax.make_array_from_process_local_data  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            return make(sharding, array, leaf.shape)

        return jax.tree.map(one, tree)

    def spread(self, tree: PyTree) -> PyTree:
        """`tree`, traced, with its samples computed where they belong."""

        def one(leaf: Any) -> Any:
            if not (is_a(leaf, Tracer) and self._splits(leaf)):
                return leaf
            return _constrained(leaf, self._sharding(leaf))

        return jax.tree.map(one, tree)

    def _splits(self, leaf: Any) -> bool:
        if is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            return False
        return bool(np.ndim(leaf)) and len(leaf) % self.devices == 0 and self.devices > 1

    def _sharding(self, leaf: Any) -> NamedSharding:
        spec = PartitionSpec(DATA) if self._splits(leaf) else PartitionSpec()
        return NamedSharding(self.mesh, spec)


def _in_step(samples: Iterator[tuple[PyTree, int]]) -> Iterator[tuple[PyTree, int]]:
    """The samples of a stream, which may end earlier in one process than in another.

    Raises `ConfigurationError` in all of them if it does.
    """
    for number in itertools.count():
        found = next(samples, None)
        size = None if found is None else found[1]
        processes().all_agree({f"samples in batch {number} of a stream": size})
        if found is None:
            return
        yield found


@dataclass(frozen=True)
class Layout:
    """A mesh, and how the arrays of one model are spread over it.

    Attributes:
        specs: by the path of an array in the model, its shape and how it is spread.
    """

    mesh: Mesh
    specs: Mapping[str, tuple[tuple[int, ...], PartitionSpec]]

    @classmethod
    def of(cls, mesh: Any, sharding: Any, model: PyTree) -> "Layout":
        """The layout of a model. Raises `ConfigurationError` with all that is wrong."""
        mesh = check_mesh(mesh)
        specs = specs_of(mesh, sharding, model)
        shapes = {
            jax.tree_util.keystr(path): leaf.shape
            for path, leaf in jax.tree_util.tree_leaves_with_path(model)
            if is_array(leaf)
        }
        return cls(mesh, {name: (shape, specs[name]) for name, shape in shapes.items()})

    @property
    def spread(self) -> dict[str, PartitionSpec]:
        """The arrays of the model that are not whole on every device, by their paths."""
        return {name: spec for name, (_, spec) in self.specs.items() if any(spec)}

    @cached_property
    def place(self) -> Place:
        """All devices, each with the whole of what is put there."""
        return Place(NamedSharding(self.mesh, PartitionSpec()))

    @cached_property
    def batches(self) -> Batches:
        """Where the samples of a batch go."""
        return Batches(self.mesh)

    def put(self, arrays: PyTree) -> PyTree:
        """The arrays of the model, spread."""

        def one(leaf: Any, sharding: NamedSharding) -> Any:
            return leaf if is_a(leaf, Tracer) else put(leaf, sharding)

        return jax.tree.map(one, arrays, self.shardings(arrays))

    def put_data(self, arrays: PyTree) -> PyTree:
        """Resident data, or their order: whole on every device, or by rows where they are so."""
        rows = NamedSharding(self.mesh, PartitionSpec(DATA if DATA in self.mesh.shape else None))

        def one(leaf: Any) -> Any:
            if not isinstance(leaf, ByRows):
                return self.place.put(leaf)
            return jax.tree.map(lambda part: put(part, rows), leaf)

        return jax.tree.map(one, arrays, is_leaf=lambda leaf: isinstance(leaf, ByRows))

    def shardings(self, tree: PyTree) -> PyTree:
        """How each array of a state or a model is spread.

        What belongs to a parameter, as a moment or an average, has the path of the parameter at
        the end of its own, and its shape; it is spread as the parameter is.
        """

        def one(path: Any, leaf: Any) -> NamedSharding:
            return NamedSharding(self.mesh, self._spec(path, leaf))

        return jax.tree_util.tree_map_with_path(one, tree)

    def pin(self, state: State) -> State:
        """A state, traced, with model and learners spread as they were at first."""

        evolving = state.model, state.learners
        found = jax.tree.map(_constrained, evolving, self.shardings(evolving))
        return cast(State, eqx.tree_at(lambda s: (s.model, s.learners), state, found))

    def whole(self, tree: PyTree) -> PyTree:
        """Results, traced, whole on every device."""

        def one(leaf: Any) -> Any:
            return _constrained(leaf, self.place.sharding) if is_a(leaf, Tracer) else leaf

        return jax.tree.map(one, tree)

    def _spec(self, path: Any, leaf: Any) -> PartitionSpec:
        for start in range(len(path) + 1):  # the longest end first
            known = self.specs.get(jax.tree_util.keystr(path[start:]))
            if known is not None and known[0] == leaf.shape:
                return known[1]
        return PartitionSpec()


def layout_of(mesh: Any, sharding: Any, model: PyTree) -> Layout | None:
    """The layout that a trainer is asked for; None without a mesh. Raises as `Layout.of`."""
    together = processes()
    if mesh is not None:
        layout = Layout.of(mesh, sharding, model)
        if MEMBERS in layout.mesh.shape:
            raise ConfigurationError(
                f"The members of a population are spread over the axis {MEMBERS!r}, and this is "
                f"one model; got a mesh of {said(layout.mesh)}. Pass mesh=et.mesh(data=4), which "
                "spreads its batches, or Trainer(phases=..., population=...)."
            )
        if together.count > 1 and layout.mesh.size < jax.device_count():
            raise ConfigurationError(
                f"mesh({said(layout.mesh)}) leaves out devices of the {together.count} processes, "
                f"which all take part with all they have: got {layout.mesh.size}, expected "
                f"{jax.device_count()}. Pass et.mesh(data={jax.device_count()})."
            )
        return layout
    if together.count > 1:
        raise ConfigurationError(
            f"{together.count} processes are joined by jax.distributed, and each would train by "
            f"itself; got no mesh. Pass mesh=et.mesh(data={jax.device_count()}), or start one "
            "process without jax.distributed.initialize."
        )
    if sharding is not None:
        raise ConfigurationError(
            "sharding says how a model is spread over a mesh; got no mesh. Pass "
            "mesh=et.mesh(data=4), or leave sharding out."
        )
    return None


def _constrained(leaf: Any, sharding: Any) -> Any:
    # JAX says no types of its arguments.
    return jax.lax.with_sharding_constraint(leaf, sharding)  # pyright: ignore[reportUnknownMemberType]
