"""One turn of a learner on a batch: its rule, and what becomes of what the rule returns."""

import typing
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

from etude.engine.accumulation import accumulated
from etude.engine.leaf_roles import Role
from etude.engine.learner import Learner, Probe
from etude.engine.metric import checked_metrics, split, totals
from etude.engine.part import Part
from etude.engine.precision import LossScale, cast, cast_inputs, cast_like, float_dtype, widened
from etude.engine.returned import checked, replaced
from etude.engine.rule import Context, Proposal
from etude.engine.selection import SelectionError
from etude.engine.state import LearnerState
from etude.errors import ConfigurationError, RuleError, suggest

#: Entries of the longest array that is joined with others to be looked through for NaN.
SHORT = 1 << 10

#: Entries of the longest carried array that is looked through for NaN.
LOOKED_AT = 1 << 16


def first_state(learner: Learner, part: Part, arrays: PyTree, hyper: PyTree) -> LearnerState:
    """The state of a learner before its first step."""
    trainable, _ = part.split(arrays)
    optimizer = learner.optimizer_of(hyper)
    # Copies: an optimizer may keep the parameters themselves, and no buffer is donated twice.
    return LearnerState(
        optimizer=None if optimizer is None else jax.tree.map(jnp.copy, optimizer.init(trainable)),
        ema=None if learner.ema is None else jax.tree.map(_average, trainable),
        loss_scale=LossScale.first() if learner.precision == "float16" else None,
        updates=jnp.int32(0),
        skipped=jnp.int32(0),
    )


def _average(leaf: Array) -> Array:
    # In at least float32: in half precision 0.999 of a number and a thousandth of another would
    # be rounded away, and the average of a model that is stored so would stand still.
    return jnp.copy(widened(leaf))


def propose(
    learner: Learner,
    part: Part,
    arrays: PyTree,
    static: PyTree,
    batch: PyTree,
    context: Context,
    *,
    unroll: bool,
    spread: Callable[[PyTree], PyTree],
) -> Proposal:
    """Calls the rule in the precision of the learner; updates and model come back as stored."""
    parameters, others = eqx.partition(arrays, part.parameters)
    computed = eqx.combine(cast(parameters, learner.precision), others)
    trainable, rest = part.split(computed)
    rest = eqx.combine(rest, static)
    batch = _in_precision(learner, batch)
    call = checked(learner, part)
    if learner.accumulate == 1:
        return call(trainable, rest, batch, context)
    return accumulated(
        call, learner.accumulate, trainable, rest, part.moved, batch, context, unroll, spread
    )


def _in_precision(learner: Learner, batch: PyTree) -> PyTree:
    try:
        return cast_inputs(batch, learner.precision, learner.inputs)
    except SelectionError as error:
        raise ConfigurationError(
            f"{learner.title}: `inputs` {error}. It gets a batch and must return a part "
            "of it, as in `inputs=lambda batch: batch['x']`."
        ) from error


