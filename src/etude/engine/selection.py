"""A part of a pytree, named by a function of it: `lambda model: model.encoder`.

>>> indices({"x": 1, "y": {"a": 2, "b": 3}}, lambda tree: tree["y"])
{'a': 1, 'b': 2}
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree


class SelectionError(Exception):
    """A function of a tree fails, or selects nothing of it; the message is that verb phrase."""


class _Number:
    """Stands for a leaf while the function is applied."""

    def __init__(self, index: int):
        self.index = index


def indices(tree: PyTree, where: Callable[[Any], Any]) -> PyTree:
    """What `where(tree)` returns, its leaves replaced by their places in `jax.tree.leaves(tree)`.

    What is not of the tree is None. Raises `SelectionError`.
    """
    leaves, treedef = jax.tree.flatten(tree)
    # Every leaf is replaced by its own number, so that whatever `where` returns names leaves.
    numbered = jax.tree.unflatten(treedef, [_Number(i) for i in range(len(leaves))])
    try:
        part = where(numbered)
        found = jax.tree.leaves(part)
    except Exception as error:
        raise SelectionError(f"fails: {type(error).__name__}: {error}") from error
    if not any(isinstance(leaf, _Number) for leaf in found):
        raise SelectionError("selects nothing")
    return jax.tree.map(lambda leaf: leaf.index if isinstance(leaf, _Number) else None, part)
