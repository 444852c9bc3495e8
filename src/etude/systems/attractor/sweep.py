"""One pass over the hidden rows, and which messages count in it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from jaxtyping import Array

from etude.systems.attractor.layer_map import LayerMap
from etude.systems.attractor.state import SequentialState

Messages: TypeAlias = Literal["all", "unsupervised", "forward"]
"""Which messages count: all; all but the output's; only those from earlier layers and within."""

Hidden: TypeAlias = tuple[Array, ...]
"""The activity of the hidden rows, first to last."""


@dataclass(frozen=True)
class Sweep:
    """One pass over the hidden rows, with everything that stays constant computed already."""

    layers: LayerMap
    rows: tuple[int, ...]
    constant: dict[tuple[int, int], Array]
    operators: dict[tuple[int, int], Callable[[Array], Array]]

    def load(self, state: SequentialState) -> Hidden:
        """The buffers that the sweep moves."""
        return tuple(state[row] for row in self.rows)

    def store(self, state: SequentialState, hidden: Hidden) -> SequentialState:
        """The state with those buffers replaced."""
        for row, activity in zip(self.rows, hidden, strict=True):
            state = state.replace(row, activity)
        return state

    def __call__(self, hidden: Hidden) -> Hidden:
        activity = dict(zip(self.rows, hidden, strict=True))
        for row in self.rows:
            # In the order of the senders, as in an unhoisted sum: rounding stays the same.
            sent = [
                self.operators[edge](activity[edge[1]])
                if edge in self.operators
                else self.constant[edge]
                for edge in self.layers.edges
                if edge in self.operators or edge in self.constant
                if edge[0] == row
            ]
            layer = self.layers[row, row]
            activity[row] = layer.activation(layer.reduce(sent))
        return tuple(activity[row] for row in self.rows)


def make_sweep(layers: LayerMap, state: SequentialState, messages: Messages) -> Sweep:
    """Prepare a sweep: messages of senders that do not move, and operators of those that do."""
    check_fits(layers, state)
    rows = layers.rows[:-1]
    constant, operators = {}, {}
    for (i, j), module in layers.items():
        if i not in rows or not counts(layers, i, j, messages):
            continue
        if j in rows:
            operators[i, j] = module.operator()
        else:
            constant[i, j] = module(state[j])
    return Sweep(layers, rows, constant, operators)


def counts(layers: LayerMap, receiver: int, sender: int, messages: Messages) -> bool:
    """Whether the message along an edge is among `messages`."""
    if messages == "all":
        return True
    if messages == "unsupervised":
        return sender != layers.rows[-1] or receiver == sender
    if messages == "forward":
        return sender <= receiver
    near = difflib.get_close_matches(str(messages), get_args(Messages), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"messages={messages!r}; expected one of {get_args(Messages)}.{hint}")


def local_field(layers: LayerMap, state: SequentialState, row: int, messages: Messages) -> Array:
    """The sum of the messages that reach a row."""
    senders = [j for j in layers.senders(row) if counts(layers, row, j, messages)]
    return layers[row, row].reduce([layers[row, j](state[j]) for j in senders])


def check_fits(layers: LayerMap, state: SequentialState) -> None:
    """Refuse a state of another depth than the map, or a map that cannot settle."""
    depth = 1 + max(max(edge) for edge in layers.edges)
    if len(state) != depth or layers.rows[-1] != depth - 1:
        raise ValueError(
            f"The layer map reaches from layer 0 to layer {depth - 1} with output row "
            f"{layers.rows[-1]}, the state has {len(state)} layers. Build the state with "
            f"{depth} sizes, and give the last layer a row."
        )
    missing = [i for i in layers.rows if (i, i) not in layers]
    if missing:
        raise ValueError(f"Rows {missing} have no layer on the diagonal, so they cannot settle.")
