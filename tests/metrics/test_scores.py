"""Areas, calibration and Brier against scikit-learn and NumPy; all through the evaluator too."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn import metrics as sk

import etude as et
from etude import metrics

AREAS = {
    metrics.ROCAUC: sk.roc_auc_score,
    metrics.AveragePrecision: sk.average_precision_score,
    metrics.PRAUC: lambda y, s: sk.auc(*sk.precision_recall_curve(y, s)[1::-1]),
}


def _parts(state, cut, *arrays):
    first, second = ([jnp.asarray(a[s]) for a in arrays] for s in (slice(cut), slice(cut, None)))
    return state.update(*first).merge(state.update(*second))


@given(st.integers(0, 10**6), st.sampled_from([0, 7, 30]), st.booleans())
def test_binary_areas_with_ties_and_one_class_parts(seed, cut, infinite):
    rng = np.random.default_rng(seed)
    y = np.sort(rng.integers(0, 2, 30)).astype(np.int32)  # sorted: parts of one class
    y[0], y[-1] = 0, 1
    scores = rng.integers(0, 6, 30).astype(np.float32)
    keep = rng.random(30) < 0.8
    keep[[0, -1]] = True
    given_scores = np.where(scores == 0, -np.inf, scores).astype(np.float32) if infinite else scores
    for kind, reference in AREAS.items():
        got = _parts(kind.empty(), cut, given_scores, y, keep).compute()
        assert got == pytest.approx(reference(y[keep], scores[keep]), abs=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([0, 7, 30]))
def test_many_classes_are_the_mean_over_those_that_are_defined(seed, cut):
    rng = np.random.default_rng(seed)
    y = rng.choice([0, 1, 3], 30).astype(np.int32)  # class 2 is absent
    y[:3] = 0, 1, 3
    p = rng.dirichlet(np.ones(4), 30).astype(np.float32)
    for kind, reference in AREAS.items():
        expected = np.mean([reference(y == c, p[:, c]) for c in (0, 1, 3)])
        assert _parts(kind.empty(), cut, p, y).compute() == pytest.approx(expected, abs=1e-9)
    present = p[:, [0, 1, 3]] / p[:, [0, 1, 3]].sum(1, keepdims=True)
    dense = np.searchsorted([0, 1, 3], y).astype(np.int32)
    state = metrics.ROCAUC.empty().update(jnp.asarray(present), jnp.asarray(dense))
    expected = sk.roc_auc_score(dense, present, multi_class="ovr")
    assert state.compute() == pytest.approx(expected, abs=1e-9)


def test_undefined_areas_are_nan_and_impossible_labels_are_refused():
    scores = jnp.array([0.1, 0.7])
    assert np.isnan(metrics.ROCAUC.empty().compute())
    assert np.isnan(metrics.ROCAUC.empty().update(scores, jnp.array([1, 1])).compute())
    for kind in (metrics.PRAUC, metrics.AveragePrecision):
        assert np.isnan(kind.empty().update(scores, jnp.array([0, 0])).compute())
    bad = jnp.array([0.1, jnp.nan])
    assert np.isnan(metrics.ROCAUC.empty().update(bad, jnp.array([0, 1])).compute())
    with pytest.raises(ValueError, match="expected 0 to 1"):
        metrics.ROCAUC.empty().update(scores, jnp.array([0, 2])).compute()


@given(st.integers(0, 10**6), st.sampled_from([0, 7, 40]), st.sampled_from([1, 10, 15]))
def test_calibration_error_is_its_definition(seed, cut, bins):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(3, 0.5), 40).astype(np.float32)
    y, mask = rng.integers(0, 3, 40).astype(np.int32), rng.random(40) < 0.9
    confidence, hit = p[mask].max(1), p[mask].argmax(1) == y[mask]
    edges = np.ceil(confidence * np.float32(bins))
    expected = sum(
        abs(hit[edges == b].sum() - confidence[edges == b].astype(np.float64).sum())
        for b in range(1, bins + 1)
    ) / len(hit)
    state = _parts(metrics.ExpectedCalibrationError.empty(bins), cut, p, y, mask)
    np.testing.assert_allclose(state.compute(), expected, atol=2e-6)


def test_calibration_of_extremes():
    state = metrics.ExpectedCalibrationError.empty()
    sure = jnp.array([1.0, 0.0, 1.0])
    assert state.update(sure, jnp.array([1, 0, 1])).compute() == 0
    assert state.update(sure, jnp.array([0, 1, 0])).compute() == 1
    assert jnp.isnan(state.compute())


@given(st.integers(0, 10**6), st.sampled_from([0, 7, 30]))
def test_brier_is_that_of_scikit_learn(seed, cut):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), 30).astype(np.float32)
    y = rng.integers(0, 3, 30).astype(np.int32)
    p64 = p.astype(np.float64) / p.astype(np.float64).sum(1, keepdims=True)
    expected = sk.brier_score_loss(y, p64, labels=[0, 1, 2], scale_by_half=True)
    soft = np.eye(3, dtype=np.float32)[y]
    for targets in (y, soft):
        got = _parts(metrics.Brier.empty(), cut, p, targets).compute()
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    binary = (y == 1).astype(np.int32)
    got = _parts(metrics.Brier.empty(), cut, p[:, 1], binary).compute()
    expected = sk.brier_score_loss(binary, p64[:, 1], labels=[0, 1])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [metrics.Brier, metrics.ExpectedCalibrationError])
def test_logits_are_refused_and_become_nan_under_jit(kind):
    logits, y = jnp.array([[2.0, -1.0], [0.5, 0.4]]), jnp.array([0, 1])
    with pytest.raises(ValueError, match=r"jax\.nn\.softmax"):
        kind.empty().update(logits, y)
    assert jnp.isnan(eqx.filter_jit(lambda x: kind.empty().update(x, y).compute())(logits))


def test_all_metrics_through_the_evaluator_with_a_ragged_last_batch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(23, 4)).astype(np.float32), rng.integers(0, 4, 23).astype(np.int32)
    data = et.ArrayData((jnp.asarray(x), jnp.asarray(y)), batch_size=5)

    def measure(model, batch, context):
        logits, labels = batch[0] @ model, batch[1]
        p = jax.nn.softmax(logits)
        positive, label = p[:, 1], (labels == 1).astype(jnp.int32)
        return {
            "accuracy": metrics.Accuracy.empty().update(logits, labels),
            "top2": metrics.TopKAccuracy.empty(2).update(logits, labels),
            "f1": metrics.F1.empty(4).update(logits, labels),
            "class": metrics.PerClass.empty(4).update(logits, labels),
            "confusion": metrics.ConfusionMatrix.empty(4).update(logits, labels),
            "roc": metrics.ROCAUC.empty().update(p, labels),
            "binary": metrics.AveragePrecision.empty().update(positive, label),
            "ece": metrics.ExpectedCalibrationError.empty(10).update(p, labels),
            "brier": metrics.Brier.empty().update(p, labels),
            "mean": metrics.Mean.of(logits),
            "variance": metrics.Variance.empty().update(logits),
        }

    weight = jnp.asarray(rng.normal(size=(4, 4)), jnp.float32)
    found = et.evaluate(weight, data, measure)
    whole = et.evaluate(weight, et.ArrayData(data.arrays, batch_size=23), measure)
    logits = x @ np.asarray(weight)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, logits.argmax(1)))
    assert found["f1"] == pytest.approx(sk.f1_score(y, logits.argmax(1), average="macro"))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found["roc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert found["variance"] == pytest.approx(logits.var(), rel=1e-4)
    assert found["class/support"] == np.bincount(y, minlength=4).tolist()
    assert np.sum(found["confusion"]) == 23
    for name, value in whole.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6)


def test_a_growing_metric_is_not_compiled_again_for_every_batch():
    traced = []

    class Watched(metrics.ROCAUC):
        def merge(self, other):
            if self.scores:
                traced.append(isinstance(self.scores[0], jax.core.Tracer))
            return super().merge(other)

    def measure(model, batch, context):
        return {"auc": Watched.empty().update(*batch)}

    scores = jnp.linspace(0, 1, 41)
    data = et.ArrayData((scores, (scores > 0.5).astype(jnp.int32)), batch_size=2)
    assert et.evaluate(jnp.array(1.0), data, measure) == {"auc": 1.0}
    assert traced == [True] + [False] * 20  # once to see that it grows
