"""All that changes while a phase runs, in one place; all of it is in a checkpoint."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, PyTree

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


class Keys(eqx.Module):
    """Where the randomness of a visit to a phase comes from; constant through the visit."""

    # Of rules, losses, augmentations and validations, with the step folded in.
    step: Key[Array, ""]
    # Of the data order, with the epoch folded in.
    order: Key[Array, ""]


class State(eqx.Module):
    """The state of a phase, of one model or of several members that train side by side.

    All but `clock` may have one leading axis more, the members': then `fault` has one axis, and a
    step is mapped over it. `clock` is one number whatever the rest is.
    """

    # Steps done in this phase. One step is one turn of every learner on one batch.
    clock: Int[Array, ""]
    # Evolving: the arrays of the model (its other leaves are static and live in the program),
    # and one state per learner.
    model: PyTree
    learners: tuple[LearnerState, ...]
    keys: Keys
    # Numbers that rules, losses and optimizers read as `context.hyper`: arguments of the program,
    # so that other values need no other compilation.
    hyper: PyTree
    # The learner (counted from 1) whose loss or updates were not finite and that therefore
    # halted the phase, or 0; one per member.
    fault: Int[Array, "*members"]
    # Which members of several train; one that was stopped stands still while others go on.
    active: Bool[Array, "*members"]

    @property
    def going(self) -> Bool[Array, ""]:
        """Whether the next step moves anything."""
        return jnp.any(self.moving)

    @property
    def moving(self) -> Bool[Array, "*members"]:
        """Which members the next step moves."""
        return self.active & (self.fault == 0)
