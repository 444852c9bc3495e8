"""A batch in micro-batches: the updates of the whole in the memory of a part."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from etude.engine.roles import is_array
from etude.engine.rule import Context, Proposal, Rule


def accumulated(
    rule: Rule,
    parts: int,
    trainable: PyTree,
    rest: PyTree,
    moved: PyTree,
    batch: PyTree,
    context: Context,
    unroll: bool = False,
) -> Proposal:
    """The proposal of `rule` on `batch`, computed in (at most) `parts` micro-batches.

    Updates and metrics are means weighted by the sizes of the micro-batches, so that for a loss
    that is a mean over samples they equal those of the whole batch, also where the last
    micro-batch is short. What the forward pass moves (statistics, counters) goes from one
    micro-batch to the next.
    """
    total = jnp.shape(jax.tree.leaves(batch)[0])[0]
    size = -(-total // parts)
    full = total // size

    def micro(arrays: PyTree, index: Any, samples: PyTree) -> tuple[PyTree, PyTree]:
        part = eqx.tree_at(lambda c: c.key, context, jax.random.fold_in(context.key, index))
        proposal = rule(trainable, eqx.combine(arrays, rest), samples, part)
        offered = eqx.filter(proposal.model, is_array)
        if offered is not None:
            arrays = eqx.filter(offered, moved)
        sums = (proposal.updates, dict(proposal.metrics))
        return arrays, jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), sums)

    def turn(carry: PyTree, index: Any) -> tuple[PyTree, None]:
        arrays, sums = carry
        samples = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, index * size, size), batch)
        arrays, new = micro(arrays, index, samples)
        return (arrays, jax.tree.map(lambda a, b: a + b * size, sums, new)), None

    arrays = eqx.filter(eqx.filter(rest, is_array), moved)
    first = jax.tree.map(lambda x: x[:size], batch)
    shapes = jax.eval_shape(lambda a, b: micro(a, 0, b)[1], arrays, first)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (arrays, sums), _ = jax.lax.scan(turn, (arrays, zeros), jnp.arange(full), unroll=unroll)
    if total > full * size:
        last = jax.tree.map(lambda x: x[full * size :], batch)
        arrays, new = micro(arrays, full, last)
        sums = jax.tree.map(lambda a, b: a + b * (total - full * size), sums, new)
    updates, metrics = jax.tree.map(lambda x: x / total, sums)
    model = eqx.combine(arrays, eqx.filter(rest, is_array), trainable)
    return Proposal(updates, metrics, model)
