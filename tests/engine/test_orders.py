"""The order of an epoch is drawn once per epoch, however the steps are cut into chunks."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.engine.compiled_loop import TracedLoop
from etude.engine.place import Place
from etude.engine.program import Program
from etude.engine.randomness import visit_keys
from etude.engine.step import state_of

ROWS = 7


class Counting(et.ArrayData):
    """Counts on the host how often an order is drawn."""

    draws = 0

    def order(self, key):
        def count():
            Counting.draws += 1

        jax.debug.callback(count)
        return super().order(key)


def rule(trainable, rest, batch, context):
    """The rows in the order in which they are seen."""
    place = context.step * 2 + jnp.arange(len(batch))
    return et.Proposal(model=trainable.at[place].set(batch))


def setting(source, steps=16):
    phase = et.Phase("fit", et.Learner(rule), source, et.Steps(steps))
    model = jnp.full(2 * steps, -1.0)
    plan = et.Plan.of(phase, model)
    return plan, model


def run(program, state, cuts):
    for first, until in pairwise(cuts):
        state, chunk = program.advance(state, first, until - first)
        assert chunk.read()[1] == until
    return np.asarray(state.model)


@pytest.mark.parametrize("drop_last", [True, False])
def test_drawn_once_an_epoch_and_the_same_in_every_cut(drop_last):
    source = Counting(jnp.arange(float(ROWS)), 2, drop_last=drop_last)
    plan, model = setting(source)
    whole = run(Program(plan, et.init_state(plan, model)), et.init_state(plan, model), [0, 16])
    Counting.draws = 0
    program = Program(plan, et.init_state(plan, model))
    cut = run(program, et.init_state(plan, model), [0, 1, 2, 5, 6, 7, 8, 12, 16])
    jax.effects_barrier()
    assert Counting.draws == -(-16 // source.steps_per_epoch)
    assert np.array_equal(cut, whole)


def test_another_visit_has_an_order_of_its_own():
    """A program serves all visits to its phase: the kept order must not outlive one."""
    source = et.ArrayData(jnp.arange(float(ROWS)), 2)
    plan, model = setting(source, 3)
    program = Program(plan, et.init_state(plan, model))
    seen = []
    for visit in (0, 1, 0):
        program.enter((0, visit))
        state = state_of(plan, model, visit_keys(0, "fit", visit), donate=False)
        seen.append(run(program, state, [0, 3]))
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])


def test_a_convolution_is_seen_wherever_it_is():
    def traced(function):
        def loss(weight, batch, context):
            return jnp.mean(function(weight, batch))

        source = et.ArrayData(jnp.ones((4, 1, 8)), 2)
        learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
        plan = et.Plan.of(et.Phase("fit", learner, source, et.Steps(1)), jnp.ones((1, 1, 3)))
        state = et.init_state(plan, jnp.ones((1, 1, 3)))
        return TracedLoop(plan, source, state, source.arrays, ("loss",), Place()).has_convolution

    def convolved(weight, batch):
        return jax.lax.conv(batch, weight, (1,), "SAME")

    assert traced(convolved)
    assert traced(jax.jit(convolved))
    assert traced(jax.checkpoint(convolved))
    assert traced(lambda w, b: jax.lax.cond(b.sum() > 0, convolved, lambda w, b: b, w, b))
    assert not traced(lambda weight, batch: weight.sum() * batch)
