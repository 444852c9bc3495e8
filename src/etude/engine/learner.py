"""A learner: a rule, the part of the model it trains, and the optimizer of its updates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

from etude.engine.accumulation import accumulated
from etude.engine.errors import ConfigurationError, ModelError, RuleError, suggest
from etude.engine.precision import LossScale, Precision, cast, cast_like
from etude.engine.roles import Role, is_array, owned, roles
from etude.engine.rule import Context, Proposal, Rule
from etude.engine.state import LearnerState

Probe = Callable[[PyTree, PyTree], Mapping[str, Array]]


@dataclass(frozen=True)
class Learner:
    """A rule and what it trains.

    Attributes:
        rule: computes the updates; `Gradient(loss)` is the usual one.
        optimizer: optax transformation of the updates. None: the rule itself supplies the new
            values of its part, in `Proposal.model` (a sweep, an EM step, a replacement).
        where: the part of the model that learns, `lambda model: model.encoder`; all, if None.
        name: prefix of its metrics where a phase has several learners.
        repeat: turns per step, on the same batch with fresh randomness at each.
        accumulate: the batch is computed in this many micro-batches, in the memory of one.
        clip_norm: largest global norm of the updates.
        clip_value: largest absolute value of an update.
        ema: decay of an exponential moving average of the part, used in validation on request.
        precision: of the computation; the parameters stay float32.

    Raises `ConfigurationError` for values outside their range.

    >>> from etude import Gradient
    >>> Learner(Gradient(lambda model, batch, context: 0.0), optax.sgd(0.1), repeat=2).repeat
    2
    """

    rule: Rule
    optimizer: optax.GradientTransformation | None = None
    where: Callable[[Any], Any] | None = None
    name: str = ""
    repeat: int = 1
    accumulate: int = 1
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    precision: Precision = "float32"

    def __post_init__(self):
        problems = []
        if not callable(self.rule):
            problems.append(f"rule must be callable, as Gradient(loss) is; got {self.rule!r}")
        for field in ("repeat", "accumulate"):
            if getattr(self, field) < 1:
                problems.append(f"{field} must be at least 1; got {getattr(self, field)}")
        for field in ("clip_norm", "clip_value"):
            value = getattr(self, field)
            if value is not None and not value > 0:
                problems.append(f"{field} must be positive, or None for no clipping; got {value}")
        if self.ema is not None and not 0 <= self.ema < 1:
            problems.append(f"ema is a decay in [0, 1), such as 0.999; got {self.ema}")
        if self.precision not in get_args(Precision):
            cure = suggest(str(self.precision), get_args(Precision))
            problems.append(f"precision {self.precision!r} is unknown. {cure}")
        if self.optimizer is None and (self.accumulate > 1 or self.clip_norm or self.clip_value):
            problems.append(
                "accumulate, clip_norm and clip_value act on updates; this learner has no "
                "optimizer to give them to. Pass optimizer=optax.sgd(...)"
            )
        if problems:
            raise ConfigurationError(f"Learner {self.name!r}: " + "; ".join(problems) + ".")


class Part(eqx.Module):
    """Which array leaves of one model a learner trains, may move, and computes with."""

    #: owned parameters
    trained: PyTree = eqx.field(static=True)
    #: leaves that are no parameters and may take new values from `Proposal.model`
    moved: PyTree = eqx.field(static=True)
    #: parameters, owned or not: what is cast to the precision of the computation
    parameters: PyTree = eqx.field(static=True)

    @classmethod
    def of(cls, learner: Learner, model: PyTree) -> "Part":
        """The part of `model` that `learner` trains. Raises `ModelError` if it is empty."""
        leaves, treedef = jax.tree.flatten(model)
        kinds, mine = roles(model), owned(model, learner.where)

        def mask(test: Callable[[Role, bool], bool]) -> PyTree:
            flags = [
                test(kind, own) if is_array(leaf) else None
                for leaf, kind, own in zip(leaves, kinds, mine, strict=True)
            ]
            return jax.tree.unflatten(treedef, flags)

        part = cls(
            trained=mask(lambda kind, own: own and kind is Role.PARAMETER),
            moved=mask(
                lambda kind, own: kind is Role.FREE or (own and kind is Role.STATISTIC),
            ),
            parameters=mask(lambda kind, own: kind is Role.PARAMETER),
        )
        if not any(jax.tree.leaves(part.trained)):
            raise ModelError(
                f"Learner {learner.name!r} has nothing to train: `where` selects no "
                "floating-point array that is a parameter. Integers, `Fixed` arrays, an Equinox "
                "State and NNX variables other than nnx.Param are never trained."
            )
        return part

    def split(self, arrays: PyTree) -> tuple[PyTree, PyTree]:
        """`(trainable, rest)` of the arrays of a model."""
        return eqx.partition(arrays, self.trained)


def first_state(learner: Learner, part: Part, arrays: PyTree) -> LearnerState:
    """The state of a learner before its first step."""
    trainable, _ = part.split(arrays)
    optimizer = learner.optimizer
    # Copies: an optimizer may keep the parameters themselves, and no buffer is donated twice.
    return LearnerState(
        optimizer=None if optimizer is None else jax.tree.map(jnp.copy, optimizer.init(trainable)),
        ema=None if learner.ema is None else jax.tree.map(jnp.copy, trainable),
        loss_scale=LossScale.first() if learner.precision == "float16" else None,
        updates=jnp.int32(0),
        skipped=jnp.int32(0),
    )


def propose(
    learner: Learner,
    part: Part,
    arrays: PyTree,
    static: PyTree,
    batch: PyTree,
    context: Context,
    *,
    unroll: bool,
) -> Proposal:
    """Calls the rule in the precision of the learner; updates and model come back as stored."""
    parameters, others = eqx.partition(arrays, part.parameters)
    computed = eqx.combine(cast(parameters, learner.precision), others)
    trainable, rest = part.split(computed)
    rest = eqx.combine(rest, static)
    batch = cast(batch, learner.precision)
    if learner.accumulate > 1:
        proposal = accumulated(
            learner.rule, learner.accumulate, trainable, rest, part.moved, batch, context, unroll
        )
    else:
        proposal = learner.rule(trainable, rest, batch, context)
    if not isinstance(proposal, Proposal):
        raise RuleError(
            f"The rule of learner {learner.name!r} must return a Proposal; got "
            f"{type(proposal).__name__}. Return `Proposal(updates, metrics)`."
        )
    return proposal


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
) -> tuple[PyTree, LearnerState, dict[str, Array], Bool[Array, ""]]:
    """One turn of a learner on a batch: `(arrays, state, metrics, fault)`.

    With `skip`, or under float16, a turn whose updates are not finite changes nothing but the
    count of skipped turns (and the loss scale). Otherwise `fault` says that they were not.
    """
    if state.loss_scale is not None:
        context = eqx.tree_at(
            lambda c: c.loss_scale, context, state.loss_scale.factor, is_leaf=lambda x: x is None
        )
    proposal = propose(learner, part, arrays, static, batch, context, unroll=unroll)
    trainable, _ = part.split(arrays)
    metrics = _scalars(learner, proposal.metrics)
    offered = _arrays_of(learner, proposal.model, arrays)
    optimizer_state = state.optimizer
    if learner.optimizer is None:
        if proposal.model is None:
            raise RuleError(
                f"Learner {learner.name!r} has no optimizer, so its rule must return the new "
                "values of its part in Proposal.model; got None."
            )
        updated = part.split(offered)[0]
        finite = _finite(updated)
    else:
        updates = _like_trainable(learner, proposal.updates, trainable)
        finite = _finite(updates)
        for probe in probes:
            metrics |= _scalars(learner, probe(updates, trainable))
        updates, norms = _clip(learner, updates)
        metrics |= norms
        extra = {"value": metrics["loss"]} if "loss" in metrics else {}
        optimizer = optax.with_extra_args_support(learner.optimizer)
        # Optax mixes Python numbers and integer counts freely; ours stay strict.
        with jax.numpy_dtype_promotion("standard"):
            steps, optimizer_state = optimizer.update(updates, state.optimizer, trainable, **extra)
        metrics |= _learning_rate(optimizer_state)
        updated = optax.apply_updates(trainable, steps)
    if "loss" in metrics:
        finite &= jnp.isfinite(metrics["loss"])
    ema = state.ema
    if learner.ema is not None:
        decay = learner.ema
        ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, ema, updated)
    moved = eqx.filter(offered, part.moved)
    after = eqx.combine(updated, moved, arrays)
    new = LearnerState(optimizer_state, ema, state.loss_scale, state.updates + 1, state.skipped)
    if not (skip or state.loss_scale is not None):
        return after, new, metrics, ~finite
    # Nothing moves in a skipped turn, so that it can be told from one that never was.
    after, new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), (after, new), (arrays, state))
    skipped = state.skipped + (~finite).astype(jnp.int32)
    new = eqx.tree_at(lambda s: s.skipped, new, skipped)
    fault = jnp.bool(False)
    if state.loss_scale is not None:
        scale = state.loss_scale.after(finite)
        new = eqx.tree_at(lambda s: s.loss_scale, new, scale)
        metrics["loss_scale"] = scale.factor
        fault = ~finite & (state.loss_scale.factor <= 1) & (not skip)
    metrics["skipped"] = new.skipped.astype(jnp.float32)
    return after, new, metrics, fault


def _finite(tree: PyTree) -> Bool[Array, ""]:
    # A product with a constant keeps NaN and infinity, is the fastest reduction on every device
    # (XLA's own keep the order of additions and do not vectorise on a CPU), and a factor this
    # small lets no finite values overflow. It is not zero, lest XLA think it knows the answer.
    def seen(leaf: Array) -> Array:
        values = leaf.astype(jnp.float32) if leaf.dtype.itemsize < 4 else leaf
        rows = values.reshape(-1, leaf.shape[-1] if leaf.ndim else 1)
        return jnp.isfinite(jnp.sum(rows @ jnp.full(rows.shape[1], 2.0**-64, rows.dtype)))

    return jnp.stack([jnp.bool(True), *[seen(x) for x in jax.tree.leaves(tree) if x.size]]).all()


def _clip(learner: Learner, updates: PyTree) -> tuple[PyTree, dict[str, Array]]:
    metrics = {}
    if learner.clip_value is not None:
        bound = learner.clip_value
        updates = jax.tree.map(lambda u: jnp.clip(u, -bound, bound), updates)
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


def _scalars(learner: Learner, metrics: Any) -> dict[str, Array]:
    bad = {k: jnp.shape(v) for k, v in metrics.items() if jnp.shape(v) != ()}
    if bad:
        raise RuleError(
            f"The metrics of learner {learner.name!r} must be scalars; got "
            + ", ".join(f"{k!r} of shape {v}" for k, v in bad.items())
            + ". Reduce them, or measure them in the validation."
        )
    return {name: jnp.asarray(value).astype(jnp.float32) for name, value in metrics.items()}


def _arrays_of(learner: Learner, model: PyTree, arrays: PyTree) -> PyTree:
    """The arrays of a proposed model, checked against and cast to those that are stored."""
    if model is None:
        return arrays
    found, stored = jax.tree.leaves(eqx.filter(model, is_array)), jax.tree.leaves(arrays)
    shapes = [jnp.shape(x) for x in found], [jnp.shape(x) for x in stored]
    if shapes[0] != shapes[1]:
        raise RuleError(
            f"The model returned by the rule of learner {learner.name!r} has other arrays than "
            f"the one it got: {len(found)} of shapes {shapes[0]}, expected {len(stored)} of "
            f"shapes {shapes[1]}. Return the same model with new values."
        )
    return cast_like(jax.tree.unflatten(jax.tree.structure(arrays), found), arrays)


def _like_trainable(learner: Learner, updates: PyTree, trainable: PyTree) -> PyTree:
    found, wanted = jax.tree.leaves(updates), jax.tree.leaves(trainable)
    shapes = [jnp.shape(x) for x in found], [jnp.shape(x) for x in wanted]
    if shapes[0] != shapes[1]:
        raise RuleError(
            f"The updates of learner {learner.name!r} must have the shape of its trainable part: "
            f"got {len(found)} arrays {shapes[0]}, expected {len(wanted)} arrays {shapes[1]}. "
            "Leaves that do not learn are None in `trainable`, and must be None in the updates."
        )
    return cast_like(jax.tree.unflatten(jax.tree.structure(trainable), found), trainable)
