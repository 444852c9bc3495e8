"""Where a training takes place: on the devices of its model, or else of its data.

JAX computes where committed arrays are, those of `jax.device_put(x, device)` and those that are
sharded, and elsewhere on its default device. A training follows the same rule once, at its
beginning, and puts everything there that it will need, so that nothing is moved later.

>>> device = jax.devices()[0]
>>> place = Place.of({"w": jax.device_put(jnp.ones(2), device)})
>>> place.put(np.ones(3)).devices() == {device}
True
"""

from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import Array, PyTree

from etude.engine.surroundings import setting
from etude.errors import ModelError
from etude.kinds import is_a


@dataclass(frozen=True)
class Place:
    """One device, or several that each hold all of what is put there.

    Attributes:
        sharding: None is the default device, and commits nothing to it.
    """

    sharding: Sharding | None = None

    @classmethod
    def of(cls, *trees: PyTree) -> "Place":
        """Where the first tree with committed arrays is; the default device, if none has any."""
        for tree in trees:
            for leaf in jax.tree.leaves(tree):
                if _is_committed(leaf):
                    return cls(_whole(leaf.sharding))
        return cls()

    @property
    def alone(self) -> bool:
        """Whether it is one device."""
        return self.sharding is None or len(self.sharding.device_set) == 1

    @property
    def read_everywhere(self) -> Sharding | None:
        """Where a program leaves what the host reads: on every process, if there are several.

        None leaves it to the compiler.
        """
        several = self.sharding is not None and not self.sharding.is_fully_addressable
        return self.sharding if several else None

    def settle(self, tree: PyTree) -> None:
        """Waits for `tree` where one program at a time may be under way.

        On several CPU devices, programs share a pool of threads: the collectives of one may wait
        for threads that others hold, for ever.
        """
        if self.sharding is None or self.alone:
            return
        if next(iter(self.sharding.device_set)).platform == "cpu":
            jax.block_until_ready(tree)  # pyright: ignore[reportUnknownMemberType]

    def put(self, tree: PyTree) -> PyTree:
        """`tree` at this place. Arrays that are there already stay as they are, also sharded."""
        return jax.tree.map(self._put, tree)

    def put_arrays(self, tree: PyTree) -> PyTree:
        """`tree` with its arrays at this place; numbers of the host stay there."""
        return jax.tree.map(lambda x: self._put(x) if isinstance(x, jax.Array) else x, tree)

    def _put(self, leaf: Any) -> Any:
        if is_a(leaf, Tracer):
            return leaf
        if not isinstance(leaf, jax.Array):
            return put(leaf, self.sharding)
        if self.sharding is None:
            here = leaf.committed or leaf.devices() == {_default_device()}
            return leaf if here else jnp.array(leaf, copy=True)
        here = leaf.committed and leaf.sharding.device_set == self.sharding.device_set
        return leaf if here else put(leaf, self.sharding)


def strong(leaf: Any) -> Any:
    """`leaf` with a type of its own, as any array of NumPy has.

    One that JAX has made of a number of Python, as by `jnp.full(3, 0.5)`, adapts its type to
    others.

    >>> jnp.full(3, 0.5).weak_type, strong(jnp.full(3, 0.5)).weak_type
    (True, False)
    """
    return leaf.astype(leaf.dtype) if isinstance(leaf, jax.Array) and leaf.weak_type else leaf


def put(leaf: Any, sharding: Sharding | None) -> Array:
    """`leaf` on devices; on those of several processes, each of which has the same `leaf`, too.

    None is the default device. Each process then gives its own devices their parts, of which
    `leaf[...]` alone is read, so that nothing is sent between processes. Scalars stay weakly typed
    if they are; arrays with axes become strong.
    """
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.jit(_same, out_shardings=sharding)(leaf)
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = put(jax.random.key_data(leaf), sharding)
        return cast(Array, jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)))
    if isinstance(leaf, jax.Array) and leaf.weak_type and not leaf.ndim:
        number = leaf.item()  # of Python, and again one that adapts its type to others
        return jax.jit(lambda: jnp.asarray(number), out_shardings=sharding)()
    if not is_a(leaf, np.ndarray):
        with jax.transfer_guard_device_to_host("allow"):
            leaf = np.asarray(leaf if isinstance(leaf, jax.Array) else jax.device_put(leaf))
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype)
    whole = (slice(None),) * leaf.ndim
    parts = [  # each has memory of its own, so that it may be donated
        jax.device_put(np.array(leaf[index or whole], dtype), device)
        for device, index in sharding.addressable_devices_indices_map(leaf.shape).items()
    ]
    return jax.make_array_from_single_device_arrays(leaf.shape, sharding, parts, dtype=dtype)


def _same(leaf: Array) -> Array:
    return leaf


def gathered(leaf: Array) -> Array:
    """An array that this process can read: whole on its devices, if it is spread over others too.

    Then all processes call this together.
    """
    if leaf.is_fully_addressable or leaf.is_fully_replicated:
        return leaf
    return put(leaf, _whole(leaf.sharding))


def refuse_scattered(model: PyTree) -> None:
    """Raises `ModelError` for arrays committed to different devices, which JAX cannot compute."""
    first: tuple[str, set[Any]] | None = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        if not _is_committed(leaf):
            continue
        name, devices = jax.tree_util.keystr(path), leaf.sharding.device_set
        first = first or (name, devices)
        if devices != first[1]:
            raise ModelError(
                f"The model is on several devices: {first[0]} on {_said(first[1])}, {name} on "
                f"{_said(devices)}. Put it on one, `jax.device_put(model, device)`, or shard all "
                "of its arrays over the same devices."
            )


def shardings(tree: PyTree) -> PyTree:
    """Where each array is."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def _is_committed(leaf: Any) -> bool:
    concrete = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
    return concrete and leaf.committed


def _whole(sharding: Sharding) -> Sharding:
    """The same devices, each with the whole of an array of any shape."""
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, PartitionSpec())
    if isinstance(sharding, SingleDeviceSharding):
        return sharding
    devices = sorted(sharding.device_set, key=lambda device: device.id)
    return NamedSharding(jax.sharding.Mesh(np.array(devices), ("devices",)), PartitionSpec())


def _default_device() -> Any:
    chosen = setting("default_device")
    if chosen is None or isinstance(chosen, str):
        return jax.local_devices(backend=chosen)[0]
    return chosen


def _said(devices: set[Any]) -> str:
    return ", ".join(sorted(map(str, devices)))
