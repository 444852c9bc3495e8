"""The confusion matrix against scikit-learn, over uneven batches."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sk

from etude.metrics import ConfusionMatrix


@given(st.integers(0, 10**6), st.sampled_from([1, 7, 19]))
def test_merged_uneven_batches_equal_one_pass(seed, cut):
    rng = np.random.default_rng(seed)
    predicted, actual = rng.integers(0, 3, 20), rng.integers(0, 4, 20)
    mask = rng.random(20) < 0.7
    first, second = (
        ConfusionMatrix.empty(5).update(
            jnp.asarray(predicted[part], jnp.int32),
            jnp.asarray(actual[part], jnp.int32),
            jnp.asarray(mask[part]),
        )
        for part in (slice(cut), slice(cut, None))
    )
    expected = np.zeros((5, 5), int)
    np.add.at(expected, (actual[mask], predicted[mask]), 1)
    np.testing.assert_array_equal(first.merge(second).compute(), expected)


def test_scores_stand_for_their_largest_class_as_in_scikit_learn():
    rng = np.random.default_rng(0)
    scores, actual = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    state = ConfusionMatrix.empty(4).update(jnp.asarray(scores), jnp.asarray(actual, jnp.int32))
    np.testing.assert_array_equal(state.compute(), sk.confusion_matrix(actual, scores.argmax(1)))


def test_counts_pass_the_end_of_float32_integers():
    state = ConfusionMatrix(jnp.full((1, 1), 2**24, jnp.int32), jnp.array(0, jnp.int32))
    assert state.update(jnp.array([0]), jnp.array([0])).compute()[0, 0] == 2**24 + 1


def test_merge_refuses_other_class_counts():
    with pytest.raises(ValueError, match="expected 2"):
        ConfusionMatrix.empty(2).merge(ConfusionMatrix.empty(3))
