"""The compiled loop, dispatch and a hand-written loop make the same steps of the same batches."""

import zlib
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.engine import compiled_loop
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


@pytest.mark.parametrize("members", [0, 2])
def test_steps_in_blocks_are_those_of_the_loop(monkeypatch, members):
    """As on an accelerator; over ends of epochs, a short batch and a fault within a block."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=75).astype(np.float32))

    def loss(w, batch, context):
        worst = jnp.where((context.step == 37) & (w[1] > 0.5), jnp.nan, 0.0)
        return jnp.mean((w[0] - batch) ** 2) + worst, {"seen": batch[0]}

    def trained(second):
        data = et.ArrayData(x, batch_size=4, shuffle="exact")
        learner = et.Learner(et.Gradient(loss), optax.adam(0.1))
        phase = et.Phase("fit", learner, data, et.Steps(60))
        options = {"phases": phase, "progress": False, "executor": "loop"}
        if members:
            starts = {"second": [second, 0.0]}
            population = et.Population(lambda key, second: jnp.array([0.0, second]), vary=starts)
            return et.Trainer(population=population, **options)
        return et.Trainer(jnp.array([0.0, second]), **options)

    def outcome(second):
        trainer = trained(second)
        try:
            result = trainer.fit()
        except et.NonFiniteError as error:
            return str(error), None
        columns = {name: result.history[name].value for name in result.history.names}
        models = [result.member(n) for n in range(members)] if members else [result.model]
        return columns, models

    wanted = [outcome(second) for second in (0.0, 1.0)]
    monkeypatch.setattr(compiled_loop, "block_of", lambda state, steps: 8)
    for second, (columns, models) in zip((0.0, 1.0), wanted, strict=True):
        found = outcome(second)
        if models is None:
            assert found == (columns, None)
            continue
        close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        jax.tree.map(close, found, (columns, models))


def test_blocks_have_the_same_bits_wherever_chunks_end(monkeypatch):
    monkeypatch.setattr(compiled_loop, "block_of", lambda state, steps: 8)

    def trained(every):
        learner = et.Learner(et.Gradient(loss), optax.adam(0.1))
        data = et.ArrayData(jnp.tile(X, (4, 1)), 4, drop_last=False)
        often = et.Validation(data, every=et.Steps(every))
        made = et.Phase("fit", learner, data, et.Steps(60), validation=often)
        return et.Trainer({"w": jnp.zeros(3)}, made, progress=False, executor="loop").fit()

    one, other = trained(60), trained(7)
    np.testing.assert_array_equal(
        one.history["train/loss"].value, other.history["train/loss"].value
    )
    np.testing.assert_array_equal(one.model["w"], other.model["w"])


def test_blocks_leave_few_steps_over_and_are_for_small_states(monkeypatch):
    small, large = et.Plan.of(phase(source(True)), {"w": jnp.zeros(3)}), jnp.zeros(2**24 + 1)
    state = et.init_state(small, {"w": jnp.zeros(3)})
    assert compiled_loop.block_of(state, 100) == 1  # a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [compiled_loop.block_of(state, n) for n in (39, 312, 9, 2)] == [8, 8, 5, 4]
    assert compiled_loop.block_of(eqx.tree_at(lambda s: s.model, state, large), 100) == 1
