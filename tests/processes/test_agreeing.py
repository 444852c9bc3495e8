"""What processes compare before they train: all data, of which a few samples are read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.training.together import SOME, _digest, _shown, _some, _sources


def loss(w, batch, context):
    return jnp.mean((w - batch) ** 2)


def test_the_data_of_a_rescue_are_compared():
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    data = [et.ArrayData(np.full(8, float(n), np.float32), 4) for n in range(3)]
    mending = et.Phase("mending", learner, data[2], et.Steps(2))
    phase = et.Phase(
        "fit",
        learner,
        data[0],
        et.Steps(2),
        validation=et.Validation(data[1]),
        rescue=et.Rescue(mending, when=lambda validations: False),
    )
    found = _sources(et.Trainer(jnp.zeros(()), phase, progress=False).settings.bound.values())
    assert list(found.values()) == data
    assert list(found)[2] == "data of phase 'mending'"


@pytest.mark.parametrize("shards", [None, 4])
def test_a_few_samples_of_all_are_read(shards):
    x = np.arange(8192, dtype=np.float32)
    some = _some(_shown(et.ArrayData(x, 64, shards=shards)))
    (leaf,) = jax.tree.leaves(some)
    assert SOME <= leaf.size <= 2 * SOME
    assert np.ptp(leaf) > 0.9 * len(x)
    other = x.copy()
    other[0] = -1
    data = et.ArrayData(other, 64, shards=shards)
    assert _digest(_some(_shown(data))) != _digest(some)
