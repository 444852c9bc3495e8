"""A batch in micro-batches: against the whole batch in float64, and against a loop by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

import etude as et
from etude.engine.accumulation import accumulated
from etude.engine.part import Part
from etude.engine.returned import checked

MODEL = {"w": jnp.array([0.5, -1.0, 2.0]), "count": et.Carry(0.0)}


def calling(loss, weight=None):
    learner = et.Learner(et.Gradient(loss, weight), optax.sgd(0.1))
    part = Part.of(learner, MODEL)
    trainable, rest = part.split(MODEL)
    context = et.Context.at(jax.random.key(0))

    def run(parts, batch, context=context):
        call = checked(learner, part)
        if parts == 1:
            return call(trainable, rest, batch, context)
        return accumulated(call, parts, trainable, rest, part.moved, batch, context)

    return run


def squares(model, batch, context):
    x, y = batch
    value = jnp.mean((x @ model["w"] - y) ** 2)
    moved = {**model, "count": et.Carry(model["count"].value + 1)}
    return value, {"largest": jnp.mean(x)}, moved


def batch_of(count, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 3)).astype("f4"), random.normal(size=count).astype("f4")


@given(st.integers(1, 23), st.integers(2, 9), st.integers(0, 10**6))
def test_equals_the_whole_batch(count, parts, seed):
    """Also where the last micro-batch is short, and where there are more parts than samples."""
    run = calling(squares)
    whole, split = run(1, batch_of(count, seed)), run(parts, batch_of(count, seed))
    assert np.allclose(split.updates["w"], whole.updates["w"], rtol=1e-4, atol=1e-5)
    for name in ("loss", "largest"):
        assert np.allclose(split.metrics[name], whole.metrics[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("count", "parts", "calls"), [(6, 3, 3), (7, 3, 3), (2, 5, 2), (5, 4, 3)])
def test_what_is_carried_goes_from_one_micro_batch_to_the_next(count, parts, calls):
    proposal = calling(squares)(parts, batch_of(count))
    assert float(proposal.model["count"].value) == calls


def test_a_mean_over_tokens_counts_tokens():
    """Micro-batches of 4, 0 and 1 tokens: a mean of their means is wrong, the empty one's NaN."""

    def loss(model, batch, context):
        value, mask = batch
        return jnp.sum(value * mask * model["w"][0]) / mask.sum()

    value = jnp.arange(12.0).reshape(6, 2)
    mask = jnp.array([[1, 1], [1, 1], [0, 0], [0, 0], [0, 1], [0, 0]], jnp.float32)
    proposal = calling(loss, lambda batch: batch[1].sum())(3, (value, mask))
    expected = np.sum(np.asarray(value) * np.asarray(mask)) / 5
    assert np.allclose(proposal.updates["w"][0], expected)
    assert np.allclose(proposal.metrics["loss"], expected * 0.5)


def test_every_micro_batch_has_a_key_of_its_own():
    def loss(model, batch, context):
        return jax.random.uniform(context.key) * model["w"][0]

    proposal = calling(loss)(4, jnp.zeros((8, 1)))
    keys = [jax.random.fold_in(jax.random.key(0), index) for index in range(4)]
    assert np.allclose(proposal.updates["w"][0], np.mean([jax.random.uniform(k) for k in keys]))


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(et.RuleError, match="first axis, which must be the same"):
        calling(squares)(2, (jnp.ones((4, 3)), jnp.ones(5)))
