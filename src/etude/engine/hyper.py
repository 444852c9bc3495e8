"""Numbers that a phase may vary without another compilation: `Phase(hyper=...)`.

They are part of the state and reach rules and losses as `context.hyper`, and optimizers that are
given as a function of them: `Learner(rule, lambda hyper: optax.adam(hyper["rate"]))`.

>>> numbers({"rate": 0.1, "steps": 3})
{'rate': Array(0.1, dtype=float32), 'steps': Array(3, dtype=int32)}
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.precision import float_dtype
from etude.kinds import is_a


def numbers(hyper: PyTree) -> PyTree:
    """The numbers as arrays with types of their own, which no other number can change."""
    return jax.tree.map(_strong, hyper)


def unusable(hyper: PyTree) -> Iterator[str]:
    """A sentence for each leaf that is no number, or NaN."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(hyper):
        place = jax.tree_util.keystr(path) or "its only leaf"
        if not isinstance(leaf, bool | int | float | complex) and not _is_scalar(leaf):
            yield (
                f"hyper must be a pytree of numbers; got {leaf!r} at {place}. Texts, arrays and "
                "functions belong into the rule or the loss itself."
            )
        elif overflows(leaf):
            yield f"hyper at {place} does not fit the integers of JAX; got {leaf!r}. Scale it."
        elif is_a(leaf, float | np.floating) and np.isnan(leaf):
            yield f"hyper must be a pytree of numbers; got NaN at {place}. Pass a number."


def _is_scalar(leaf: Any) -> bool:
    return is_array(leaf) and np.shape(leaf) == () and jnp.issubdtype(leaf.dtype, np.number)


def overflows(leaf: Any) -> bool:
    """Whether a whole number does not fit the integers of JAX."""
    if not is_a(leaf, int | np.integer) or isinstance(leaf, bool):
        return False
    dtype = leaf.dtype if is_a(leaf, np.integer) else np.dtype(np.int64)
    bounds = np.iinfo(jax.dtypes.canonicalize_dtype(dtype))
    return not bounds.min <= int(leaf) <= bounds.max


def _strong(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
        return jnp.asarray(leaf, leaf.dtype)
    if is_array(leaf):
        return jax.device_put(np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)))
    dtype = float_dtype() if isinstance(leaf, float) else jnp.result_type(type(leaf))
    # Put there explicitly, for those who guard against what moves by itself.
    return jax.device_put(np.asarray(leaf, dtype))
