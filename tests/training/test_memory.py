"""A lack of memory is a sentence with the size that was asked for, also inside a training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.errors import memory_explained
from etude.run.checkpoints import Shared


def test_of_an_optimizer():
    def greedy(params):
        return jnp.zeros((10**7, 10**6))  # 36 TiB

    def loss(w, batch, context):
        return jnp.mean((w - batch) ** 2)

    optimizer = optax.GradientTransformation(greedy, lambda u, state, params=None: (u, state))
    learner = et.Learner(et.Gradient(loss), optimizer)
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(8), batch_size=4), et.Steps(2))
    trainer = et.Trainer(jnp.ones(()), phase, progress=False)
    with pytest.raises(et.OutOfMemoryError, match=r"Out of memory: 37,252\.9 GiB were asked"):
        trainer.fit()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes."), "4.0 GiB"),
        (RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 3.73GiB (4000000000B) on "
                      "device ordinal 0"), "3.7 GiB"),
        (MemoryError(), "more than there is"),
    ],
)  # fmt: skip
def test_whoever_says_it(error, words):
    with pytest.raises(et.OutOfMemoryError, match=words), memory_explained():
        raise error


def test_of_numpy():
    with pytest.raises(et.OutOfMemoryError, match=r"7\.11 PiB were"), memory_explained():
        np.empty(10**15)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="no matter"), memory_explained():
        raise RuntimeError("no matter of memory")


def test_best_weights_come_to_the_device_after_the_optimizer_has_left(monkeypatch):
    def living():
        arrays = [a for a in jax.live_arrays() if a.shape == shape]
        return len({a.unsafe_buffer_pointer() for a in arrays})

    def loss(w, batch, context):
        return jnp.mean((w.sum() - batch) ** 2)

    shape, found, placed = (1231,), [], Shared.placed
    monkeypatch.setattr(Shared, "placed", lambda *a: found.append(living()) or placed(*a))
    data = et.ArrayData(jnp.ones(8), batch_size=4)
    learner = et.Learner(et.Gradient(loss), optax.adam(0.1))
    phases = [
        et.Phase(name, learner, data, et.Steps(4), et.Validation(data), keep=et.Best("valid/loss"))
        for name in ("first", "second")
    ]
    before = living()
    et.Trainer(jnp.ones(shape), phases, progress=False).fit()
    # The caller's model and the last weights, but not the two copies of Adam.
    assert found == [before + 2, before + 2]
