"""A batch in micro-batches: the updates of the whole in the memory of a part."""

from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from etude.engine import metric
from etude.engine.leaf_roles import is_array
from etude.engine.precision import widened
from etude.engine.returned import Call, replaced
from etude.engine.rule import Context, Proposal
from etude.errors import RuleError


def accumulated(
    call: Call,
    parts: int,
    trainable: PyTree,
    rest: PyTree,
    moved: PyTree,
    batch: PyTree,
    context: Context,
    unroll: bool = False,
    spread: Callable[[PyTree], PyTree] = lambda batch: batch,
) -> Proposal:
    """The proposal of a rule on `batch`, computed in (at most) `parts` micro-batches.

    Updates and metrics are means weighted by what the micro-batches count (`Proposal.weight`, or
    their samples), so that for a loss that is a mean over what is counted they equal those of the
    whole batch, also where the last micro-batch is short. Metric objects are merged. What the
    rule moves (`Carry`, statistics, counters) goes from one micro-batch to the next. `spread` puts
    the samples of each on the devices that compute with them.
    """
    total = _length(batch)
    size = -(-total // parts)
    full = total // size

    def micro(arrays: PyTree, index: Any, samples: PyTree) -> tuple[PyTree, PyTree, PyTree]:
        key = jax.random.fold_in(context.key, index)
        part = cast(Context, eqx.tree_at(lambda c: c.key, context, key))
        proposal = call(trainable, eqx.combine(arrays, rest), spread(samples), part)
        scalars, objects = metric.split(proposal.metrics)
        weight = widened(_length(samples) if proposal.weight is None else proposal.weight)
        sums = jax.tree.map(lambda x: _weighted(x, weight), (proposal.updates, scalars))
        return replaced(arrays, proposal.model), (sums, weight), objects

    def turn(carry: PyTree, index: Any) -> tuple[PyTree, PyTree]:
        arrays, sums = carry
        samples = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, index * size, size), batch)
        arrays, new, objects = micro(arrays, index, samples)
        return (arrays, jax.tree.map(jnp.add, sums, new)), objects

    arrays = eqx.filter(eqx.filter(rest, is_array), moved)
    first = jax.tree.map(lambda x: x[:size], batch)
    shapes = jax.eval_shape(lambda a, b: micro(a, 0, b)[1], arrays, first)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (arrays, sums), stack = jax.lax.scan(turn, (arrays, zeros), jnp.arange(full), unroll=unroll)
    objects = metric.unstacked(stack, full)
    if total > full * size:
        last = jax.tree.map(lambda x: x[full * size :], batch)
        arrays, new, tail = micro(arrays, full, last)
        sums = jax.tree.map(jnp.add, sums, new)
        objects.append(tail)
    (updates, scalars), weight = sums
    updates, scalars = jax.tree.map(lambda x: x / weight.astype(x.dtype), (updates, scalars))
    return Proposal(updates, scalars | metric.merged(objects), arrays)


def _weighted(x: Array, weight: Array) -> Array:
    x = widened(x)
    # A mean over nothing is NaN, and counts for nothing.
    return jnp.where(weight == 0, jnp.zeros_like(x), x * weight.astype(x.dtype))


def _length(batch: PyTree) -> int:
    shapes = {jnp.shape(x)[:1] for x in jax.tree.leaves(batch)}
    if len(shapes) != 1 or shapes == {()}:
        raise RuleError(
            "accumulate splits a batch along its first axis, which must be the same for all of "
            f"its arrays; got first axes {sorted(shapes)}. Leave accumulate out, or give every "
            "array one entry per sample."
        )
    return shapes.pop()[0]
