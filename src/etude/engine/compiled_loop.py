"""The compiled loop: many steps per dispatch."""

from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from etude.engine.chunk import CAPACITY, fetched_step, status, write
from etude.engine.precision import float_dtype
from etude.engine.source import Fetch, Resident
from etude.engine.state import State
from etude.engine.step import Plan

Carry = tuple[State, Array]


def trace_loop(plan: Plan, source: Resident, state: State, arrays: PyTree, columns: int) -> Any:
    """Traces `run_loop`; its `.lower().compile()` is called with (state, arrays, until)."""

    def run(state: State, arrays: PyTree, until: Int[Array, ""]):
        return run_loop(plan, source, state, arrays, until, columns)

    # The arrays are arguments, so that XLA does not fold a data set into the program.
    until = jax.ShapeDtypeStruct((), jnp.int32)
    return jax.jit(run, donate_argnums=0).trace(state, arrays, until)


def run_loop(
    plan: Plan,
    source: Resident,
    state: State,
    arrays: PyTree,
    until: Int[Array, ""],
    columns: int,
) -> tuple[State, Array, Array]:
    """Advances to step `until`: `(state, rows of metrics, status)`.

    Epochs are the outer loop, so that an order is drawn once per epoch; steps are the inner one.
    The number of steps is traced: chunks of every length share one compilation.
    """
    first, per_epoch = state.clock, source.steps_per_epoch
    full = per_epoch - (source.tail is not None)

    def going(carry: Carry, stop: Any) -> Array:
        return (carry[0].clock < stop) & (carry[0].fault == 0)

    def step(fetch: Fetch, carry: Carry, order: PyTree) -> Carry:
        state, rows = carry
        after, metrics = fetched_step(plan, per_epoch, fetch, state, arrays, order)
        return after, write(rows, metrics, state.clock - first)

    def epoch(carry: Carry) -> Carry:
        number = carry[0].clock // per_epoch
        order = source.order(jax.random.fold_in(carry[0].keys.order, number))
        last = number * per_epoch + full

        def body(carry: Carry) -> Carry:
            if len(source.fetches) == 1:
                return step(source.fetches[0], carry, order)
            kinds = [lambda c, fetch=fetch: step(fetch, c, order) for fetch in source.fetches]
            return jax.lax.switch(source.kind(carry[0].clock % per_epoch), kinds, carry)

        stop = jnp.minimum(until, last)
        carry = jax.lax.while_loop(lambda c: going(c, stop), body, carry)
        tail = source.tail
        if tail is None:
            return carry
        at_tail = going(carry, until) & (carry[0].clock == last)
        return jax.lax.cond(at_tail, lambda c: step(tail, c, order), lambda c: c, carry)

    rows = jnp.zeros((CAPACITY, columns), float_dtype())
    state, rows = jax.lax.while_loop(lambda c: going(c, until), epoch, (state, rows))
    return state, rows, status(state)


def has_convolution(jaxpr: Any) -> bool:
    """Whether a jaxpr, or one inside it, holds a convolution."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            return True
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = inner.jaxpr if isinstance(inner, jax.extend.core.ClosedJaxpr) else inner
                if isinstance(inner, jax.extend.core.Jaxpr) and has_convolution(inner):
                    return True
    return False
