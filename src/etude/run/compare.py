"""Whether the leaves of a checkpoint are those of a model, said leaf by leaf.

>>> import numpy as np
>>> print(compare_leaves({"w": np.zeros((2, 3))}, {"w": np.zeros((2, 4))}))
'w': the model has float64[2, 3], the checkpoint float64[2, 4]
"""

import difflib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

LISTED = 20  # more lines than this help nobody


@runtime_checkable
class ShapeDtypeLike(Protocol):
    """Anything with a shape and a dtype: arrays, `jax.ShapeDtypeStruct`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...


def compare_leaves(
    expected: Mapping[str, ShapeDtypeLike],
    found: Mapping[str, ShapeDtypeLike],
    *,
    where: str = "the checkpoint",
    most: int | None = LISTED,
) -> str | None:
    """One line for each leaf (path -> array) that differs between a model and a checkpoint.

    `expected` is what the model has, `found` what the checkpoint has; None if they agree. A leaf
    that only one of them has is listed with the near matches that only the other has.

    Args:
        expected: what the model has.
        found: what was read.
        where: from what, as the lines call it.
        most: lines at most; None: all.

    >>> import numpy as np
    >>> compare_leaves({"w": np.zeros(2)}, {"w": np.ones(2)}) is None
    True
    >>> print(compare_leaves({"head.weight": np.zeros(2)}, {"head.wieght": np.zeros(2)}))
    'head.weight' float64[2]: missing in the checkpoint, which has 'head.wieght'
    'head.wieght' float64[2]: unexpected, the model has 'head.weight'
    """
    missing = [path for path in expected if path not in found]
    unexpected = [path for path in found if path not in expected]
    lines = [
        f"{path!r} {_describe(expected[path])}: missing in {where}"
        + _near(path, unexpected, ", which has")
        for path in missing
    ]
    lines += [
        f"{path!r} {_describe(found[path])}: unexpected" + _near(path, missing, ", the model has")
        for path in unexpected
    ]
    lines += [
        f"{path!r}: the model has {_describe(leaf)}, {where} {_describe(found[path])}"
        for path, leaf in expected.items()
        if path in found and _describe(leaf) != _describe(found[path])
    ]
    if most is not None and len(lines) > most:
        lines = [*lines[:most], f"and {len(lines) - most} more"]
    return "\n".join(lines) or None


def _describe(leaf: ShapeDtypeLike) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _near(path: str, candidates: list[str], words: str) -> str:
    close = difflib.get_close_matches(path, candidates, n=1)
    return f"{words} {close[0]!r}" if close else ""
