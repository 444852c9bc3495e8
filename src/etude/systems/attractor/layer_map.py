"""Which layer hears which: a sparse matrix of modules, receiver by sender."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import equinox as eqx

from etude.systems.attractor.modules import AbstractConnection, AbstractLayer


class LayerMap(eqx.Module):
    """The topology of an attractor network. Build it with `LayerMap.from_dict`.

    Entry ``(i, j)`` carries the activity of layer ``j`` (the sender) to layer ``i`` (the receiver).
    The diagonal ``(i, i)`` is the layer itself: it also sums what arrives and applies the
    activation. A sender without a row, such as the input, is never updated; the last row is the
    output. The topology is static under ``jit``; the modules are the leaves.

    >>> from etude.systems.attractor import OutputLayer
    >>> layers = LayerMap.from_dict({2: {2: OutputLayer()}, 1: {1: OutputLayer()}})
    >>> layers.rows, (1, 1) in layers, (1, 2) in layers
    ((1, 2), True, False)
    """

    modules: tuple[AbstractConnection, ...]
    edges: tuple[tuple[int, int], ...] = eqx.field(static=True)

    @classmethod
    def from_dict(
        cls, mapping: Mapping[int, Mapping[int, AbstractConnection]], require_diagonal: bool = True
    ) -> LayerMap:
        """Build the map from ``{receiver: {sender: module}}``, in any order.

        Args:
            mapping: the rows; every row holds at least one sender.
            require_diagonal: refuse rows without their layer. Such a map can carry messages but
                cannot settle.

        Raises:
            TypeError: a key is not an integer, or a value is no module of the right kind.
            ValueError: a row has no layer on its diagonal, or an index is negative, or the map
                is empty.

        >>> LayerMap.from_dict({1: {}})
        Traceback (most recent call last):
        ...
        ValueError: LayerMap: row 1 has no layer; add entry (1, 1), such as RecurrentDiscrete.
        """
        if not mapping:
            raise ValueError("LayerMap: the mapping is empty. Give at least the output's row.")
        for receiver, row in mapping.items():
            for index in (receiver, *row):
                if isinstance(index, bool) or not isinstance(index, int):
                    raise TypeError(f"LayerMap: layers are numbered by integers, got {index!r}.")
                if index < 0:
                    raise ValueError(f"LayerMap: layers are numbered from 0, got {index}.")
            if require_diagonal and receiver not in row:
                raise ValueError(
                    f"LayerMap: row {receiver} has no layer; add entry ({receiver}, {receiver}), "
                    "such as RecurrentDiscrete."
                )
            for sender, module in row.items():
                _check_kind(receiver, sender, module)
        edges = tuple((i, j) for i in sorted(mapping) for j in sorted(mapping[i]))
        return cls(modules=tuple(mapping[i][j] for i, j in edges), edges=edges)

    @property
    def rows(self) -> tuple[int, ...]:
        """The receivers, ascending; the last is the output."""
        return tuple(sorted({i for i, _ in self.edges}))

    def senders(self, row: int) -> tuple[int, ...]:
        """The senders of a row, ascending."""
        return tuple(j for i, j in self.edges if i == row)

    def items(self) -> Iterator[tuple[tuple[int, int], AbstractConnection]]:
        """Pairs of ``(receiver, sender)`` and module, row by row."""
        return iter(zip(self.edges, self.modules, strict=True))

    def to_dict(self) -> dict[int, dict[int, AbstractConnection]]:
        """The inverse of `from_dict`."""
        return {i: {j: self[i, j] for j in self.senders(i)} for i in self.rows}

    def __contains__(self, edge: object) -> bool:
        return edge in self.edges

    def __getitem__(self, index: int | tuple[int, int]) -> Any:
        """Module ``[receiver, sender]``, or a read-only view of the row ``[receiver]``."""
        if isinstance(index, tuple) and index in self.edges:
            return self.modules[self.edges.index(index)]
        if index in self.rows:
            return MappingProxyType({j: self[index, j] for j in self.senders(index)})
        raise KeyError(f"LayerMap has no entry {index}; its edges are {list(self.edges)}.")


def _check_kind(receiver: int, sender: int, module: object) -> None:
    expected = AbstractLayer if receiver == sender else AbstractConnection
    if not isinstance(module, expected):
        raise TypeError(
            f"LayerMap: entry ({receiver}, {sender}) is a {type(module).__name__}; expected "
            f"{'a layer' if receiver == sender else 'a connection'} (an {expected.__name__})."
        )
