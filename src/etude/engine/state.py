"""All that changes while a phase runs, in one place; all of it is in a checkpoint."""

import equinox as eqx
from jaxtyping import Array, Int, Key, PyTree

from etude.engine.precision import LossScale


class LearnerState(eqx.Module):
    """What one learner remembers from step to step."""

    # The optimizer's own state (optax), or None for a learner without an optimizer.
    optimizer: PyTree
    # Exponential moving average of the learner's part, or None.
    ema: PyTree
    # Only under float16.
    loss_scale: LossScale | None
    # Updates made, and steps whose updates were not finite and therefore left out.
    updates: Int[Array, ""]
    skipped: Int[Array, ""]


class State(eqx.Module):
    """The state of a phase."""

    # Evolving: the arrays of the model (its other leaves are static and live in the program),
    # and one state per learner.
    model: PyTree
    learners: tuple[LearnerState, ...]
    # Steps done in this phase. One step is one turn of every learner on one batch.
    step: Int[Array, ""]
    # Health: the learner (counted from 1) whose loss or updates were not finite and that
    # therefore halted the phase, or 0.
    fault: Int[Array, ""]
    # Constant through a visit to the phase: keys of its randomness and of its data order.
    key: Key[Array, ""]
    order_key: Key[Array, ""]
