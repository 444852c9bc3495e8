"""What the two executors share: a chunk of steps and the buffer of its metrics."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from etude.engine.source import Fetch
from etude.engine.state import State
from etude.engine.step import Plan, step_of

#: Rows of the metrics buffer: the longest chunk.
CAPACITY = 4096


class Chunk(NamedTuple):
    """What a chunk leaves behind, still on the device."""

    #: the step it began at
    first: int
    rows: Float[Array | np.ndarray, "capacity metrics"]
    #: the step reached and the learner at fault (0: none)
    status: Int[Array | np.ndarray, "2"]

    def read(self) -> tuple[Float[np.ndarray, "steps metrics"], int, int]:
        """Waits for the chunk: `(metrics of its steps, step reached, learner at fault)`."""
        with jax.transfer_guard_device_to_host("allow"):  # what `device_get` is, in less time
            rows, status = np.asarray(self.rows), np.asarray(self.status)
        reached, fault = int(status[0]), int(status[1])
        # Copied: a view would keep the whole buffer for as long as the metrics are kept.
        return rows[: reached - self.first].copy(), reached, fault


def fetched_step(
    plan: Plan,
    per_epoch: int,
    fetch: Fetch,
    state: State,
    arrays: PyTree,
    order: PyTree,
    total: Float[Array, ""],
) -> tuple[State, dict[str, Array]]:
    """One step on a batch of resident data; the state says which."""
    return step_of(plan, state, fetch(arrays, order, state.clock % per_epoch), total)


def write(rows: Array, metrics: dict[str, Array], index: Any) -> Array:
    """The buffer with the metrics of one step in row `index`."""
    if not metrics:
        return rows
    row = jnp.stack([value.astype(rows.dtype) for value in metrics.values()])
    return jax.lax.dynamic_update_slice(rows, row[None], (index, jnp.zeros_like(index)))


def status(state: State) -> Int[Array, "2"]:
    """The step reached and the learner at fault, for the host."""
    return jnp.stack([state.clock, state.fault])
