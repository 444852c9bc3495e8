"""Arrays that several checkpoints hold and that are written once.

>>> best = Shared.of({"['w']": np.ones(2)})
>>> best.digest == Shared.of({"['w']": np.ones(2)}).digest
True
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from etude.run.checkpoints.host_array import ArrayLike, HostArray, placed
from etude.run.checkpoints.manifest import ArrayEntry, entries_of

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True, eq=False)
class Shared:
    """Arrays by leaf path that will not change any more, on the host.

    A checkpoint refers to them by their digest, so that those with the same content lie on the
    disk once, however many checkpoints hold them.
    """

    leaves: Mapping[str, HostArray]

    @classmethod
    def of(cls, arrays: Mapping[str, ArrayLike]) -> "Shared":
        """A copy of arrays. Raises TypeError for one that cannot be stored."""
        return cls({path: HostArray.of(array) for path, array in arrays.items()})

    @cached_property
    def entries(self) -> Mapping[str, ArrayEntry]:
        """What the manifest says of them."""
        return entries_of(self.leaves)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of their names, shapes, types, shards and bytes."""
        content = {path: entry.as_json() for path, entry in self.entries.items()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.leaves.values())

    def placed(
        self, like: "Mapping[str, jax.ShapeDtypeStruct]"
    ) -> "dict[str, np.ndarray | jax.Array]":
        """The arrays on the shardings that `like` has for them, or as plain ones."""
        return placed(self.leaves, like)
