"""The compiled loop: many steps per dispatch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from etude.engine.chunk import Chunk, fetched_step, order_of, rows_shape, status, write
from etude.engine.place import Place, shardings
from etude.engine.precision import float_dtype
from etude.engine.source import Fetch, Resident
from etude.engine.state import State
from etude.engine.step import Plan
from etude.errors import RuleError
from etude.kinds import is_a

#: Steps that a block may have, and the bytes of a state up to which an accelerator has blocks.
BLOCKS, SMALL_STATE = (8, 7, 6, 5, 4), 2**26

#: What a step changes: the state, and the rows of metrics.
Carry = tuple[State, Array]


class Order(eqx.Module):
    """The order of one epoch, kept from chunk to chunk, so that it is drawn once per epoch."""

    epoch: Int[Array | np.ndarray, ""]
    positions: PyTree

    @classmethod
    def undrawn(cls, source: Resident, state: State) -> "Order":
        """The place of an order; that of no epoch yet."""
        shapes = jax.eval_shape(partial(order_of, source, epoch=0), state.keys.order)
        zeros = jax.tree.map(lambda one: np.zeros(one.shape, one.dtype), shapes)
        return cls(np.array(-1, np.int32), zeros)


class TracedLoop:
    """The loop of a phase, traced: what it holds can be seen before it is compiled."""

    def __init__(
        self,
        plan: Plan,
        source: Resident,
        state: State,
        arrays: PyTree,
        columns: tuple[str, ...],
        place: Place,
    ):
        def run(
            state: State,
            order: Order,
            arrays: PyTree,
            steps: Int[Array, ""],
            total: Float[Array, ""],
        ):
            return run_loop(plan, source, state, order, arrays, steps, total, columns)

        undrawn = Order.undrawn(source, state)
        # The arrays are arguments, so that XLA does not fold a data set into the program.
        steps, total = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
        order = plan.put_data(undrawn, place)
        self._arguments = state, order, arrays, steps, total
        # On several devices the state comes back as it went in: it goes in again.
        read = place.read_everywhere
        outputs = None if place.alone else (shardings(state), shardings(order), read, read)
        jitted = jax.jit(run, donate_argnums=(0, 1), out_shardings=outputs)
        self._traced = jitted.trace(*self._arguments)
        self._kept = plan.learners[0].compiled

    @property
    def has_convolution(self) -> bool:
        """Whether a step holds a convolution."""
        return _has_convolution(self._traced.jaxpr.jaxpr)

    def compiled(self) -> Any:
        """The loop, compiled; a `Loop` runs it."""
        return self._kept.compiled(self._traced, self._arguments)


class Loop:
    """The compiled loop of a phase, with the order of the epoch that it is in."""

    def __init__(self, compiled: Any, plan: Plan, source: Resident, arrays: PyTree, place: Place):
        self._compiled, self._plan, self._source = compiled, plan, source
        self._arrays, self._place = arrays, place
        self._order: Order | None = None
        self._steps: tuple[int, Any] = (0, None)

    def run(
        self, state: State, first: int, steps: int, total: Float[Array, ""]
    ) -> tuple[State, Chunk]:
        """Starts `steps` steps from step `first` on; the state that is passed in is given away."""
        if self._steps[0] != steps:  # to put a number takes longer than a short chunk
            self._steps = steps, self._place.put(np.int32(steps))
        order = self._order
        if order is None:
            order = self._plan.put_data(Order.undrawn(self._source, state), self._place)
        arguments = state, order, self._arrays, self._steps[1], total
        state, self._order, rows, status = self._compiled(*arguments)
        self._place.settle(status)
        return state, Chunk(first, rows, status)

    def forget_order(self) -> None:
        """The next epoch has another order, though its number may be the same."""
        self._order = None


def run_loop(
    plan: Plan,
    source: Resident,
    state: State,
    order: Order,
    arrays: PyTree,
    steps: Int[Array, ""],
    total: Float[Array, ""],
    columns: tuple[str, ...],
) -> tuple[State, Order, Array, Array]:
    """Advances by so many steps: `(state, order, rows of metrics, status)`.

    Epochs are the outer loop, so that an order is drawn once per epoch; steps are the inner one.
    The number of steps is traced: chunks of every length share one compilation.
    """
    first, per_epoch = state.clock, source.steps_per_epoch
    until = first + steps
    full = per_epoch - (source.tail is not None)
    block = block_of(state, full)

    def going(state: State, stop: Any) -> Array:
        return (state.clock < stop) & state.going

    def drawn(state: State, order: Order) -> Order:
        epoch = state.clock // per_epoch

        def draw() -> Order:
            return Order(epoch, order_of(source, state.keys.order, epoch))

        return jax.lax.cond(order.epoch == epoch, lambda: order, draw)

    def step(fetch: Fetch, carry: Carry, order: Order, all_move: bool = False) -> Carry:
        state, rows = carry
        after, metrics = fetched_step(
            plan, per_epoch, fetch, state, arrays, order.positions, total, all_move=all_move
        )
        if tuple(metrics) != columns:
            raise RuleError(
                f"Phase {plan.phase.name!r} reports other metrics than when its trainer was made: "
                f"got {list(metrics)}, expected {list(columns)}. Make a new Trainer."
            )
        return after, write(rows, metrics, state.clock - first)

    def epoch(carry: tuple[State, Order, Array]) -> tuple[State, Order, Array]:
        state, order, rows = carry
        order = drawn(state, order)
        last = order.epoch * per_epoch + full

        def body(carry: Carry, all_move: bool = False) -> Carry:
            kinds = [partial(step, one, order=order, all_move=all_move) for one in source.fetches]
            if len(kinds) == 1:
                return kinds[0](carry)
            return jax.lax.switch(source.kind(carry[0].clock % per_epoch), kinds, carry)

        stop, within = jnp.minimum(until, last), (state, rows)
        if state.fault.ndim:
            # To keep what stands still costs a tenth of a step: only while something does.
            within = jax.lax.while_loop(
                lambda c: going(c[0], stop) & c[0].moving.all(),
                partial(body, all_move=True),
                within,
            )
        several = body if block == 1 else partial(_steps, body, block, stop)
        state, rows = jax.lax.while_loop(lambda c: going(c[0], stop), several, within)
        tail = source.tail
        if tail is not None:
            at_tail = going(state, until) & (state.clock == last)
            state, rows = jax.lax.cond(
                at_tail, lambda c: step(tail, c, order), lambda c: c, (state, rows)
            )
        return state, order, rows

    rows = jnp.zeros(rows_shape(state, len(columns)), float_dtype())
    state, order, rows = jax.lax.while_loop(
        lambda c: going(c[0], until), epoch, (state, order, rows)
    )
    return state, order, rows, status(state)


def block_of(state: State, steps: int) -> int:
    """How many of the steps of an epoch are made without asking whether to go on.

    A CPU asks in no time. An accelerator asks the host, which takes as long as a small step; where
    the state is large, to keep it through a block would cost more. As few steps as can be are left
    over at the end of an epoch.
    """
    bytes_of_state = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if jax.default_backend() == "cpu" or bytes_of_state > SMALL_STATE:
        return 1
    return min(BLOCKS, key=lambda block: -(-steps // block) * block)


def _steps(body: Callable[[Carry], Carry], count: int, stop: Int[Array, ""], carry: Carry) -> Carry:
    """A block of steps; those beyond `stop`, and those that follow a fault, change nothing.

    So every step is of the same program, wherever a chunk ends: a resume has the same bits.
    """

    def one(carry: Carry, _: None) -> tuple[Carry, None]:
        going = carry[0].going & (carry[0].clock < stop)
        after = body(carry)
        return jax.tree.map(lambda new, old: jnp.where(going, new, old), after, carry), None

    return jax.lax.scan(one, carry, length=count)[0]


def _has_convolution(jaxpr: Any) -> bool:
    """Whether a jaxpr, or one inside it, holds a convolution."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            return True
        for value in equation.params.values():
            for inner in value if is_a(value, tuple | list) else (value,):
                inner = inner.jaxpr if isinstance(inner, jax.extend.core.ClosedJaxpr) else inner
                if isinstance(inner, jax.extend.core.Jaxpr) and _has_convolution(inner):
                    return True
    return False
