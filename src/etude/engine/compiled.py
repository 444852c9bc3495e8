"""What was compiled for a learner is kept with it, so that an equal phase compiles nothing.

>>> kept = Compiled()
>>> kept.get("loop", lambda: "compiled"), kept.get("loop", lambda: "compiled again")
('compiled', 'compiled')
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array

#: What is kept for one learner; the least recently used goes first.
LIMIT = 32


class Compiled:
    """Programs by what they depend on. A copy of it is empty: programs cannot be copied."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept under a key, or else what `make` returns, which is kept from then on."""
        try:
            found = self._kept.pop(key, None)
        except (TypeError, ValueError):  # something in the model that cannot be compared
            return make()
        found = (make(),) if found is None else found
        self._kept[key] = found
        if len(self._kept) > LIMIT:
            self._kept.popitem(last=False)
        return found[0]

    def __reduce__(self) -> tuple[type["Compiled"], tuple[()]]:
        return Compiled, ()


class Same:
    """An object as part of a key: equal to itself alone.

    >>> Same([1]) == Same([1])
    False
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value


def shapes(tree: PyTree) -> Hashable:
    """The structure of a tree, and of each array what a program depends on.

    >>> shapes({"w": jax.ShapeDtypeStruct((2,), "float32")})
    (PyTreeDef({'w': *}), (((2,), 'float32', False, None),))
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(map(_shape, leaves))


def constants(tree: PyTree) -> Hashable:
    """The structure of a tree and its leaves, which are no arrays: by value where they have one."""
    leaves, structure = jax.tree.flatten(tree)
    plain = bool | int | float | complex | str
    # 1, 1.0 and True are equal, but compile to different programs.
    return structure, tuple(
        (type(leaf), leaf) if isinstance(leaf, plain) else Same(leaf) for leaf in leaves
    )


def _shape(leaf: Any) -> Hashable:
    if not is_array(leaf) and not isinstance(leaf, jax.ShapeDtypeStruct):
        return constants(leaf)
    committed = isinstance(leaf, jax.Array) and leaf.committed
    weak = getattr(leaf, "weak_type", False)
    return tuple(leaf.shape), str(leaf.dtype), weak, leaf.sharding if committed else None
