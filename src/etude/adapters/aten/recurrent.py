"""Recurrent layers, as compiled loops over time."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from etude.adapters.aten.making import dropout
from etude.adapters.aten.types import Function, common
from etude.errors import ModelError

#: The arrays of a state, each `[batch, hidden]`: outputs, and under an LSTM its cells.
State = tuple[Array, ...]


def _lstm(state: State, inputs: Array, hidden: Array) -> State:
    i, f, g, o = jnp.split(inputs + hidden, 4, -1)
    cells = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cells), cells


def _gru(state: State, inputs: Array, hidden: Array) -> State:
    (r, z, n), (hr, hz, hn) = jnp.split(inputs, 3, -1), jnp.split(hidden, 3, -1)
    new = jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn)
    return ((state[0] - new) * jax.nn.sigmoid(z + hz) + new,)


def _plain(function: Function, state: State, inputs: Array, hidden: Array) -> State:
    return (function(inputs + hidden),)


def _over_time(
    cell: Function, x: Float[Array, "time batch features"], state: State, weights: Any, back: bool
) -> tuple[State, Float[Array, "time batch hidden"]]:
    of_inputs, of_hidden, *biases = weights
    inputs = x @ of_inputs.T + (biases[0] if biases else 0)

    def step(state: State, inputs: Array) -> tuple[State, Array]:
        hidden = state[0] @ of_hidden.T + (biases[1] if biases else 0)
        state = cell(state, inputs, hidden)
        return state, state[0]

    return lax.scan(step, state, inputs, reverse=back)


def _recurrent(
    cell: Function,
    key: Key[Array, ""] | None,
    x: Array,
    start: Array | Sequence[Array],
    weights: Sequence[Array],
    biases: bool,
    layers: int,
    rate: float,
    training: bool,
    both_ways: bool,
    batch_first: bool,
) -> tuple[Array, ...]:
    """Outputs, and the last state: an array, or two under an LSTM, `[layers, batch, hidden]`."""
    ways, each = 1 + both_ways, 2 + 2 * biases
    if len(weights) != layers * ways * each:
        raise ModelError("an LSTM has no projections here (proj_size)")
    x, *weights = common(x, *weights)
    starts = [start] if isinstance(start, jax.Array) else start
    starts = [one.astype(x.dtype) for one in starts]
    x = x.swapaxes(0, 1) if batch_first else x
    last = []
    for layer in range(layers):
        if layer and rate and training:
            x, _ = dropout(None if key is None else jax.random.fold_in(key, layer), x, rate, True)
        outputs = []
        for number in range(layer * ways, (layer + 1) * ways):
            mine = weights[number * each : (number + 1) * each]
            state = tuple(one[number] for one in starts)
            state, y = _over_time(cell, x, state, mine, number % ways == 1)
            last.append(state)
            outputs.append(y)
        x = jnp.concatenate(outputs, -1)
    x = x.swapaxes(0, 1) if batch_first else x
    return x, *(jnp.stack(one) for one in zip(*last, strict=True))


#: By the names that they have here: what torch calls `aten.lstm` it takes apart (`torch_export`).
RECURRENT = {
    "etude.gru.default": partial(_recurrent, _gru),
    "etude.lstm.default": partial(_recurrent, _lstm),
    "etude.rnn_relu.default": partial(_recurrent, partial(_plain, jax.nn.relu)),
    "etude.rnn_tanh.default": partial(_recurrent, partial(_plain, jnp.tanh)),
}