def take_turn(
    learner: Learner,
    part: Part,
    arrays: PyTree,
    static: PyTree,
    state: LearnerState,
    batch: PyTree,
    context: Context,
    *,
    skip: bool,
    probes: tuple[Probe, ...] = (),
    unroll: bool = False,
    spread: Callable[[PyTree], PyTree] = lambda batch: batch,
) -> tuple[PyTree, LearnerState, dict[str, Any], Bool[Array, ""]]:
    """One turn of a learner on a batch: `(arrays, state, metrics, fault)`.

    With `skip`, or under float16, a turn whose updates are not finite changes nothing but the
    count of skipped turns (and the loss scale). Otherwise `fault` says that they were not.
    `spread` puts the samples of a micro-batch on the devices that compute with them.
    """
    if state.loss_scale is not None:
        factor = state.loss_scale.factor
        context = typing.cast(
            Context,
            eqx.tree_at(lambda c: c.loss_scale, context, factor, is_leaf=lambda x: x is None),
        )
    proposal = propose(learner, part, arrays, static, batch, context, unroll=unroll, spread=spread)
    trainable, _ = part.split(arrays)
    metrics = dict(proposal.metrics)
    moved = replaced(arrays, proposal.model)
    loss = split(metrics)[0].get("loss")
    optimizer_state = state.optimizer
    optimizer = learner.optimizer_of(context.hyper)
    if optimizer is None:
        updated = part.split(moved)[0]
        finite = _finite(updated)
    else:
        updates = cast_like(proposal.updates, trainable)
        finite = _finite(updates)
        for probe in probes:
            metrics |= checked_metrics("The metrics of a callback", probe(updates, trainable))
        updates, norms = _clip(learner, updates)
        metrics |= norms
        extra = {} if (told := _told(learner, metrics, loss)) is None else {"value": told}
        with _asked_for_more(learner):
            steps, optimizer_state = optax.with_extra_args_support(optimizer).update(
                updates, state.optimizer, trainable, **extra
            )
        metrics |= _learning_rate(optimizer_state)
        updated = optax.apply_updates(trainable, steps)
    if learner.project is not None:
        updated = _projected(learner, learner.project, part, updated)
    if loss is not None:
        finite &= jnp.isfinite(loss)
    finite &= _sound(part, arrays, proposal.model)
    ema = state.ema
    if learner.ema is not None:
        decay = learner.ema(state.updates) if callable(learner.ema) else learner.ema
        ema = jax.tree.map(lambda e, p: _averaged(decay, e, widened(p)), ema, updated)
    after = eqx.combine(updated, moved)
    new = LearnerState(optimizer_state, ema, state.loss_scale, state.updates + 1, state.skipped)
    if not (skip or state.loss_scale is not None):
        return after, new, metrics, ~finite
    # A skipped turn changes nothing but the counter.
    after, new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), (after, new), (arrays, state))
    skipped = state.skipped + (~finite).astype(jnp.int32)
    new = typing.cast(LearnerState, eqx.tree_at(lambda s: s.skipped, new, skipped))
    fault = jnp.bool(False)
    if state.loss_scale is not None:
        scale = state.loss_scale.after(finite)
        new = typing.cast(LearnerState, eqx.tree_at(lambda s: s.loss_scale, new, scale))
        metrics["loss_scale"] = scale.factor
        fault = ~finite & (state.loss_scale.factor <= 1) & (not skip)
    metrics["skipped"] = new.skipped.astype(float_dtype())
    return after, new, metrics, fault


def _averaged(decay: Any, average: Array, new: Array) -> Array:
    # A decay that was computed has a dtype, which must be that of the average.
    decay = decay if isinstance(decay, float) else decay.astype(average.dtype)
    return decay * average + (1 - decay) * new


def _told(learner: Learner, metrics: Mapping[str, Any], loss: Array | None) -> Array | None:
    """What the optimizer is told beside the updates."""
    if learner.watch is None:
        return loss
    known = totals(metrics)
    if learner.watch not in known:
        raise RuleError(
            f"{learner.title} watches {learner.watch!r}, which it does not report at its "
            f"steps. {suggest(learner.watch, known)}"
        )
    return known[learner.watch]


def _sound(part: Part, before: PyTree, changes: PyTree) -> Bool[Array, ""]:
    """Whether moved statistics are finite, and no carried number has become NaN.

    Carried numbers may be infinite, as a smallest value that was not seen yet is, or NaN from the
    beginning, as an empty place is. Long ones are not looked at: a replay buffer moves by one
    entry, and a look at all of it would cost more than the step.
    """
    if changes is None:
        return jnp.bool(True)
    seen, statistics = [jnp.bool(True)], list[Array]()

    def look(old: Any, new: Any, role: Any) -> None:
        if new is None or not jnp.issubdtype(new.dtype, jnp.inexact):
            return
        if role is Role.STATISTIC:
            statistics.append(new)
        elif role is Role.CARRIED and new.size <= LOOKED_AT:
            seen.append(~jnp.any(jnp.isnan(new) & ~jnp.isnan(old)))

    jax.tree.map(look, before, changes, part.roles, is_leaf=lambda leaf: leaf is None)
    return jnp.stack(seen).all() & _finite(statistics)


