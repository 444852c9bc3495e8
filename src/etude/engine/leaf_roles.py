"""What each leaf of a model is: trained, carried from step to step, or left alone.

A model is any pytree. Its array leaves play one of four roles, which is all that the engine
ever asks of a model library:

>>> import jax.numpy as jnp
>>> from etude.engine.leaf_roles import Carry, Fixed, roles
>>> model = {"t": Carry(0.5), "w": jnp.ones(2), "z": Fixed(jnp.ones(2))}
>>> [role.name for role in roles(model)]
['CARRIED', 'PARAMETER', 'FIXED']
"""

import enum
import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.selection import SelectionError, indices
from etude.errors import ModelError


class Role(enum.Enum):
    """The role of one leaf."""

    PARAMETER = "a learner that owns it trains it"
    STATISTIC = "moves with the forward pass of the learner that owns it"
    CARRIED = "takes the value that a loss or rule returns: counters, random streams, `Carry`"
    FIXED = "never moves"


class Fixed(eqx.Module):
    """Marks arrays that are never trained: thresholds, masks, constants.

    An optimizer never sees them, so that weight decay cannot move them either.

    >>> import jax.numpy as jnp
    >>> float(Fixed(jnp.array(2.0)).value)
    2.0
    """

    value: PyTree


class Carry(eqx.Module):
    """Marks arrays that no optimizer owns and that a loss or rule moves by returning new values.

    Sliding thresholds, traces, running means, target networks, replay buffers, states of an
    environment. Whatever learner returns a model with new values moves them; they are saved and
    resumed, and keep their own dtype under half precision. An averaged model has their current
    values. Python numbers become arrays; whatever else is no array is a constant.

    Raises `ModelError` for an integer that does not fit the integers of JAX.

    >>> import jax.numpy as jnp
    >>> model = {"w": jnp.ones(2), "threshold": Carry(0.5)}
    >>> moved = {**model, "threshold": Carry(model["threshold"].value + 1)}
    >>> float(moved["threshold"].value)
    1.5
    """

    value: PyTree

    def __init__(self, value: PyTree):
        self.value = jax.tree.map(_strong, value)


def _strong(leaf: Any) -> Any:
    # Weakly typed, a number would take the dtype of whatever it is first combined with.
    if not isinstance(leaf, bool | int | float | complex):
        return leaf
    dtype = jnp.result_type(type(leaf))
    try:
        return jnp.array(leaf, dtype)
    except OverflowError as error:
        raise ModelError(
            f"Carry({leaf}) does not fit {dtype}. Scale it, or set jax_enable_x64."
        ) from error


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array (of JAX or NumPy, random keys included)."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _nnx() -> Any:
    # A model can only hold Flax NNX variables if its owner has imported Flax.
    return sys.modules.get("flax.nnx")


def _is_box(node: Any) -> bool:
    nnx = _nnx()
    return isinstance(node, Fixed | Carry | eqx.nn.State) or (
        nnx is not None and isinstance(node, nnx.Variable)
    )


def _role(box: Any, leaf: Any) -> Role:
    if isinstance(box, Fixed) or not is_array(leaf):
        return Role.FIXED
    if isinstance(box, Carry | eqx.nn.State):
        return Role.CARRIED
    inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
    nnx = _nnx()
    if nnx is not None and isinstance(box, nnx.Variable):
        if isinstance(box, nnx.BatchStat):
            return Role.STATISTIC
        return Role.PARAMETER if isinstance(box, nnx.Param) and inexact else Role.CARRIED
    return Role.PARAMETER if inexact else Role.CARRIED


def roles(model: PyTree) -> list[Role]:
    """The role of every leaf of `model`, in the order of `jax.tree.leaves`.

    Floating-point arrays are parameters, except inside `Fixed` and `Carry`, inside an Equinox
    `eqx.nn.State`, and inside those Flax NNX variables that are not `nnx.Param`. The outermost
    of these decides: a copy of a network inside `Carry` is carried as a whole.
    """
    boxes = jax.tree.leaves(model, is_leaf=_is_box)
    return [_role(box, leaf) for box in boxes for leaf in jax.tree.leaves(box)]


def selected(model: PyTree, where: Callable[[Any], Any] | None) -> PyTree:
    """The part of the model that `where` selects (all, if None), its leaves replaced by indices.

    They count in the order of `jax.tree.leaves(model)`. Raises `ModelError` if `where` fails, or
    selects nothing of the model.
    """
    if where is None:
        return jax.tree.unflatten(jax.tree.structure(model), range(len(jax.tree.leaves(model))))
    try:
        return indices(model, where)
    except SelectionError as error:
        raise ModelError(
            f"`where` {error}. It gets the model and must return a part of the model itself, as in "
            "`where=lambda m: m.encoder` or `where=lambda m: (m.encoder, m.head)`."
        ) from error


def names(model: PyTree) -> list[str]:
    """The path of every leaf, as one would write it: `.encoder.layers[0].weight`."""
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]


def inference(model: PyTree) -> PyTree:
    """The model as it is evaluated: dropout off, batch statistics in use.

    Equinox modules through `eqx.nn.inference_mode`, Flax NNX modules through `.eval()` on a
    copy; other pytrees as they are.
    """
    nnx = _nnx()
    model = eqx.nn.inference_mode(model)
    if nnx is None:
        return model

    def switch(node: Any) -> Any:
        if not isinstance(node, nnx.Module):
            return node
        copy = jax.tree.map(lambda leaf: leaf, node)
        copy.eval()
        return copy

    return jax.tree.map(switch, model, is_leaf=lambda node: isinstance(node, nnx.Module))


def variables(model: PyTree) -> list[tuple[Any, Any]]:
    """The Flax NNX variables of a model, with their paths."""
    nnx = _nnx()
    if nnx is None:
        return []
    nodes = jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_box)
    return [(path, node) for path, node in nodes if isinstance(node, nnx.Variable)]
