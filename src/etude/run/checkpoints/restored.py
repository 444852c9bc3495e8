"""A checkpoint read back."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.errors import CheckpointError
from etude.run.checkpoints.host_array import HostArray, placed
from etude.run.compare import compare_leaves

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True, eq=False)
class Restored:
    """A checkpoint read back and verified."""

    name: str
    leaves: dict[str, HostArray]  # by leaf path, in the shards that were saved
    meta: dict[str, Any]
    skipped: list[str]  # a sentence for each newer checkpoint that was damaged
    format: int  # 1 where the first version wrote it

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The leaves as plain arrays, bit for bit what was saved."""
        return {path: leaf.whole() for path, leaf in self.leaves.items()}

    def placed(
        self, like: "Mapping[str, jax.ShapeDtypeStruct]"
    ) -> "dict[str, np.ndarray | jax.Array]":
        """Some of the leaves, each on the sharding that `like` has for it, or as a plain array.

        The bits are those that were saved, whatever the sharding was then; each device gets what
        its own shard needs. Raises CheckpointError if shapes or dtypes differ, or if a leaf is
        missing.

        >>> import jax
        >>> leaf = HostArray.of(np.ones(2, np.float32))
        >>> restored = Restored("last", {"w": leaf}, {}, [], 2)
        >>> one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        >>> restored.placed({"w": jax.ShapeDtypeStruct((2,), "float32", sharding=one)})
        {'w': Array([1., 1.], dtype=float32)}
        """
        found = {path: leaf for path, leaf in self.leaves.items() if path in like}
        difference = compare_leaves(like, found)
        if difference is not None:
            raise CheckpointError(f"Checkpoint {self.name!r} has other arrays:\n{difference}")
        return placed(found, like)
