"""A phase as a compiled program: "advance by n steps", by the loop or by dispatch."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
from jaxtyping import PyTree

from etude.engine.chunk import CAPACITY, Chunk, fetched_step, order_of
from etude.engine.compiled import kind_of, places
from etude.engine.compiled_loop import Loop, TracedLoop
from etude.engine.dispatch import Batches, Dispatcher, HostedSteps, ResidentSteps
from etude.engine.place import Place
from etude.engine.source import Resident
from etude.engine.state import State
from etude.engine.step import Plan
from etude.engine.surroundings import setting
from etude.errors import RuleError

Executor = Literal["loop", "dispatch"]


class Program:
    """A plan, compiled once per shape of its batches.

    The compiled loop and asynchronous dispatch agree to rounding. Data on the device run in the
    loop, except on a CPU where the step holds a convolution; a run keeps the way that it began
    with, so that resuming stays bitwise. Under `jax_disable_jit` every phase goes step by step,
    uncompiled. Data are put where the state is; those of the host come from `batches`.
    """

    def __init__(
        self,
        plan: Plan,
        state: State,
        batches: Batches | None = None,
        executor: Executor | None = None,
        metrics: tuple[str, ...] | None = None,
    ):
        source = plan.phase.source
        self._place = place = Place.of(state.clock)
        self._total = place.put(plan.total)
        self._loop: Loop | None = None
        self._steps: ResidentSteps | HostedSteps
        if isinstance(source, Resident):
            self._columns = columns(plan, state) if metrics is None else metrics
            held = source.arrays
            key = "data", id(source), place  # once for all phases that read them there
            arrays = plan.once.of(key, lambda: plan.put_data(held, place))
            # JAX without compilation, for debugging, has no loop to compile.
            if executor != "dispatch" and not setting("disable_jit"):
                key = "loop", executor, plan.steps_alike, kind_of(state), places(state)
                compiled = plan.once.of(key, lambda: self._compiled(plan, state, arrays, executor))
                if compiled is not None:
                    self._loop = Loop(compiled, plan, source, arrays, place)
                    return
            self._steps = ResidentSteps(plan.unrolled(), source, arrays, place)
        else:
            assert batches is not None
            self._steps = HostedSteps(plan.unrolled(), batches)
        self._dispatcher = Dispatcher(place, plan.learners[0].compiled)

    def _compiled(
        self, plan: Plan, state: State, arrays: PyTree, executor: Executor | None
    ) -> Any | None:
        """The loop of a resident source, compiled; None if it is better dispatched."""
        source = plan.phase.source
        assert isinstance(source, Resident)
        traced = TracedLoop(plan, source, state, arrays, self._columns, self._place)
        on_cpu = jax.default_backend() == "cpu"
        if executor == "loop" or not (on_cpu and traced.has_convolution):
            return traced.compiled()
        return None

    @property
    def executor(self) -> Executor:
        """The way chosen."""
        return "dispatch" if self._loop is None else "loop"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the columns of a chunk's rows; known once a chunk was started."""
        if self._loop is not None:
            return self._columns
        return self._dispatcher.metrics or ()

    def advance(
        self, state: State, first: int, steps: int, stop: Callable[[], bool] = lambda: False
    ) -> tuple[State, Chunk]:
        """Starts `steps` steps from step `first` on, and returns without waiting for them.

        The state that is passed in is given away: use the one that comes back. Where steps are
        dispatched one by one, and may wait for data, `stop` can end the chunk early.
        """
        steps = min(steps, CAPACITY)
        if self._loop is None:
            batches = self._steps.take(state, first, steps, self._total, stop)
            return self._dispatcher.run(state, first, batches, stop)
        return self._loop.run(state, first, steps, self._total)

    def enter(self, entropy: tuple[int, ...]) -> None:
        """Another visit begins: its data are read in another order, hosted ones by `entropy`."""
        if self._loop is None:
            self._steps.enter(entropy)
        else:
            self._loop.forget_order()


def columns(plan: Plan, state: State) -> tuple[str, ...]:
    """The names of the metrics of a step on resident data, the same for every kind of batch.

    Traces the step, so that a loss or a rule that cannot work is found before anything runs.
    """
    source = plan.phase.source
    assert isinstance(source, Resident)
    return plan.once.of(("columns", plan.steps_alike), lambda: _columns(plan, state))


def _columns(plan: Plan, state: State) -> tuple[str, ...]:
    source = plan.phase.source
    found: list[tuple[str, ...]] = []
    assert isinstance(source, Resident)
    order = jax.eval_shape(partial(order_of, source, epoch=0), state.keys.order)
    for fetch in [*source.fetches, *([source.tail] if source.tail is not None else [])]:
        step = partial(fetched_step, plan, source.steps_per_epoch, fetch)
        _, metrics = jax.eval_shape(step, state, source.arrays, order, plan.total)
        found.append(tuple(metrics))
    if len(set(found)) > 1:
        raise RuleError(
            f"Phase {plan.phase.name!r} reports other metrics for other kinds of batch: "
            f"{[list(names) for names in found]}. Report the same names for all."
        )
    return found[0]
