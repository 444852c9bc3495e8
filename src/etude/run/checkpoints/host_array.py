"""An array on the host, in the shards that it had on its devices.

>>> import jax.numpy as jnp
>>> array = HostArray.of(jnp.arange(4.0))
>>> [shard.index for shard in array.shards], array.whole()
([((0, 4),)], array([0., 1., 2., 3.], dtype=float32))
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from etude.kinds import is_a

if TYPE_CHECKING:
    import jax

#: The part of an array that a shard is: start and stop along every axis.
Index = tuple[tuple[int, int], ...]


#: Gives memory of so many bytes.
Take = Callable[[int], UInt8[np.ndarray, " _"]]


def _fresh(size: int) -> UInt8[np.ndarray, " _"]:
    return np.empty(size, np.uint8)


@runtime_checkable
class ArrayLike(Protocol):
    """What can be saved: a NumPy array, a JAX array, or a `HostArray`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class Shard:
    """A part of an array."""

    index: Index
    data: np.ndarray  # contiguous, in the byte order of this machine


@dataclass(frozen=True, eq=False)
class HostArray:
    """An array as its shards, which cover it once; an empty array has none."""

    shape: tuple[int, ...]
    dtype: np.dtype
    shards: tuple[Shard, ...]

    @classmethod
    def of(cls, array: ArrayLike, take: Take = _fresh) -> "HostArray":
        """`array` on the host. Of a JAX array, each shard is copied by itself, once.

        The copy has memory of its own, which `take` gives: on a CPU, `numpy.asarray` would be a
        view, which keeps the next step from overwriting the array in place. A NumPy array is not
        copied, and may not change afterwards.

        Raises TypeError if it holds something else than numbers or booleans.
        """
        if isinstance(array, HostArray):
            return array
        if is_a(array, np.ndarray | np.generic):
            data = _native(np.asarray(array))
            return cls(data.shape, data.dtype, _one_shard(data))
        return cls._of_device(array, take)

    @classmethod
    def _of_device(cls, array: Any, take: Take) -> "HostArray":
        import jax

        if not isinstance(array, jax.Array):
            raise TypeError(f"of type {type(array).__name__}: expected a NumPy or JAX array")
        if jax.numpy.issubdtype(array.dtype, jax.dtypes.extended):
            raise TypeError(
                f"of dtype {array.dtype} cannot be stored. Store its raw numbers, for a key "
                "jax.random.key_data(key)"
            )
        if array.is_fully_replicated:  # most are, and it is fast
            parts = [(tuple((0, size) for size in array.shape), array.addressable_data(0))]
        else:  # every part once, whichever device holds a copy of it
            mine = [shard for shard in array.addressable_shards if shard.replica_id == 0]
            parts = [(_bounds(shard.index, array.shape), shard.data) for shard in mine]
            for _, part in parts:
                part.copy_to_host_async()
        # Said aloud, as by `jax.device_get`, which takes longer than the copy of a small array.
        with jax.transfer_guard_device_to_host("allow"):
            shards = [
                Shard(index, _copy(np.asarray(part), take)) for index, part in parts if part.size
            ]
        return cls(array.shape, np.dtype(array.dtype), tuple(shards))

    @property
    def nbytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.data.nbytes for shard in self.shards)

    def whole(self) -> np.ndarray:
        """The array as one; not a copy if it is one shard."""
        if len(self.shards) == 1 and self.shards[0].data.shape == self.shape:
            return self.shards[0].data
        return self.part(tuple((0, size) for size in self.shape))

    def astype(self, dtype: Any) -> "HostArray":
        """The array with its values cast."""
        shards = tuple(Shard(shard.index, shard.data.astype(dtype)) for shard in self.shards)
        return HostArray(self.shape, np.dtype(dtype), shards)

    def part(self, index: Index) -> np.ndarray:
        """A copy of a part, put together from the shards that it overlaps."""
        found = np.empty([stop - start for start, stop in index], self.dtype)
        for shard in self.shards:
            common = [
                (max(start, low), min(stop, high))
                for (start, stop), (low, high) in zip(index, shard.index, strict=True)
            ]
            if all(start < stop for start, stop in common):
                found[_slices(common, index)] = shard.data[_slices(common, shard.index)]
        return found

    def placed(self, sharding: "jax.sharding.Sharding") -> "jax.Array":
        """The array on devices; each gets memory of its own, so that it may be donated."""
        import jax

        parts = sharding.addressable_devices_indices_map(self.shape)
        whole = (slice(None),) * len(self.shape)
        arrays = [
            jax.device_put(self.part(_bounds(index or whole, self.shape)), device)
            for device, index in parts.items()
        ]
        return jax.make_array_from_single_device_arrays(
            self.shape, sharding, arrays, dtype=self.dtype
        )


def placed(
    arrays: Mapping[str, HostArray], like: "Mapping[str, jax.ShapeDtypeStruct]"
) -> "dict[str, np.ndarray | jax.Array]":
    """Arrays by name on the shardings that `like` has for them, or as plain ones where it has none.

    `like` has the names, shapes and dtypes of `arrays`.
    """
    return {
        path: arrays[path].whole() if one.sharding is None else arrays[path].placed(one.sharding)
        for path, one in like.items()
    }


def _copy(array: np.ndarray, take: Take) -> np.ndarray:
    """A copy that is contiguous in C order."""
    memory = take(array.nbytes)
    memory[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


def _one_shard(data: np.ndarray) -> tuple[Shard, ...]:
    return (Shard(tuple((0, size) for size in data.shape), data),) if data.size else ()


def _native(array: np.ndarray) -> np.ndarray:
    """`array` contiguous, in the byte order of this machine."""
    if array.dtype.hasobject or array.dtype.kind in "SUMm" or array.dtype.fields:
        raise TypeError(
            f"has dtype {array.dtype}: expected numbers or booleans; put text and settings into "
            "meta"
        )
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.flags.c_contiguous else array.copy(order="C")


def _bounds(index: Sequence[slice], shape: Sequence[int]) -> Index:
    return tuple(one.indices(size)[:2] for one, size in zip(index, shape, strict=True))


def _slices(part: Sequence[tuple[int, int]], within: Index) -> tuple[slice, ...]:
    """Where a part lies in an array that begins at `within`."""
    return tuple(
        slice(start - origin, stop - origin)
        for (start, stop), (origin, _) in zip(part, within, strict=True)
    )
