"""The compiled loop, dispatch and a hand-written loop make the same steps of the same batches."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.engine.program import Program

X = jnp.asarray(np.random.default_rng(0).normal(size=(11, 3)).astype("f4"))


def loss(model, batch, context):
    noise = 0.1 * jax.random.normal(context.key)
    value = jnp.mean((batch @ model["w"] - 1.0 + noise) ** 2)
    return value, {"size": jnp.float32(len(batch)), "progress": context.progress}


def phase(source, length=13, **options):
    learner = et.Learner(et.Gradient(loss), optax.adam(0.1), **options)
    return et.Phase("fit", learner, source, et.Steps(length))


def source(drop_last):
    return et.ArrayData(X, 4, drop_last=drop_last)


def by_hand(steps, drop_last):
    """The same training without the engine: keys, order and batches from their definitions."""
    root = jax.random.key(5)
    for number in (zlib.crc32(b"fit"), 0, 0):
        root = jax.random.fold_in(root, number)
    orders = jax.random.fold_in(root, 1 << 22)
    per_epoch = 2 if drop_last else 3
    model, optimizer = {"w": jnp.zeros(3)}, optax.adam(0.1)
    state, rows = optimizer.init(model), []
    data = source(drop_last)
    for step in range(steps):
        epoch, position = divmod(step, per_epoch)
        order = data.order(jax.random.fold_in(orders, epoch))
        batch = X[np.asarray(order)[position * 4 : position * 4 + 4]]
        key = jax.random.fold_in(jax.random.fold_in(root, step), 0)
        context = et.Context.at(key, step, step / 13)
        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(model, batch, context)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state)
        model = optax.apply_updates(model, updates)
        rows.append([float(value), float(metrics["progress"]), float(metrics["size"])])
    return model, np.array(rows)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_equal_to_a_loop_by_hand(executor, drop_last):
    plan = et.Plan.of(phase(source(drop_last)), {"w": jnp.zeros(3)})
    state = et.init_state(plan, {"w": jnp.zeros(3)}, seed=5)
    program = Program(plan, state, executor=executor)
    rows = []
    for first, count in [(0, 1), (1, 4), (5, 8)]:
        state, chunk = program.advance(state, first, count)
        found, reached, fault = chunk.read()
        assert (reached, fault, len(found)) == (first + count, 0, count)
        rows.append(found)
    model, expected = by_hand(13, drop_last)
    assert program.metrics == ("loss", "progress", "size")
    assert np.allclose(np.concatenate(rows), expected, rtol=1e-4, atol=1e-6)
    assert np.allclose(state.model["w"], model["w"], rtol=1e-4, atol=1e-6)
    assert int(state.clock) == 13


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_a_fault_halts_the_chunk_and_counts_no_later_step(executor):
    def failing(model, batch, context):
        return jnp.where(context.step == 3, jnp.nan, jnp.sum(model["w"] ** 2))

    learner = et.Learner(et.Gradient(failing), optax.sgd(0.1))
    plan = et.Plan.of(et.Phase("fit", learner, source(True), et.Steps(9)), {"w": jnp.ones(3)})
    state = et.init_state(plan, {"w": jnp.ones(3)})
    program = Program(plan, state, executor=executor)
    state, chunk = program.advance(state, 0, 9)
    rows, reached, fault = chunk.read()
    assert (reached, fault) == (4, 1)
    assert np.isfinite(rows[:3]).all()
    assert np.isnan(rows[3]).all()


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_the_state_that_is_passed_in_is_given_away_and_the_model_is_not(executor):
    model = {"w": jnp.zeros(3)}
    plan = et.Plan.of(phase(source(True)), model)
    state = et.init_state(plan, model)
    program = Program(plan, state, executor=executor)
    after, chunk = program.advance(state, 0, 2)
    chunk.read()
    assert state.model["w"].is_deleted()
    assert not model["w"].is_deleted()
    assert not np.array_equal(after.model["w"], model["w"])


def test_dispatch_ends_a_chunk_when_asked_to():
    plan = et.Plan.of(phase(source(True)), {"w": jnp.zeros(3)})
    state = et.init_state(plan, {"w": jnp.zeros(3)})
    program = Program(plan, state, executor="dispatch")
    asked = iter([False, False, True])
    _, chunk = program.advance(state, 0, 9, lambda: next(asked))
    assert chunk.read()[1] == 3
