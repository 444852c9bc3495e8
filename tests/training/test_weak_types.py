"""Arrays that JAX made of numbers of Python adapt their type to others: not those of a training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.engine.named_arrays import named

WEAK = [
    pytest.param(jnp.full(3, 0.5), id="array"),
    pytest.param(jnp.asarray(0.5), id="scalar", marks=pytest.mark.slow),
]


def loss(model, batch, context):
    """Computed in half precision, if the weights adapt to the batch."""
    with jax.numpy_dtype_promotion("standard"):
        found = (batch * model["w"] * model["frozen"]).astype(jnp.float32)
    return jnp.mean((found - 1) ** 2)


def phase(name="fit", steps=6):
    x = jax.random.normal(jax.random.key(0), (64, 3)).astype(jnp.bfloat16)
    learner = et.Learner(
        et.Gradient(loss), optax.sgd(0.1, momentum=0.9), where=lambda m: m["w"], ema=0.9
    )
    return et.Phase(name, learner, et.ArrayData(x, 4), et.Steps(steps))


def model(w):
    return {"w": w, "frozen": jnp.full(3, 1.25), "count": jnp.asarray(0)}


@pytest.mark.parametrize("w", WEAK)
def test_parameters_and_arrays_have_types_of_their_own(w):
    assert w.weak_type
    first = phase()
    state = et.init_state(et.Plan.of(first, model(w)), model(w))
    assert not state.model["w"].weak_type
    assert not any(leaf.weak_type for leaf in named(state).values() if leaf.ndim)
    assert state.model["count"].weak_type  # as a checkpoint gives it back


@pytest.mark.slow
@pytest.mark.parametrize("w", WEAK)
def test_a_resume_has_the_same_types_and_bits(w, tmp_path):
    def trainer():
        every = et.ModelCheckpoint(et.Steps(3), keep_last=9)
        phases = [phase("one"), phase("two")]
        return et.Trainer(model(w), phases, run=tmp_path / "run", callbacks=[every], progress=False)

    whole = np.asarray(trainer().fit().model["w"])
    for step in (9, 3):
        resumed = trainer().resume(checkpoint=f"step-{step}")
        assert np.asarray(resumed.model["w"]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("shards", [None, 2])
def test_data_have_types_of_their_own(shards):
    data = et.ArrayData((jnp.full((4, 2), 0.5), jnp.full(4, 1)), 2, shards=shards)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(data.arrays))
