"""The checkpoints of a run: whole or absent, array by array in the shards that they had."""

from etude.run.checkpoints.host_array import ArrayLike, HostArray, Shard, placed
from etude.run.checkpoints.shared import Shared
from etude.run.checkpoints.store import CheckpointStore, Restored

__all__ = ["ArrayLike", "CheckpointStore", "HostArray", "Restored", "Shard", "Shared", "placed"]
