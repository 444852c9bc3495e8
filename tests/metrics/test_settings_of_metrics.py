"""Counts, weights and numbers that would give another answer in silence."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from etude import metrics
from etude.errors import DataError


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


ONE = np.array([0])


@pytest.mark.parametrize("count", [True, 2.5, float("nan"), "2", 0])
@pytest.mark.parametrize(
    "make",
    [
        metrics.TopKAccuracy.empty,
        metrics.ExpectedCalibrationError.empty,
        metrics.ConfusionMatrix.empty,
        metrics.F1.empty,
        metrics.PerClass.empty,
        metrics.MetricsTracker,
        lambda count: metrics.compute_top_k_accuracy(np.eye(3), np.arange(3), count),
        lambda count: metrics.compute_confusion_matrix(ONE, ONE, count),
        lambda count: metrics.compute_per_class_metrics(ONE, ONE, count),
    ],
)
def test_a_count_is_a_whole_number(make, count):
    with pytest.raises(ValueError, match="expected a whole number of 1 or more"):
        make(count)


def test_a_count_of_numpy_counts():
    scores, targets = jnp.array([[0.5, 0.3, 0.2]]), jnp.array([1])
    one, two = metrics.TopKAccuracy.empty(np.int64(2)), metrics.TopKAccuracy.empty(2)
    assert one.update(scores, targets).merge(two).compute() == 1


@pytest.mark.parametrize("kind", [metrics.Mean, metrics.Variance])
def test_negative_weights_are_refused_and_nan_under_jit(kind):
    def weighted(weights):
        return kind.empty().update(jnp.array([1.0, 2.0]), weights).compute()

    weights = jnp.array([2.0, -1.0])
    with pytest.raises(DataError, match=r"down to -1\.0, expected weights of 0 or more"):
        weighted(weights)
    assert jnp.isnan(jax.jit(weighted)(weights))


def test_integers_of_64_bits_are_not_cut():
    long = np.array([2**40, 2**40])
    assert metrics.Mean.of(long).compute() == 2.0**40
    assert metrics.Mean.of(np.array([1.0, 3.0]), long).compute() == 2
    assert metrics.Variance.empty().update(long).compute() == 0
    assert metrics.Sum.of(long).compute() == 2.0**41


def test_a_sum_is_of_real_numbers_in_float64_where_there_is_one():
    for wrong in (np.array(["3"]), jnp.array([1j])):
        with pytest.raises(DataError, match="Sum: got values of"):
            metrics.Sum.of(wrong)
    assert metrics.Sum.of(3.0).compute() == 3
    with jax.enable_x64(True):
        assert metrics.Sum.of(np.array([2.0**24, 1.0])).compute() == 2**24 + 1
