"""Accuracy, top-k, precision, recall and F1 against scikit-learn, over uneven batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sk

from etude import metrics
from etude.metrics._accuracy import Hits

cuts = st.sampled_from([0, 7, 20])  # few, since each compiles anew

SKLEARN = {
    metrics.Precision: sk.precision_score,
    metrics.Recall: sk.recall_score,
    metrics.F1: sk.f1_score,
}


def _data(seed, classes=6, size=20):
    """Few of the classes occur: some in the predictions alone, some in the targets alone."""
    rng = np.random.default_rng(seed)
    some = lambda: rng.choice(rng.integers(0, classes, rng.integers(1, 4)), size)  # noqa: E731
    return some(), some(), rng.random(size) < 0.8


def _in_parts(state, cut, *arrays):
    first, second = ([jnp.asarray(a[s]) for a in arrays] for s in (slice(cut), slice(cut, None)))
    return state.update(*first).merge(state.update(*second))


@given(st.integers(0, 10**6), cuts, st.sampled_from(["macro", "micro", "weighted"]))
def test_averages_are_those_of_scikit_learn_with_absent_classes(seed, cut, average):
    predicted, actual, mask = _data(seed)
    mask[0] = True
    for kind, reference in SKLEARN.items():
        state = _in_parts(
            kind.empty(6, average), cut, predicted.astype(np.int32), actual.astype(np.int32), mask
        )
        expected = reference(actual[mask], predicted[mask], average=average, zero_division=0)
        np.testing.assert_allclose(state.compute(), expected, rtol=1e-6)


@given(st.integers(0, 10**6), cuts)
def test_per_class_is_that_of_scikit_learn(seed, cut):
    predicted, actual, mask = _data(seed)
    found = _in_parts(
        metrics.PerClass.empty(6),
        cut,
        predicted.astype(np.int32),
        actual.astype(np.int32),
        mask.astype(np.float32),
    ).compute()
    expected = sk.precision_recall_fscore_support(
        actual[mask], predicted[mask], labels=range(6), zero_division=0
    )
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(found[name], column, rtol=1e-6)


def test_the_support_counts_a_sample_whose_scores_are_nan():
    scores = np.array([[0.9, 0.1], [np.nan, 0.2], [0.3, 0.7]], np.float32)
    found = metrics.PerClass.empty(2).update(scores, np.array([0, 1, 1])).compute()
    assert found["support"].tolist() == [1, 2]
    assert np.isnan(found["recall"]).all()


@given(st.integers(0, 10**6), cuts, st.sampled_from([1, 2, 5]))
def test_accuracy_and_top_k(seed, cut, k):
    rng = np.random.default_rng(seed)
    scores, actual = rng.normal(size=(20, 6)).astype(np.float32), rng.integers(0, 6, 20)
    targets = actual.astype(np.int32)
    accuracy = _in_parts(metrics.Accuracy.empty(), cut, scores, targets).compute()
    np.testing.assert_allclose(accuracy, sk.accuracy_score(actual, scores.argmax(1)), rtol=1e-6)
    expected = sk.top_k_accuracy_score(actual, scores, k=k, labels=range(6))
    top = _in_parts(metrics.TopKAccuracy.empty(k), cut, scores, targets).compute()
    np.testing.assert_allclose(top, expected, rtol=1e-6)
    assert metrics.compute_top_k_accuracy(scores, actual, k) == pytest.approx(expected)
    assert metrics.compute_accuracy(scores, actual) == pytest.approx(accuracy)


@given(st.integers(0, 10**6))
def test_ties_fall_as_in_argmax_so_that_top_one_is_accuracy(seed):
    rng = np.random.default_rng(seed)
    scores, actual = rng.integers(0, 2, (20, 4)).astype(np.float32), rng.integers(0, 4, 20)
    x, y = jnp.asarray(scores), jnp.asarray(actual, jnp.int32)
    accuracy = metrics.Accuracy.empty().update(x, y).compute()
    assert metrics.TopKAccuracy.empty(1).update(x, y).compute() == accuracy
    assert metrics.compute_top_k_accuracy(scores, actual, 1) == pytest.approx(accuracy)
    two = metrics.TopKAccuracy.empty(2).update(x, y).compute()
    assert metrics.compute_top_k_accuracy(scores, actual, 2) == pytest.approx(two)


def test_fewer_classes_than_k_is_no_error_and_all_are_right():
    scores, actual = np.zeros((3, 3), np.float32), np.array([0, 1, 2], np.int32)
    assert metrics.compute_top_k_accuracy(scores, actual) == 1
    state = metrics.TopKAccuracy.empty().update(jnp.asarray(scores), jnp.asarray(actual))
    assert state.compute() == 1


def test_masked_samples_do_not_count_and_nothing_counted_is_nan():
    predicted, actual = jnp.array([0, 1, 1]), jnp.array([0, 1, 0])
    state = metrics.Accuracy.empty()
    assert state.update(predicted, actual, jnp.array([True, True, False])).compute() == 1
    assert state.update(predicted, actual, jnp.array([0.5, 0.0, 3.0])).compute() == 0.5
    assert jnp.isnan(state.compute())
    assert metrics.F1.empty(3).compute() == 0


def test_counts_pass_the_end_of_float32_integers():
    many = jnp.array(2**24, jnp.int32)
    state = metrics.Accuracy(Hits(many, many, jnp.array(0, jnp.int32)))
    state = jax.jit(metrics.Accuracy.update)(state, jnp.array([0]), jnp.array([0]))
    assert (state.counts.hits, state.counts.count) == (2**24 + 1, 2**24 + 1)


@given(st.integers(0, 10**6), st.sampled_from(["macro", "micro", "weighted"]))
def test_the_functions_and_the_tracker_agree_with_the_states(seed, average):
    predicted, actual, _ = _data(seed)
    tracker = metrics.MetricsTracker(6)
    tracker.update(predicted[:7], actual[:7])
    tracker.update(predicted[7:], actual[7:])
    found = tracker.compute(average)
    p, y = jnp.asarray(predicted, jnp.int32), jnp.asarray(actual, jnp.int32)
    for name, kind in (
        ("precision", metrics.Precision),
        ("recall", metrics.Recall),
        ("f1", metrics.F1),
    ):
        np.testing.assert_allclose(
            found[name], kind.empty(6, average).update(p, y).compute(), rtol=1e-6
        )
    assert found["accuracy"] == metrics.compute_accuracy(predicted, actual)
    assert found["f1"] == metrics.compute_f1_score(predicted, actual, average)
    matrix = metrics.compute_confusion_matrix(predicted, actual, 6)
    np.testing.assert_array_equal(matrix, metrics.ConfusionMatrix.empty(6).update(p, y).compute())
    per_class = metrics.compute_per_class_metrics(predicted, actual, 6)
    state = metrics.PerClass.empty(6).update(p, y).compute()
    for name, values in state.items():
        np.testing.assert_allclose([per_class[c][name] for c in range(6)], values, rtol=1e-6)
    tracker.reset()
    with pytest.raises(ValueError, match="nothing was added"):
        tracker.compute()


def test_what_cannot_be_counted_is_refused():
    labels = np.array([0, 3])
    with pytest.raises(ValueError, match="expected 0 to 2"):
        metrics.compute_confusion_matrix(labels, labels, 3)
    with pytest.raises(ValueError, match="expected 0 to 2"):
        metrics.compute_per_class_metrics(labels, labels, 3)
    with pytest.raises(ValueError, match="expected 0 to 2"):
        metrics.MetricsTracker(3).update(labels, labels)
    with pytest.raises(ValueError, match="at least one"):
        metrics.compute_accuracy(labels[:0], labels[:0])
    with pytest.raises(ValueError, match="expected a whole number of 1 or more"):
        metrics.TopKAccuracy.empty(0)
    with pytest.raises(ValueError, match="expected a whole number of 1 or more"):
        metrics.F1.empty(0)
    with pytest.raises(ValueError, match="got k=2, expected k=1"):
        metrics.TopKAccuracy.empty(1).merge(metrics.TopKAccuracy.empty(2))
    with pytest.raises(ValueError, match="got 3 classes, expected 2"):
        metrics.PerClass.empty(2).merge(metrics.PerClass.empty(3))
    with pytest.raises(ValueError, match="expected 'macro'"):
        metrics.F1.empty(2).merge(metrics.F1.empty(2, "micro"))
