"""A step of several members side by side is the step of each; the clock is one number."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)).astype("f4"))


def noisy(w, x, context):
    noise = jax.random.normal(context.key, w.shape)
    return jnp.mean((x @ w - 1.0) ** 2) + 0.1 * jnp.sum(noise * w)


@pytest.fixture
def plan():
    learner = et.Learner(
        et.Gradient(noisy), lambda hyper: optax.adam(hyper["rate"]), ema=0.9, clip_norm=1.0
    )
    data = et.ArrayData(X, 3)
    phase = et.Phase("fit", learner, data, et.Steps(4), hyper={"rate": 0.1})
    return et.Plan.of(phase, jnp.zeros(3))


def member(plan, seed, rate):
    state = et.init_state(plan, jnp.full(3, float(seed)), seed=seed)
    return eqx.tree_at(lambda s: s.hyper["rate"], state, jnp.asarray(rate, jnp.float32))


def side_by_side(states):
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return eqx.tree_at(lambda s: s.clock, stacked, states[0].clock)


def of(state, number):
    taken = jax.tree.map(lambda leaf: leaf[number], eqx.tree_at(lambda s: s.clock, state, X[:, 0]))
    return eqx.tree_at(lambda s: s.clock, taken, state.clock)


def values(state):
    leaves = jax.tree.leaves((state.model, state.learners, state.fault, state.active))
    return [np.asarray(leaf) for leaf in leaves]


def test_each_member_takes_the_step_that_it_takes_alone(plan):
    alone = [member(plan, seed, rate) for seed, rate in ((0, 0.1), (1, 0.3), (2, 0.01))]
    together = side_by_side(alone)
    step = jax.jit(lambda state, batch: et.train_step(plan, state, batch))
    for batch in (X[:3], X[3:]):
        together, metrics = step(together, batch)
        found = []
        for number, state in enumerate(alone):
            alone[number], row = step(state, batch)
            found.append(row["loss"])
        np.testing.assert_allclose(metrics["loss"], jnp.stack(found), rtol=1e-6)
    assert together.clock.shape == ()
    assert int(together.clock) == 2
    for number, state in enumerate(alone):
        for ours, theirs in zip(values(of(together, number)), values(state), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_member_at_fault_or_stopped_stands_still_and_the_others_go_on(plan):
    states = [member(plan, seed, 0.1) for seed in range(3)]
    states[0] = eqx.tree_at(lambda s: s.fault, states[0], jnp.int32(1))
    states[1] = eqx.tree_at(lambda s: s.active, states[1], jnp.bool(False))
    before = side_by_side(states)
    after, _ = et.train_step(plan, before, X)
    for number in (0, 1):
        for old, new in zip(values(of(before, number)), values(of(after, number)), strict=True):
            np.testing.assert_array_equal(old, new)
    assert (of(after, 2).model != of(before, 2).model).all()
    assert int(after.clock) == 1


def test_the_fault_of_one_member_is_its_own_and_the_clock_stops_with_the_last(plan):
    states = [member(plan, seed, 0.1) for seed in range(2)]
    states[0] = eqx.tree_at(lambda s: s.model, states[0], jnp.full(3, jnp.inf))
    after, _ = et.train_step(plan, side_by_side(states), X)
    assert after.fault.tolist() == [1, 0]
    after, _ = et.train_step(plan, after, X)
    assert (int(after.clock), bool(after.going)) == (2, True)
    after = eqx.tree_at(lambda s: s.active, after, jnp.array([True, False]))
    after, _ = et.train_step(plan, after, X)
    assert (int(after.clock), bool(after.going)) == (2, False)


def test_a_clock_for_each_member_is_refused(plan):
    states = [member(plan, seed, 0.1) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    with pytest.raises(et.ConfigurationError, match="clock of a state is one number"):
        et.train_step(plan, stacked, X)
