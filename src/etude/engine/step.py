"""One step of a phase: every learner takes its turns on one batch. Pure, and compiled by others."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key, PyTree

from etude.engine import randomness
from etude.engine.beginning import first
from etude.engine.compiled import kind_of, places
from etude.engine.explaining import explained
from etude.engine.hyper import numbers
from etude.engine.inspection import inspect
from etude.engine.layout import Layout
from etude.engine.leaf_roles import is_array
from etude.engine.learner import Learner, Probe
from etude.engine.metric import merged, split, totals, unstacked
from etude.engine.once import Once
from etude.engine.part import Part
from etude.engine.phase import Phase
from etude.engine.place import Place, refuse_scattered
from etude.engine.precision import cast_like
from etude.engine.rule import Context
from etude.engine.source import Resident
from etude.engine.state import Keys, LearnerState, State
from etude.engine.surroundings import setting
from etude.engine.turn import take_turn
from etude.errors import ConfigurationError


@dataclass(frozen=True)
class Plan:
    """A phase bound to a model: what is static while it runs.

    >>> # plan = Plan.of(phase, model); state = init_state(plan, model, seed=0)
    """

    phase: Phase
    parts: tuple[Part, ...]
    static: PyTree
    skip_nonfinite: bool = False
    probes: tuple[Probe, ...] = ()
    unroll: bool = False
    #: where the arrays are, if on a mesh of devices
    layout: Layout | None = None
    #: what the plans of one training share
    once: Once = field(default_factory=Once, compare=False)

    @classmethod
    def of(
        cls,
        phase: Phase,
        model: PyTree,
        *,
        skip_nonfinite: bool = False,
        probes: tuple[Probe, ...] = (),
        once: Once | None = None,
        layout: Layout | None = None,
    ) -> "Plan":
        """Binds a phase to a model.

        Raises `ModelError` where a learner has nothing to train, and for what is no model.
        """
        inspect(model)
        if layout is None:
            refuse_scattered(model)
        parts = tuple(Part.of(learner, model) for learner in phase.turns)
        static = eqx.filter(model, is_array, inverse=True)
        once = Once() if once is None else once
        return cls(phase, parts, static, skip_nonfinite, probes, layout=layout, once=once)

    @property
    def steps_alike(self) -> Hashable:
        """Equal for the plans of one training whose steps are the same computation.

        The model, the probes and what a step skips are of the training. The others are compared
        as objects: equal values may hide different functions.
        """
        phase = self.phase
        parts = [*phase.turns, phase.source, phase.augment]
        return (*map(id, parts), kind_of(numbers(phase.hyper)), self.unroll)

    @property
    def total(self) -> np.float32:
        """The length in steps by which progress is measured; 1 if it is not known."""
        return np.float32(self.phase.total_steps or 1)

    def begin(self, arrays: PyTree, keys: Keys, hyper: PyTree, *, donate: bool) -> State:
        """The state before the first step, of arrays that are copied, or given away.

        Compiled once for all visits to like phases, and whole: not piece by piece for every
        shape of every optimizer's zeros.
        """

        begin = partial(first, self.learners, self.parts, donate=donate)
        arguments = arrays, keys, hyper
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
        if traced or setting("disable_jit"):
            state = begin(*arguments)
            return state if traced or self.layout is None else self.layout.put(state)

        def program() -> Callable[..., State]:
            spread = self.layout and self.layout.shardings(jax.eval_shape(begin, *arguments))
            given, kept = (0,) if donate else (), self.learners[0].compiled
            return kept.program(begin, *arguments, donate=given, out_shardings=spread)

        key = "begin", self.steps_alike, donate, kind_of(arguments), places(arguments)
        return self.once.of(key, program)(*arguments)

    def put_data(self, tree: PyTree, place: Place) -> PyTree:
        """Resident data, or their order, at the place of the state."""
        return place.put(tree) if self.layout is None else self.layout.put_data(tree)

    def spread(self, batch: PyTree) -> PyTree:
        """A batch, traced, with its samples on the devices that compute with them."""
        return batch if self.layout is None else self.layout.batches.spread(batch)

    def unrolled(self) -> "Plan":
        """The same with its short inner loops unrolled, for steps outside a compiled loop."""
        return replace(self, unroll=True)

    @property
    def learners(self) -> tuple[Learner, ...]:
        """The learners of the phase."""
        return self.phase.turns

    def arrays(self, state: State, *, ema: bool = False) -> PyTree:
        """The arrays of the model; with `ema`, averaged where a learner keeps an average.

        Raises `ConfigurationError` if none does.
        """
        averages = [learner.ema for learner in state.learners if learner.ema is not None]
        if ema and not averages:
            raise ConfigurationError(
                f"No learner of phase {self.phase.name!r} keeps an average; pass "
                "Learner(..., ema=0.999)."
            )
        return cast_like(eqx.combine(*averages, state.model), state.model) if ema else state.model

    def model(self, state: State, *, ema: bool = False) -> PyTree:
        """The model of a state; with `ema` as `arrays` has it."""
        return eqx.combine(self.arrays(state, ema=ema), self.static)


def init_state(plan: Plan, model: PyTree, *, seed: int = 0, visit: int = 0) -> State:
    """The state before the first step of a phase. The arrays of `model` are copied.

    >>> import jax.numpy as jnp, optax
    >>> import etude as et
    >>> rule = et.Gradient(lambda w, x, context: jnp.mean((w - x) ** 2))
    >>> learner = et.Learner(rule, optax.sgd(1.0))
    >>> phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(4), batch_size=4), et.Steps(3))
    >>> plan = et.Plan.of(phase, jnp.zeros(()))
    >>> state = et.init_state(plan, jnp.zeros(()))
    >>> state, metrics = et.train_step(plan, state, jnp.ones(4))
    >>> float(metrics["loss"]), float(state.model)
    (1.0, 2.0)
    """
    keys = randomness.visit_keys(seed, plan.phase.name, visit)
    return state_of(plan, eqx.filter(model, is_array), keys, donate=False)


def state_of(
    plan: Plan, arrays: PyTree, keys: Keys, *, donate: bool, hyper: PyTree = None
) -> State:
    """As `init_state`, of the arrays of a model, which it copies or, with `donate`, gives away.

    The state goes on the mesh of the plan, if it has one, else where the model is committed to, or
    else the data of the phase. `hyper` are the
    numbers of a member of a population; those of the phase, if None.
    """
    data = plan.phase.source
    found = numbers(plan.phase.hyper if hyper is None else hyper)
    if plan.layout is not None:
        keys, hyper = plan.layout.place.put((keys, found))
        return plan.begin(plan.layout.put(arrays), keys, hyper, donate=donate)
    place = Place.of(arrays, data.arrays if isinstance(data, Resident) else None)
    arrays, keys, hyper = place.put((arrays, keys, found))
    return plan.begin(arrays, keys, hyper, donate=donate)


def train_step(plan: Plan, state: State, batch: PyTree) -> tuple[State, dict[str, Array]]:
    """One step on one batch: `(state, metrics)`. Pure; jit it, scan it, differentiate it."""
    return step_of(plan, state, batch, jnp.asarray(plan.total))


def step_of(
    plan: Plan, state: State, batch: PyTree, total: Float[Array, ""]
) -> tuple[State, dict[str, Array]]:
    """As `train_step`, in a phase of `total` steps: phases of any length share a program.

    The members of a state, if it has any, take the step side by side on the same batch, each with
    its own keys and `hyper`; metrics then have their axis. The clock is not mapped.
    """
    return step_on(plan, state, lambda order: batch, (), total)


def step_on(
    plan: Plan,
    state: State,
    batch: Callable[[PyTree], PyTree],
    order: PyTree,
    total: Float[Array, ""],
    *,
    all_move: bool = False,
) -> tuple[State, dict[str, Array]]:
    """As `step_of`, on the batch that `batch` gives for an order; each member has its own.

    `all_move` is for members of which none stands still, which then need not be looked at.
    """
    if state.clock.ndim or state.fault.shape != state.active.shape:
        raise ConfigurationError(
            "The clock of a state is one number, also for several members, whose fault and active "
            f"have one axis each; got shapes {state.clock.shape}, {state.fault.shape} and "
            f"{state.active.shape}. Stack the states, and put the clock of one back: "
            "eqx.tree_at(lambda s: s.clock, stacked, states[0].clock)."
        )
    progress = state.clock.astype(jnp.float32) / total

    def step(
        model: PyTree,
        learners: PyTree,
        keys: Keys,
        hyper: PyTree,
        fault: Array,
        on: Array,
        order: PyTree,
    ):
        member = State(state.clock, model, learners, keys, hyper, fault, on)
        return _member_step(plan, member, batch(order), progress)

    mapped = step
    if state.fault.ndim:
        mapped = jax.vmap(step if all_move else _kept_where_still(step))
    model, learners, fault, metrics = mapped(
        state.model, state.learners, state.keys, state.hyper, state.fault, state.active, order
    )
    # A step that was already on its way when another failed is not counted.
    clock = state.clock + state.going.astype(jnp.int32)
    after = State(clock, model, learners, state.keys, state.hyper, fault, state.active)
    return (after if plan.layout is None else plan.layout.pin(after)), metrics


def _member_step(
    plan: Plan, state: State, batch: PyTree, progress: Float[Array, ""]
) -> tuple[PyTree, tuple[LearnerState, ...], Array, dict[str, Array]]:
    """The step of one member: its `(model, learners, fault, metrics)` after it."""
    batch = plan.spread(batch)
    if plan.phase.augment is not None:
        key = randomness.learner_key(state.keys.step, state.clock, randomness.AUGMENTATION)
        batch = plan.phase.augment(batch, key)
    arrays, fault = state.model, state.fault
    states: list[LearnerState] = []
    metrics: dict[str, Array] = {}
    for index, (learner, part) in enumerate(zip(plan.learners, plan.parts, strict=True)):
        key = randomness.learner_key(state.keys.step, state.clock, index)
        context = Context(key, state.clock, progress, state.hyper)
        arrays, after, found, bad = _turns(
            plan, learner, part, arrays, state.learners[index], batch, context
        )
        fault = jnp.where((fault == 0) & bad, index + 1, fault)
        states.append(after)
        prefix = f"{learner.name}/" if len(plan.learners) > 1 else ""
        metrics |= {prefix + name: value for name, value in found.items()}
    # Sorted, as JAX sorts a dict at its borders: the names of the columns are learnt there.
    metrics = dict(sorted(metrics.items()))
    return arrays, tuple(states), fault, metrics


def _kept_where_still(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step of one member of several: one that is at fault or not active keeps what it has.

    Its metrics are NaN.
    """

    def kept(
        model: PyTree,
        learners: PyTree,
        keys: Keys,
        hyper: PyTree,
        fault: Array,
        on: Array,
        order: PyTree,
    ):
        *after, metrics = step(model, learners, keys, hyper, fault, on, order)
        moving = on & (fault == 0)
        before = [model, learners, fault]
        after = jax.tree.map(lambda new, old: jnp.where(moving, new, old), after, before)
        return *after, {name: jnp.where(moving, one, jnp.nan) for name, one in metrics.items()}

    return kept


