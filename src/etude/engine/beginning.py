"""The state before the first step."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from etude.engine.learner import Learner
from etude.engine.part import Part
from etude.engine.place import strong
from etude.engine.state import Keys, State
from etude.engine.turn import first_state


def first(
    learners: tuple[Learner, ...],
    parts: tuple[Part, ...],
    arrays: PyTree,
    keys: Keys,
    hyper: PyTree,
    *,
    donate: bool,
) -> State:
    """The state before the first step, of arrays that are copied, or given away."""
    arrays = arrays if donate else jax.tree.map(copied, arrays)
    arrays = jax.tree.map(_settled, arrays, parts[0].parameters)
    states = tuple(
        first_state(learner, part, arrays, hyper)
        for learner, part in zip(learners, parts, strict=True)
    )
    return State(
        clock=jnp.int32(0),
        model=arrays,
        # No buffer may stand twice in what is donated: some optimizers keep the parameters.
        learners=jax.tree.map(lambda leaf: _settled(copied(leaf)), states),
        keys=jax.tree.map(copied, keys),
        hyper=jax.tree.map(copied, hyper),
        fault=jnp.int32(0),
        active=jnp.bool(True),
    )


def _settled(leaf: Array, parameter: bool = False) -> Array:
    """An array as an update, a checkpoint or another process gives it: strongly typed.

    Scalars that are no parameters stay as Python gave them: a checkpoint gives them back so.
    """
    return strong(leaf) if parameter or leaf.ndim else leaf


def copied(leaf: Any) -> Array:
    """A copy of an array: donation must never reach those that the user holds."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = jnp.array(jax.random.key_data(leaf), copy=True)
        return cast(Array, jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf)))
    if isinstance(leaf, jax.Array):
        return jnp.array(leaf, copy=True)
    return jax.device_put(np.array(leaf))
