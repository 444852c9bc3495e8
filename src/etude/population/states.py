"""The states of several members as one, with a leading axis; and back.

A team of one member has the state that the member has alone, without the axis: its program is the
ordinary one.
"""

from collections.abc import Sequence
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.beginning import copied
from etude.engine.place import Place
from etude.engine.state import State


def together(states: Sequence[State]) -> State:
    """One state of members whose states have equal shapes, in this order, where the first is."""
    if len(states) == 1:
        return states[0]
    place = Place.of(states[0].clock)
    return _stacked([place.put(state) for state in states])


def alone(team: State, index: int) -> State:
    """The state of one member of a team. That of a team of one is the state itself."""
    if not team.fault.ndim:
        return team
    with jax.transfer_guard_host_to_device("allow"):
        return _taken(team, np.int32(index))


def exchanged(team: State, index: int, state: State) -> State:
    """The team with another state of one member; the clock stays."""
    if not team.fault.ndim:
        return cast(State, eqx.tree_at(lambda s: s.clock, state, team.clock))
    with jax.transfer_guard_host_to_device("allow"):
        return _put(team, np.int32(index), state)


def activated(team: State, active: Sequence[bool]) -> State:
    """The team, of which these members go on."""
    flags = np.array(active if team.active.ndim else active[0])
    return cast(State, eqx.tree_at(lambda s: s.active, team, Place.of(team.clock).put(flags)))


def copy(team: State) -> State:
    """A state of its own, to be given away."""
    return jax.tree.map(copied, team)


@jax.jit
def _stacked(states: list[State]) -> State:
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return _with_clock(stacked, states[0])


@jax.jit
def _taken(team: State, index: jax.Array) -> State:
    return _but_clock(lambda leaf: leaf[index], team)


@jax.jit
def _put(team: State, index: jax.Array, state: State) -> State:
    put = jax.tree.map(lambda leaf, one: leaf.at[index].set(one), *map(_clockless, (team, state)))
    return _with_clock(put, team)


def _but_clock(function: PyTree, state: State) -> State:
    return _with_clock(jax.tree.map(function, _clockless(state)), state)


def _clockless(state: State) -> State:
    return cast(State, eqx.tree_at(lambda s: s.clock, state, None))


def _with_clock(state: State, other: State) -> State:
    return cast(
        State,
        eqx.tree_at(lambda s: s.clock, state, other.clock, is_leaf=lambda leaf: leaf is None),
    )
