"""Asynchronous dispatch of the compiled step: one call per step, none of them waited for.

It serves data that come from the host, and models with convolutions on a CPU, where XLA runs
convolutions inside loops without its fast path.
"""

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from etude.engine.chunk import Chunk, fetched_step, order_of, rows_shape, status, write
from etude.engine.compiled import Compiled, kind_of
from etude.engine.place import Place, shardings
from etude.engine.precision import float_dtype
from etude.engine.processes import agree_on_program, processes
from etude.engine.source import Fetch, Resident
from etude.engine.state import State
from etude.engine.step import Plan, step_of
from etude.engine.surroundings import setting
from etude.errors import RuleError

#: A step on some kind of batch: `step(state, argument) -> (state, metrics)`.
Step = Callable[[State, Any], tuple[State, dict[str, Array]]]


class Dispatcher:
    """Runs chunks step by step, over flat arrays, because flattening a model is not free."""

    def __init__(self, place: Place, kept: Compiled) -> None:
        self.place, self.kept = place, kept
        self.metrics: tuple[str, ...] | None = None
        self._programs: dict[Hashable, Callable[..., Any]] = {}

    def run(
        self,
        state: State,
        first: int,
        batches: Iterator[tuple[Hashable, Step, Any]],
        stop: Callable[[], bool],
    ) -> tuple[State, Chunk]:
        """Dispatches a chunk of `(kind, step, argument)`, until `stop`."""
        leaves, treedef = jax.tree.flatten(state)
        origin = self.place.put(np.int32(first))
        rows = reached = None
        for kind, step, argument in batches:
            if kind not in self._programs:
                self._learn_metrics(step, jax.tree.unflatten(treedef, leaves), argument)
            if rows is None:
                shape = rows_shape(jax.tree.unflatten(treedef, leaves), len(self.metrics or ()))
                rows = self.place.put(np.zeros(shape, float_dtype()))
            arguments = leaves, rows, origin, argument
            if kind not in self._programs:
                # On several devices the state comes back as it went in: it goes in again.
                read = self.place.read_everywhere
                outputs = None if self.place.alone else (shardings(leaves), read, read)
                self._programs[kind] = self._compiled(_flat(step, treedef, outputs), arguments)
            leaves, rows, reached = self._programs[kind](*arguments)
            self.place.settle(reached)
            if stop():
                break
        if rows is None or reached is None:  # stopped while the first batch was waited for
            rows = np.zeros((0, len(self.metrics or ())), float_dtype())
            reached = np.array([first, 0])
        return jax.tree.unflatten(treedef, leaves), Chunk(first, rows, reached)

    def _compiled(self, jitted: Any, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        # On several devices batches of one kind may be spread differently.
        if not self.place.alone or setting("disable_jit"):
            if not processes().alone:
                agree_on_program(jitted.lower(*arguments).as_text())
            return jitted
        return self.kept.compiled(jitted.trace(*arguments), arguments)

    def _learn_metrics(self, step: Step, state: State, argument: Any) -> None:
        names = tuple(jax.eval_shape(step, state, argument)[1])
        if self.metrics is not None and names != self.metrics:
            raise RuleError(
                f"The metrics differ between kinds of batch: {list(names)} here, "
                f"{list(self.metrics)} before. Report the same names for all."
            )
        self.metrics = names


def _flat(step: Step, treedef: Any, outputs: tuple[Any, ...] | None) -> Any:
    def run(leaves: list[Array], rows: Array, origin: Array, argument: Any):
        state = jax.tree.unflatten(treedef, leaves)
        after, metrics = step(state, argument)
        return jax.tree.leaves(after), write(rows, metrics, state.clock - origin), status(after)

    return jax.jit(run, donate_argnums=(0, 1), out_shardings=outputs)


@runtime_checkable
class Batches(Protocol):
    """Batches that come from the host, in the order of the steps that use them."""

    def take(self, first: int, steps: int, stop: Callable[[], bool]) -> Iterator[PyTree]:
        """The batches of `steps` steps from `first` on; fewer if `stop()` while one is awaited."""
        ...

    def enter(self, entropy: tuple[int, ...]) -> None:
        """Another visit to the phase: another order."""
        ...


class HostedSteps:
    """The steps of a hosted source, for a `Dispatcher`; batches of a kind have equal types."""

    def __init__(self, plan: Plan, batches: Batches):
        self._step: Step = lambda state, argument: step_of(plan, state, *argument)
        self.batches = batches

    def take(
        self,
        state: State,
        first: int,
        steps: int,
        total: Float[Array, ""],
        stop: Callable[[], bool],
    ) -> Iterator[tuple[Hashable, Step, Any]]:
        """`(kind, step, argument)` of `steps` steps from `first` on, or until `stop`."""
        for batch in self.batches.take(first, steps, stop):
            yield kind_of(batch), self._step, (batch, total)

    def enter(self, entropy: tuple[int, ...]) -> None:
        """Another visit to the phase."""
        self.batches.enter(entropy)


class ResidentSteps:
    """The steps of a resident source, for a `Dispatcher`."""

    def __init__(self, plan: Plan, source: Resident, arrays: PyTree, place: Place):
        self.source, self.arrays, self.place, self._plan = source, arrays, place, plan
        self._kinds = _kinds(source)

        def draw(key: Array, epoch: Any) -> PyTree:
            return order_of(source, key, epoch)

        self._draw = jax.jit(draw)
        self._order: tuple[int, PyTree] = (-1, None)

        def on(fetch: Fetch) -> Step:
            step = partial(fetched_step, plan, source.steps_per_epoch, fetch)
            return lambda state, argument: step(state, *argument)

        self._steps = [on(fetch) for fetch in source.fetches]
        if source.tail is not None:
            self._steps.append(on(source.tail))

    def take(
        self,
        state: State,
        first: int,
        steps: int,
        total: Float[Array, ""],
        stop: Callable[[], bool],
    ) -> Iterator[tuple[int, Step, Any]]:
        """`(kind, step, argument)` of `steps` steps from `first` on; none is waited for."""
        key = jnp.copy(state.keys.order)
        for number in range(first, first + steps):
            epoch, position = divmod(number, self.source.steps_per_epoch)
            if self._order[0] != epoch:
                order = self._draw(key, self.place.put(np.int32(epoch)))
                # An order that needs no key is made on the default device.
                self._order = epoch, self._plan.put_data(order, self.place)
            kind = int(self._kinds[position])
            yield kind, self._steps[kind], (self.arrays, self._order[1], total)

    def enter(self, entropy: tuple[int, ...]) -> None:
        """Another visit to the phase: another order, which the key of its state gives."""
        self._order = (-1, None)


def _kinds(source: Resident) -> np.ndarray:
    """The kind of every position of an epoch; the tail comes last."""
    count = source.steps_per_epoch
    kinds = np.zeros(count, np.int32)
    if len(source.fetches) > 1:
        kinds = jax.device_get(jax.jit(jax.vmap(source.kind))(jnp.arange(count)))
    if source.tail is not None:
        kinds = np.append(kinds[:-1], len(source.fetches))
    return kinds