def _turns(
    plan: Plan,
    learner: Learner,
    part: Part,
    arrays: PyTree,
    state: LearnerState,
    batch: PyTree,
    context: Context,
) -> tuple[PyTree, LearnerState, Mapping[str, Array], Array]:
    """The turns of one learner in a step.

    Scalar metrics are those of the last turn; metric objects are merged over all turns.
    """

    def turn(arrays: PyTree, state: LearnerState, key: Key[Array, ""]):
        at = replace(context, key=key)
        who = f", {learner.called}" if learner.name else ""
        with explained(f"phase {plan.phase.name!r}{who}", batch, context.hyper):
            return take_turn(
                learner,
                part,
                arrays,
                plan.static,
                state,
                batch,
                at,
                skip=plan.skip_nonfinite,
                probes=plan.probes,
                unroll=plan.unroll,
                spread=plan.spread,
            )

    if learner.repeat == 1:
        arrays, state, metrics, fault = turn(arrays, state, context.key)
        return arrays, state, totals(metrics), fault

    def body(carry: tuple[PyTree, LearnerState], key: Key[Array, ""]):
        arrays, state, metrics, fault = turn(carry[0], carry[1], key)
        return (arrays, state), (metrics, fault)

    keys = jax.random.split(context.key, learner.repeat)
    (arrays, state), (metrics, faults) = jax.lax.scan(
        body, (arrays, state), keys, unroll=plan.unroll
    )
    scalars, objects = split(metrics)
    last = {name: value[-1] for name, value in scalars.items()}
    whole = merged(unstacked(objects, learner.repeat))
    return arrays, state, totals(last | whole), faults.any()
