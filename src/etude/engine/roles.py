"""What each leaf of a model is: learnt, counted, or left alone.

A model is any pytree. Its array leaves play one of four roles, which is all that the engine
ever asks of a model library:

>>> import jax.numpy as jnp
>>> from etude.engine.roles import Fixed, roles
>>> model = {"w": jnp.ones(2), "count": jnp.array(0), "z": Fixed(jnp.ones(2))}
>>> [role.name for role in roles(model)]
['FREE', 'PARAMETER', 'FIXED']
"""

import enum
import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from etude.engine.errors import ModelError


class Role(enum.Enum):
    """The role of one leaf."""

    PARAMETER = "a learner that owns it trains it"
    STATISTIC = "moves with the forward pass of the learner that owns it"
    FREE = "moves when a rule returns a model with another value: counters, random streams"
    FIXED = "never moves"


class Fixed(eqx.Module):
    """Marks arrays that are never trained: thresholds, masks, constants.

    An optimizer never sees them, so that weight decay cannot move them either.

    >>> import jax.numpy as jnp
    >>> float(Fixed(jnp.array(2.0)).value)
    2.0
    """

    value: PyTree


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array (of JAX or NumPy, random keys included)."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _nnx() -> Any:
    # A model can only hold Flax NNX variables if its owner has imported Flax.
    return sys.modules.get("flax.nnx")


def _is_box(node: Any) -> bool:
    nnx = _nnx()
    return isinstance(node, Fixed | eqx.nn.State) or (
        nnx is not None and isinstance(node, nnx.Variable)
    )


def _role(box: Any, leaf: Any) -> Role:
    if isinstance(box, Fixed) or not is_array(leaf):
        return Role.FIXED
    if isinstance(box, eqx.nn.State):
        return Role.FREE
    inexact = jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact)
    nnx = _nnx()
    if nnx is not None and isinstance(box, nnx.Variable):
        if isinstance(box, nnx.BatchStat):
            return Role.STATISTIC
        return Role.PARAMETER if isinstance(box, nnx.Param) and inexact else Role.FREE
    return Role.PARAMETER if inexact else Role.FREE


def roles(model: PyTree) -> list[Role]:
    """The role of every leaf of `model`, in the order of `jax.tree.leaves`.

    Floating-point arrays are parameters, except inside `Fixed`, inside an Equinox
    `eqx.nn.State`, and inside those Flax NNX variables that are not `nnx.Param`.
    """
    boxes = jax.tree.leaves(model, is_leaf=_is_box)
    return [_role(box, leaf) for box in boxes for leaf in jax.tree.leaves(box)]


def owned(model: PyTree, where: Callable[[Any], Any] | None) -> list[bool]:
    """Which leaves lie in the part of the model that `where` selects (all, if it is None).

    Raises `ModelError` if `where` fails, or selects nothing of the model.
    """
    leaves, treedef = jax.tree.flatten(model)
    if where is None:
        return [True] * len(leaves)
    # Every leaf is replaced by its own number, so that whatever `where` returns names leaves.
    numbered = jax.tree.unflatten(treedef, [_Number(i) for i in range(len(leaves))])
    try:
        found = jax.tree.leaves(where(numbered))
    except Exception as error:
        raise ModelError(
            f"`where` could not be applied to the model: {type(error).__name__}: {error}. "
            "It gets the model and must return a part of it, as in `where=lambda m: m.encoder`."
        ) from error
    chosen = {leaf.index for leaf in found if isinstance(leaf, _Number)}
    if not chosen:
        raise ModelError(
            "`where` selects no leaf of the model. It must return a part of the model itself, "
            "as in `where=lambda m: m.encoder` or `where=lambda m: (m.encoder, m.head)`."
        )
    return [i in chosen for i in range(len(leaves))]


class _Number:
    """Stands for a leaf while `where` is applied."""

    def __init__(self, index: int):
        self.index = index


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

    def switch(node):
        if not isinstance(node, nnx.Module):
            return node
        copy = jax.tree.map(lambda leaf: leaf, node)
        copy.eval()
        return copy

    return jax.tree.map(switch, model, is_leaf=lambda node: isinstance(node, nnx.Module))


def refuse_shared(model: PyTree) -> None:
    """Refuses Flax NNX modules that share a variable, which a pytree cannot express."""
    nnx = _nnx()
    if nnx is None:
        return
    seen: dict[int, str] = {}
    nodes = jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_box)
    for path, node in nodes:
        if isinstance(node, nnx.Variable):
            name = jax.tree_util.keystr(path)
            if id(node) in seen:
                raise ModelError(
                    f"The model shares one variable between {seen[id(node)]} and {name}. As a "
                    "pytree it would become two that part ways when trained. Keep it in one "
                    "place and pass it to the other where it is used."
                )
            seen[id(node)] = name
