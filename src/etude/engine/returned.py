"""What a rule returns: checked against the model it got, and brought to the form that is stored.

Nothing that comes back is dropped in silence. A leaf that comes back changed and may not move is
refused by its name.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from etude.engine.forwarding import forwarded
from etude.engine.leaf_roles import Role, is_array, names
from etude.engine.learner import Learner
from etude.engine.metric import checked_metrics, checked_weight
from etude.engine.part import Part
from etude.engine.rule import Context, Proposal, refuse_constants
from etude.errors import RuleError
from etude.kinds import is_a

#: Calls a rule: `call(trainable, rest, batch, context) -> Proposal`, whose updates have the form
#: of `trainable` and whose model has the leaves that change, None elsewhere.
Call = Callable[[PyTree, PyTree, PyTree, Context], Proposal]


def checked(learner: Learner, part: Part) -> Call:
    """The rule of a learner, with what it returns checked.

    Raises `RuleError` if it returns no `Proposal`, one of other shapes, or a model in which a
    leaf has changed that may not move.
    """
    rule, called = learner.rule, learner.called

    def call(trainable: PyTree, rest: PyTree, batch: PyTree, context: Context) -> Proposal:
        # Taken apart first: a Flax NNX module changes in place.
        handed = eqx.combine(trainable, rest)
        arrays, static = eqx.partition(handed, is_array)
        found = rule(trainable, rest, batch, context)
        if not is_a(found, Proposal):
            raise RuleError(
                f"The rule of {called} must return a Proposal; got "
                f"{type(found).__name__}. Return `Proposal(updates, metrics)`."
            )
        metrics = checked_metrics(f"The metrics of {called}", found.metrics)
        updates = None
        if learner.optimizer is not None:
            updates = _like_trainable(called, found.updates, trainable)
        elif found.model is None:
            raise RuleError(
                f"{learner.title} has no optimizer, so its rule must return the new values of "
                "its part in Proposal.model; got None."
            )
        model = eqx.combine(trainable, rest) if found.model is None else found.model
        refuse_constants(handed, model)

        def again(leaves: list[Array]) -> list[Array]:
            trained, others = part.split(jax.tree.unflatten(jax.tree.structure(arrays), leaves))
            others = eqx.combine(others, static)
            model = rule(trained, others, batch, context).model
            model = eqx.combine(trained, others) if model is None else model
            return jax.tree.leaves(eqx.filter(model, is_array))

        changes = _changes(learner, part, arrays, eqx.filter(model, is_array), again)
        weight = checked_weight(f"The weight of {called}", found.weight)
        return Proposal(updates, metrics, changes, weight)

    return call


def replaced(arrays: PyTree, changes: PyTree) -> PyTree:
    """`arrays` with the values of `changes` where these are not None, in their own dtypes."""

    def take(old: Any, new: Any) -> Any:
        if new is None:
            return old
        # A cast would make a weakly typed counter strong, which promotes differently.
        alike = new.dtype == old.dtype and new.weak_type <= old.weak_type
        return new if alike else new.astype(old.dtype)

    if changes is None:
        return arrays
    return jax.tree.map(take, arrays, changes, is_leaf=lambda x: x is None)


def _changes(
    learner: Learner,
    part: Part,
    handed: PyTree,
    returned: PyTree,
    again: Callable[[list[Array]], list[Array]],
) -> PyTree:
    """The leaves that come back changed, None elsewhere; refused where they may not move."""
    _check_leaves(learner.called, handed, returned)
    before, after = jax.tree.leaves(handed), jax.tree.leaves(returned)
    may, kinds = jax.tree.leaves(part.moved), jax.tree.leaves(part.roles)
    changed = [new is not old for old, new in zip(before, after, strict=True)]
    # Batch statistics move with the learner that owns them, and only with that one.
    lost = [i for i, kind in enumerate(kinds) if not may[i] and kind is not Role.STATISTIC]
    if any(changed[i] for i in lost):
        same = forwarded(again, before)
        lost = [i for i in lost if changed[i] and not same[i]]
        if lost:
            raise _lost(learner, part, names(handed), lost)
    values = [jnp.asarray(new) if may[i] and changed[i] else None for i, new in enumerate(after)]
    for name, old, new in zip(names(handed), before, values, strict=True):
        if new is not None and not _fits(_kind(new), _kind(old)):
            raise RuleError(
                f"The model that {learner.called} returns holds {new.dtype} at "
                f"{name or 'its only leaf'}, where it held {old.dtype}, and would be cut off. "
                f"Convert it, or begin with an array of that type."
            )
    return jax.tree.unflatten(jax.tree.structure(handed), values)


def _lost(learner: Learner, part: Part, paths: list[str], lost: list[int]) -> RuleError:
    trained, kinds = jax.tree.leaves(part.trained), jax.tree.leaves(part.roles)

    def cure(index: int) -> str:
        if trained[index]:
            return (
                "is moved by the optimizer. To change it after the update (clipped weights, unit "
                "norms), pass Learner(project=...)"
            )
        if kinds[index] is Role.FIXED:
            return "is in et.Fixed. Wrap it in et.Carry instead"
        return (
            "is a parameter that this learner does not own. Wrap it in et.Carry, or let a learner "
            "own it with `where`"
        )

    return RuleError(
        f"The model that {learner.called} returns has new values that would be lost: "
        + "; ".join(f"{paths[i] or 'its only leaf'} {cure(i)}" for i in lost)
        + ". If the new values are not meant, return the leaf as it came."
    )


def _fits(new: int, old: int) -> bool:
    return new == old or 0 <= new < old


def _kind(leaf: Array) -> int:
    """How much a dtype can say: truth values, integers, reals, complex numbers; keys are -1."""
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next((i for i, kind in enumerate(kinds) if jnp.issubdtype(leaf.dtype, kind)), -1)


def _check_leaves(called: str, wanted: PyTree, found: PyTree) -> None:
    expected, got = (
        dict(zip(names(tree), map(jnp.shape, jax.tree.leaves(tree)), strict=True))
        for tree in (wanted, found)
    )
    if expected == got:
        return
    problems = [f"{path or 'its only leaf'} is missing" for path in expected if path not in got]
    problems += [f"{path or 'a lone leaf'} is new" for path in got if path not in expected]
    problems += [
        f"{path or 'its only leaf'} has shape {got[path]}, expected {shape}"
        for path, shape in expected.items()
        if path in got and got[path] != shape
    ]
    raise RuleError(
        f"The model returned by the rule of {called} has other arrays than the one it "
        f"got: {', '.join(problems)}. Return the same model with new values; "
        "`equinox.combine(trainable, rest)` is the whole of it."
    )


def _like_trainable(called: str, updates: PyTree, trainable: PyTree) -> PyTree:
    found, wanted = jax.tree.leaves(updates), jax.tree.leaves(trainable)
    shapes = [jnp.shape(x) for x in found], [jnp.shape(x) for x in wanted]
    if shapes[0] != shapes[1]:
        raise RuleError(
            f"The updates of {called} must have the shape of its trainable part: "
            f"got {len(found)} arrays {shapes[0]}, expected {len(wanted)} arrays {shapes[1]}. "
            "Leaves that do not learn are None in `trainable`, and must be None in the updates."
        )
    for path, new, old in zip(names(trainable), found, wanted, strict=True):
        if jnp.iscomplexobj(new) and not jnp.iscomplexobj(old):
            raise RuleError(
                f"The update of {path or 'the model'} of {called} is complex, the "
                "parameter is real. Return its real part, or begin with a complex parameter."
            )
    return jax.tree.unflatten(jax.tree.structure(trainable), found)
