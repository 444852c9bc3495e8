"""What the two executors share: a chunk of steps and the buffer of its metrics."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from etude.engine.source import Fetch, Resident
from etude.engine.state import State
from etude.engine.step import Plan, step_on

#: Rows of the metrics buffer: the longest chunk.
CAPACITY = 4096


class Chunk(NamedTuple):
    """What a chunk leaves behind, still on the device."""

    #: the step it began at
    first: int
    #: of the members of a state that has some, each its own
    rows: Float[Array | np.ndarray, "capacity metrics *members"]
    #: the step reached and the learner at fault (0: none), one for each member
    status: Int[Array | np.ndarray, " _"]

    def read(self) -> tuple[Float[np.ndarray, "steps metrics"], int, int]:
        """Waits for the chunk: `(metrics of its steps, step reached, learner at fault)`."""
        rows, reached, faults = self.read_all()
        return rows, reached, int(faults[0])

    def read_all(
        self,
    ) -> tuple[Float[np.ndarray, "steps metrics *members"], int, Int[np.ndarray, " members"]]:
        """The same of a state that has members: with their axis, and the fault of each."""
        with jax.transfer_guard_device_to_host("allow"):  # what `device_get` is, in less time
            rows, status = np.asarray(self.rows), np.asarray(self.status)
        reached = int(status[0])
        # One that began after a fault stands at an earlier step than its first, and made none.
        made = max(0, reached - self.first)
        # Copied: a view would keep the whole buffer for as long as the metrics are kept.
        return rows[:made].copy(), reached, status[1:]


def fetched_step(
    plan: Plan,
    per_epoch: int,
    fetch: Fetch,
    state: State,
    arrays: PyTree,
    order: PyTree,
    total: Float[Array, ""],
    *,
    all_move: bool = False,
) -> tuple[State, dict[str, Array]]:
    """One step on a batch of resident data; the state says which, for each of its members."""
    position = state.clock % per_epoch

    def batch(order: PyTree) -> PyTree:
        if plan.layout is None:
            return fetch(arrays, order, position)
        with jax.sharding.use_abstract_mesh(plan.layout.mesh.abstract_mesh):
            return fetch(arrays, order, position)

    return step_on(plan, state, batch, order, total, all_move=all_move)


def order_of(source: Resident, keys: Array, epoch: Any) -> PyTree:
    """The order of an epoch; of several members, by the key of each, the order of each."""

    def draw(key: Array) -> PyTree:
        return source.order(jax.random.fold_in(key, epoch))

    return jax.vmap(draw)(keys) if keys.ndim else draw(keys)


def write(rows: Array, metrics: dict[str, Array], index: Any) -> Array:
    """The buffer with the metrics of one step in row `index`."""
    if not metrics:
        return rows
    row = jnp.stack([value.astype(rows.dtype) for value in metrics.values()])
    beside = [jnp.zeros_like(index)] * row.ndim
    return jax.lax.dynamic_update_slice(rows, row[None], (index, *beside))


def rows_shape(state: State, columns: int) -> tuple[int, ...]:
    """The shape of the buffer of a state's metrics."""
    return CAPACITY, columns, *state.fault.shape


def status(state: State) -> Int[Array, " _"]:
    """The step reached and the learner at fault, for the host."""
    return jnp.append(state.clock, state.fault)
