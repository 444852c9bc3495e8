"""The check of updates for NaN and infinity agrees with NumPy, wherever the bad value is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import etude as et
from etude.engine.turn import _finite

finite = jax.jit(_finite)
SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4), (33, 64), (0, 4)]


@given(
    st.sampled_from(SHAPES),
    st.sampled_from(["float32", "bfloat16", "float16"]),
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 1.0, 0.0, -3.0]), max_size=3),
    st.integers(0, 10**6),
)
def test_agrees_with_numpy(shape, dtype, values, place):
    array = np.ones(shape, np.float32)
    for number, value in enumerate(values):
        if array.size:
            array.flat[(place + number) % array.size] = value
    tree = {"good": jnp.ones(3), "other": jnp.asarray(array).astype(dtype)}
    assert bool(finite(tree)) == bool(np.isfinite(array).all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_largest_finite_values_do_not_overflow(dtype):
    largest = jnp.full((1000, 1000), jnp.finfo(dtype).max, dtype)
    assert bool(finite(largest))
    assert bool(finite(-largest))


def test_nothing_is_finite():
    assert bool(finite({}))


def fault_of(model, loss, steps=1):
    """The fault after some steps of one learner."""
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1), where=lambda m: m["w"])
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(4), 4), et.Steps(steps))
    plan = et.Plan.of(phase, model)
    state = et.init_state(plan, model)
    for _ in range(steps):
        state, _ = et.train_step(plan, state, jnp.ones(4))
    return int(state.fault)


def carrying(value):
    def loss(model, batch, context):
        moved = {**model, "seen": et.Carry(value(model["seen"].value))}
        return jnp.mean((model["w"] - batch) ** 2), {}, moved

    return loss


@pytest.mark.parametrize(
    ("first", "value", "fault"),
    [
        (0.0, lambda old: old + 1, 0),
        (0.0, lambda old: old * jnp.nan, 1),
        # A smallest value that was not seen yet is infinite, and an empty place may be NaN.
        (np.inf, lambda old: jnp.minimum(old, jnp.inf), 0),
        (np.nan, lambda old: old * 1, 0),
        (1.0 + 2.0j, lambda old: old * jnp.nan, 1),
    ],
)
def test_a_carried_number_that_becomes_nan_is_a_fault(first, value, fault):
    """The loss and the updates are finite all the while: nothing else would tell."""
    model = {"w": jnp.zeros(()), "seen": et.Carry(first)}
    assert fault_of(model, carrying(value)) == fault


def test_one_nan_in_a_carried_array_is_found():
    model = {"w": jnp.zeros(()), "seen": et.Carry(jnp.zeros(1000))}
    assert fault_of(model, carrying(lambda old: old.at[17].set(jnp.nan))) == 1


def test_batch_statistics_that_are_not_finite_are_a_fault():
    """An infinite input makes the running mean infinite; a loss that ignores it stays finite."""
    nnx = pytest.importorskip("flax.nnx")
    norm = nnx.BatchNorm(1, rngs=nnx.Rngs(0))

    def loss(model, batch, context):
        model(jnp.full((4, 1), jnp.inf))
        return jnp.mean(model.scale[...] ** 2)

    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(4), 4), et.Steps(1))
    plan = et.Plan.of(phase, norm)
    state, metrics = et.train_step(plan, et.init_state(plan, norm), jnp.ones(4))
    assert np.isfinite(metrics["loss"])
    assert int(state.fault) == 1
