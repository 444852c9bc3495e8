"""ArrayData: each sample once per epoch in the real loop; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from recording import count

from etude.data import ArrayData
from etude.engine.errors import DataError


@settings(max_examples=4)
@given(st.integers(1, 20), st.data(), st.booleans(), st.sampled_from(["loop", "dispatch"]))
def test_each_sample_counts_once_per_epoch(length, draw, drop_last, executor):
    size = draw.draw(st.integers(1, length))
    data = ArrayData(np.arange(length), size, drop_last=drop_last)
    steps = 2 * data.steps_per_epoch
    cuts = sorted(draw.draw(st.sets(st.integers(1, steps - 1), max_size=2))) if steps > 1 else ()
    counts, _ = count(data, length, steps, lambda batch: batch, executor=executor, cuts=cuts)
    if drop_last and length % size:
        assert counts.sum() == 2 * (length - length % size)
        assert counts.max() <= 2
    else:
        assert counts.tolist() == [2] * length


@settings(max_examples=6)
@given(st.integers(1, 50), st.integers(0, 99))
def test_the_order_is_a_permutation_and_a_function_of_its_key(length, seed):
    data, key = ArrayData(np.arange(length), 1), jax.random.key(seed)
    assert sorted(data.order(key).tolist()) == list(range(length))
    assert data.order(key).tolist() == data.order(key).tolist()


def test_the_owner_of_an_array_cannot_change_the_data_later():
    mine = np.zeros((1000, 64), np.float32)
    data = ArrayData(mine, 10)
    mine[:] = 1
    assert float(data.arrays.max()) == 0


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": np.zeros(5), "y": np.zeros(4)}, {}, r"data\['x'\] has 5, data\['y'\] has 4"),
        (np.zeros((0, 3)), {}, "empty"),
        ({}, {}, "no array"),
        ([[1, 2], [3, 4]], {}, "np.asarray"),
        (np.array([[0, 1], [2, np.nan]]), {}, r"nan at index \(1, 1\)"),
        (jnp.array([0, jnp.inf]), {}, r"inf at index \(1,\)"),
        (np.array([1e300]), {}, "inf at index"),
        (np.array([0, 2**40]), {}, "do not fit int32"),
        (np.array(["a", "b"]), {}, "not numbers"),
        ((np.zeros(3), np.array([0, 3, -1])), {"classes": 3}, "Label 3 of sample 1.*2 such"),
        ((np.zeros(3), np.zeros(3)), {"classes": 3}, r"no array holds labels.*reshape\(-1\)"),
        (np.zeros(3), {"batch_size": 4}, "batch_size <= 3"),
        (np.zeros(3), {"batch_size": True}, "integer"),
    ],
)
def test_bad_data_are_refused(arrays, options, message):
    with pytest.raises(DataError, match=message):
        ArrayData(arrays, **{"batch_size": 1, **options})
