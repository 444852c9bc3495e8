"""A rule that counts the samples it sees, driven by the real program."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

import etude as et
from etude.data.prefetch import Prefetch
from etude.engine.place import Place
from etude.engine.program import Program
from etude.engine.source import Resident


def count(data, length, steps, numbers, seed=0, executor=None, cuts=()):
    """How often `numbers(batch)` names each of `length` samples in `steps` steps."""

    def rule(trainable, rest, batch, context):
        seen = numbers(batch)
        return et.Proposal(
            None, {"samples": jnp.float32(seen.shape[0])}, trainable.at[seen].add(1.0)
        )

    model = jnp.zeros(length)
    phase = et.Phase("count", et.Learner(rule), data, et.Steps(steps))
    plan = et.Plan.of(phase, model)
    state = et.init_state(plan, model, seed=seed)
    resident = isinstance(data, Resident)
    batches = None if resident else Prefetch(data, Place())
    program = Program(plan, state, batches, executor)
    at = [0, *cuts, steps]
    try:
        for first, until in pairwise(at):
            state, chunk = program.advance(state, first, until - first)
            assert chunk.read()[1] == until
    finally:
        if batches is not None:
            batches.close()
    return np.asarray(jax.device_get(state.model)), program


class Squares:
    """An indexed data set that can be sent to other processes."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return {"x": np.full(3, index**2, np.float32), "y": index}