@contextmanager
def _asked_for_more(learner: Learner) -> Generator[None, None, None]:
    """Within, an optimizer updates, or is refused if it needs what no learner tells it."""
    try:
        # Optax mixes Python numbers and integer counts freely; ours stay strict.
        with jax.numpy_dtype_promotion("standard"):
            yield
    except TypeError as error:
        if "required keyword-only argument" not in str(error):
            raise
        raise ConfigurationError(
            f"{learner.title}: its optimizer asks for more than a learner tells it ({error}). It "
            "is told the updates, the parameters and, as `value`, the loss that the rule reports "
            "or the metric in `watch`. A line search computes the loss again and again; leave it "
            "out: optax.lbfgs(1.0, linesearch=None)."
        ) from error


def _finite(tree: PyTree) -> Bool[Array, ""]:
    # A product with a constant keeps NaN and infinity, is the fastest reduction on every device
    # (XLA's own keep the order of additions and do not vectorise on a CPU), and a factor this
    # small lets no finite values overflow. Not zero: XLA would fold the product away.
    def seen(values: Array) -> Array:
        rows = values.reshape(-1, values.shape[-1])
        return jnp.isfinite(jnp.sum(rows @ jnp.full(rows.shape[1], 2.0**-64, rows.dtype)))

    parts: list[Array] = []
    short: dict[Any, list[Array]] = {}
    for leaf in jax.tree.leaves(tree):
        if leaf.size:
            values = widened(leaf).reshape(-1) if leaf.size <= SHORT else widened(leaf)
            (short.setdefault(values.dtype, []) if leaf.size <= SHORT else parts).append(values)
    # Short leaves are joined: a product for each of a thousand takes long to compile.
    parts += [jnp.concatenate(values) for values in short.values()]
    return jnp.stack([jnp.bool(True), *map(seen, parts)]).all()


def _clip(learner: Learner, updates: PyTree) -> tuple[PyTree, dict[str, Array]]:
    metrics: dict[str, Array] = {}
    if learner.clip_value is not None:
        bound = learner.clip_value
        updates = jax.tree.map(lambda u: _clipped(u, bound), updates)
    if learner.clip_norm is not None:
        norm = optax.tree.norm(updates)
        metrics["update_norm"] = norm
        factor = jnp.minimum(1.0, learner.clip_norm / jnp.maximum(norm, 1e-12))
        updates = jax.tree.map(lambda u: u * factor.astype(u.dtype), updates)
    return updates, metrics


def _learning_rate(state: PyTree) -> dict[str, Array]:
    """The learning rate in use, if the optimizer was made with `optax.inject_hyperparams`."""
    kinds = (optax.InjectHyperparamsState, optax.InjectStatefulHyperparamsState)
    for node in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kinds)):
        if isinstance(node, kinds) and "learning_rate" in node.hyperparams:
            return {"learning_rate": jnp.asarray(node.hyperparams["learning_rate"])}
    return {}


def _clipped(update: Array, bound: float) -> Array:
    if not jnp.iscomplexobj(update):
        return jnp.clip(update, -bound, bound)
    size = jnp.abs(update)
    return update * (bound / jnp.maximum(size, bound)).astype(update.dtype)


def _projected(
    learner: Learner, project: Callable[[Any], Any], part: Part, trainable: PyTree
) -> PyTree:
    """The updated part as `project` returns it."""
    before = part.pick(trainable)
    after = project(before)
    wanted, found = jax.tree.leaves(before), jax.tree.leaves(after)
    shapes = [jnp.shape(x) for x in found], [jnp.shape(x) for x in wanted]
    if shapes[0] != shapes[1]:
        raise RuleError(
            f"project of {learner.called} must return the part that it got, with new "
            f"values: got {len(found)} arrays {shapes[0]}, expected {len(wanted)} arrays "
            f"{shapes[1]}. Leaves that do not learn are None in it, and stay so."
        )
    return part.put(cast_like(found, wanted), trainable)
