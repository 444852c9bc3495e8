"""The dynamics: sweeps over the rows until the network has settled."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.sweep import Hidden, Messages, make_sweep


def settle(
    network: SequentialOrchestrator,
    state: SequentialState,
    steps: int,
    *,
    messages: Messages = "all",
    early_stop: bool = False,
) -> SequentialState:
    """The state after `steps` sweeps, compiled as one loop whatever their number.

    Args:
        network: the network.
        state: where it starts; input and output stay as they are.
        steps: sweeps, zero or more.
        messages: ``"all"`` is the teacher-forced phase, ``"forward"`` the free phase.
        early_stop: stop as soon as a sweep changes nothing. The dynamics is deterministic, so a
            fixed point stays one: binary units end with the same bits. (Graded units, whose
            fixed points are limits, agree to rounding.)

    Raises:
        ValueError: `steps` is negative, `messages` unknown, or the state does not fit.

    >>> from etude.systems.attractor import (
    ...     FullyConnected, LayerMap, OutputLayer, RecurrentDiscrete, SequentialOrchestrator)
    >>> a, b, c = jax.random.split(jax.random.key(0), 3)
    >>> network = SequentialOrchestrator(LayerMap.from_dict({
    ...     1: {0: FullyConnected(4, 8, 1.0, 1.0, a), 1: RecurrentDiscrete(8, 0.5, 1.0, b)},
    ...     2: {1: FullyConnected(8, 2, 1.0, 1.0, c), 2: OutputLayer()},
    ... }))
    >>> state = SequentialState((4, 8, 2)).init(jnp.ones((3, 4)))
    >>> long = settle(network, state, 50, messages="forward")
    >>> short = settle(network, state, 50, messages="forward", early_stop=True)
    >>> bool(jnp.all(long[1] == short[1]))
    True
    """
    _check_steps(steps)
    sweep = make_sweep(network.layers, state, messages)
    hidden = sweep.load(state)
    if not early_stop:
        return sweep.store(state, jax.lax.fori_loop(0, steps, lambda _, h: sweep(h), hidden))

    def unsettled(carry: tuple[Array, Array, Hidden]) -> Array:
        step, moved, _ = carry
        return (step < steps) & moved

    def advance(carry: tuple[Array, Array, Hidden]) -> tuple[Array, Array, Hidden]:
        step, _, before = carry
        after = sweep(before)
        moved = jnp.stack([jnp.any(a != b) for a, b in zip(after, before, strict=True)]).any()
        return step + 1, moved, after

    start = (jnp.asarray(0), jnp.asarray(bool(hidden)), hidden)
    return sweep.store(state, jax.lax.while_loop(unsettled, advance, start)[2])


def trace(
    network: SequentialOrchestrator,
    state: SequentialState,
    steps: int,
    *,
    messages: Messages = "forward",
) -> dict[int, Float[Array, "steps batch ..."]]:
    """The activity of every hidden row after each sweep, by row. Arguments as in `settle`."""
    _check_steps(steps)
    sweep = make_sweep(network.layers, state, messages)

    def advance(hidden: Hidden, _: None) -> tuple[Hidden, Hidden]:
        hidden = sweep(hidden)
        return hidden, hidden

    _, path = jax.lax.scan(advance, sweep.load(state), length=steps)
    return dict(zip(sweep.rows, path, strict=True))


def _check_steps(steps: int) -> None:
    if steps < 0:
        raise ValueError(f"steps={steps}; expected zero or more sweeps.")
