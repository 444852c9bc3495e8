"""Any integer type, any float type, any form of labels: the float64 value, or refused by name.

Every loss, metric and mixture is a `Case`: a function of scores and labels, and the same in NumPy
or scikit-learn in float64. All are fed all forms that labels may have, and all that are refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk

import etude as et
from etude import augment, losses, metrics

BATCH = 5
WIDTHS = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@dataclass(frozen=True)
class Case:
    """`got(scores, labels)` beside `expected(scores in float64, class numbers)`."""

    got: Callable[[Any, Any], Any]
    expected: Callable[[np.ndarray, np.ndarray], Any]


def _cross_entropy(scores, labels):
    return -log_softmax(scores, -1)[np.arange(len(labels)), labels].mean()


def _focal(scores, labels):
    log_p = log_softmax(scores, -1)[np.arange(len(labels)), labels]
    return (-((1 - np.exp(log_p)) ** 2) * log_p).mean()


def _confusion(scores, labels):
    return sk.confusion_matrix(labels, scores.argmax(1), labels=range(scores.shape[1]))


def _f1(scores, labels):
    return sk.f1_score(labels, scores.argmax(1), average="macro", zero_division=0)


def _accuracy(scores, labels):
    return (scores.argmax(1) == labels).mean()


def _top2(scores, labels):
    return (np.argsort(-scores, 1, "stable")[:, :2] == labels[:, None]).any(1).mean()


def _calibration(scores, labels):
    """Of a single bin: the gap between mean confidence and accuracy."""
    return abs(softmax(scores, -1).max(-1).mean() - _accuracy(scores, labels))


def _brier(scores, labels):
    return ((softmax(scores, -1) - np.eye(scores.shape[1])[labels]) ** 2).sum(-1).mean() / 2


def _contrastive(scores, labels):
    z = scores / np.linalg.norm(scores, axis=1, keepdims=True)
    similar = z @ z.T / 0.5
    np.fill_diagonal(similar, -np.inf)
    log_p = log_softmax(similar, -1)
    same = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    values = [-log_p[i, same[i]].mean() for i in range(len(labels)) if same[i].any()]
    return np.mean(values) if values else 0.0


def _mixed(scores, labels):
    inputs = (np.ones((BATCH, 2), np.float32), labels)
    mixed = augment.mixup(inputs, jax.random.key(0), alpha=0.0, num_classes=scores.shape[1])
    return mixed[1]


def _state(metric):
    return lambda scores, labels: metric(scores).update(scores, labels).compute()


def _of_probabilities(metric):
    def got(scores, labels):
        p = jax.nn.softmax(jnp.asarray(scores).astype(jnp.float32))
        return metric.update(p, labels).compute()

    return got


CASES = {
    "cross_entropy": Case(losses.cross_entropy, _cross_entropy),
    "focal": Case(losses.focal_loss, _focal),
    "distillation": Case(lambda s, y: losses.distillation_loss(s, s, y, alpha=0.0), _cross_entropy),
    "supcon": Case(partial(losses.supervised_contrastive, temperature=0.5), _contrastive),
    "accuracy": Case(_state(lambda s: metrics.Accuracy.empty()), _accuracy),
    "top2": Case(_state(lambda s: metrics.TopKAccuracy.empty(2)), _top2),
    "f1": Case(_state(lambda s: metrics.F1.empty(s.shape[1])), _f1),
    "micro": Case(_state(lambda s: metrics.Recall.empty(s.shape[1], "micro")), _accuracy),
    "support": Case(
        lambda s, y: metrics.PerClass.empty(s.shape[1]).update(s, y).compute()["support"],
        lambda s, y: np.bincount(y, minlength=s.shape[1]),
    ),
    "calibration": Case(_of_probabilities(metrics.ExpectedCalibrationError.empty(1)), _calibration),
    "brier": Case(_of_probabilities(metrics.Brier.empty()), _brier),
    "mixup": Case(_mixed, lambda s, y: np.eye(s.shape[1])[y]),
}
#: Those that run on the host, outside jit.
HOST = {
    "confusion": Case(_state(lambda s: metrics.ConfusionMatrix.empty(s.shape[1])), _confusion),
    "compute_accuracy": Case(metrics.compute_accuracy, _accuracy),
    "compute_f1_score": Case(metrics.compute_f1_score, _f1),
    "compute_top_k": Case(partial(metrics.compute_top_k_accuracy, k=2), _top2),
    "compute_confusion": Case(metrics.compute_confusion_matrix, _confusion),
}


def _scores(seed, classes, dtype):
    scores = np.random.default_rng(seed).normal(0, 2, (BATCH, classes)).astype(dtype)
    return scores, scores.astype(np.float64)


def _labels(seed, classes, dtype):
    """Class numbers that the type can hold, the largest and an equal pair among them."""
    last = 1 if dtype == np.bool_ else min(classes - 1, np.iinfo(dtype).max)
    labels = np.random.default_rng(seed).integers(0, last + 1, BATCH)
    labels[0], labels[1] = last, labels[2]
    return labels


FORMS = {
    "numbers": lambda y, classes, dtype: y.astype(dtype),
    "a column": lambda y, classes, dtype: y.astype(dtype)[:, None],
    "one-hot rows": lambda y, classes, dtype: np.eye(classes)[y].astype(dtype),
    "one-hot float rows": lambda y, classes, dtype: np.eye(classes)[y].astype(np.float16),
}


def _same(got, expected):
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*CASES, *HOST])
@settings(max_examples=8)
@given(
    st.integers(0, 10**6),
    st.sampled_from([3, 300]),
    st.sampled_from([*WIDTHS, np.bool_]),
    st.sampled_from(FLOATS),
    st.sampled_from(sorted(FORMS)),
    st.booleans(),
)
def test_the_float64_value_for_every_type_and_form(name, seed, classes, dtype, kind, form, device):
    if dtype == np.bool_:
        classes = 2
    scores, exact = _scores(seed, classes, kind)
    numbers = _labels(seed, classes, dtype)
    labels = FORMS[form](numbers, classes, dtype)
    if device:
        scores, labels = jnp.asarray(scores), jnp.asarray(labels)
        exact = np.asarray(scores).astype(np.float64)
    case = (CASES | HOST)[name]
    _same(case.got(scores, labels), case.expected(exact, numbers))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "classes"), [(np.uint8, 300), (np.int8, 150), (np.bool_, 2)])
def test_the_same_under_jit(name, dtype, classes):
    scores, exact = _scores(3, classes, np.float16)
    numbers = _labels(3, classes, dtype)
    got = jax.jit(CASES[name].got)(scores, numbers.astype(dtype)[:, None])
    _same(got, CASES[name].expected(exact, numbers))


REFUSED = {
    "floats": np.array([0.0, 1.0, 2.0, 1.0, 0.0], np.float32),
    "a column of floats": np.zeros((BATCH, 1), np.float16),
    "too few": np.zeros(BATCH - 1, np.int32),
    "one for all": np.zeros(1, np.int32),
    "a number": np.array(1),
    "other classes": np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0]],
    "three axes": np.zeros((BATCH, 1, 1), np.int32),
    "complex": np.zeros(BATCH, np.complex64),
    "booleans of three classes": np.zeros(BATCH, bool),
}
WRONG = {
    "negative": np.array([0, 1, -1, 0, 0], np.int8),
    "beyond the classes": np.array([0, 1, 3, 0, 0], np.uint8),
    "beyond int32": np.array([0, 2**32 + 1, 0, 0, 0]),
    "rows of another sum": np.ones((BATCH, 3), np.float32),
    "rows that are negative": np.array([[2.0, -1.0, 0.0]] * BATCH, np.float32),
}


def _anything_goes(name, form):
    """Contrastive labels are of any number of classes; mixup blends whatever rows it is given."""
    if name == "supcon":
        return form in ("other classes", "booleans of three classes", "beyond the classes")
    return name == "mixup" and form.startswith("rows")


@pytest.mark.parametrize("name", [*CASES, *HOST])
@pytest.mark.parametrize("form", [*REFUSED, *WRONG])
def test_everything_else_is_refused_by_name(name, form):
    if _anything_goes(name, form):
        return
    scores, _ = _scores(0, 3, np.float32)
    with pytest.raises((et.DataError, ValueError), match=r"got|have 4 classes") as refused:
        (CASES | HOST)[name].got(scores, (REFUSED | WRONG)[form])
    assert "expected" in str(refused.value) or name == "mixup"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", REFUSED)
def test_shapes_and_dtypes_are_refused_under_jit_too(name, form):
    if _anything_goes(name, form):
        return
    scores, _ = _scores(0, 3, np.float32)
    with pytest.raises(ValueError, match=r"got|have 4 classes"):
        jax.eval_shape(CASES[name].got, scores, REFUSED[form])


@pytest.mark.parametrize("name", sorted(set(CASES) - {"support"}))
@pytest.mark.parametrize("form", [form for form in WRONG if form != "beyond int32"])
def test_values_that_are_refused_are_nan_under_jit(name, form):
    if _anything_goes(name, form):
        return
    scores, _ = _scores(0, 3, np.float32)
    assert np.isnan(jax.jit(CASES[name].got)(scores, WRONG[form])).any()


@pytest.mark.parametrize("name", sorted({*CASES, *HOST} - {"support", "mixup"}))
@pytest.mark.parametrize("compiled", [False, True])
def test_nan_in_is_nan_out(name, compiled):
    if compiled and name in HOST:
        return
    scores, _ = _scores(0, 3, np.float32)
    scores[1, 2] = np.nan
    got = (CASES | HOST)[name].got
    assert np.isnan((jax.jit(got) if compiled else got)(scores, np.zeros(BATCH, np.int32))).all()


@pytest.mark.parametrize("metric", [metrics.ROCAUC, metrics.PRAUC, metrics.AveragePrecision])
@pytest.mark.parametrize("dtype", [*WIDTHS, np.bool_])
def test_areas_take_all_integers_and_columns(metric, dtype):
    labels, scores = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.3, 0.8], np.float16)
    plain = metric.empty().update(scores, labels).compute()
    assert plain == metric.empty().update(scores[:, None], labels.astype(dtype)[:, None]).compute()
    for form in ("floats", "a column of floats", "too few", "one for all", "complex"):
        with pytest.raises(et.DataError, match=r"got.*expected"):
            metric.empty().update(scores, REFUSED[form])


def test_areas_of_float64_are_not_cut_to_float32():
    scores, labels = 1 + np.array([0, 1, 2, 3]) * 1e-9, np.array([0, 1, 0, 1])
    assert metrics.ROCAUC.empty().update(scores, labels).compute() == 0.75


@pytest.mark.parametrize("kind", FLOATS)
def test_binary_probabilities(kind):
    p, labels = np.array([0.25, 0.75, 0.5, 1.0], kind), np.array([0, 0, 1, 1])
    exact = p.astype(np.float64)
    for form in (p, p[:, None], jnp.asarray(p)):
        got = metrics.Brier.empty().update(form, labels).compute()
        np.testing.assert_allclose(got, sk.brier_score_loss(labels, exact), rtol=1e-6)
        ece = metrics.ExpectedCalibrationError.empty(1).update(form, labels).compute()
        np.testing.assert_allclose(ece, abs(exact.mean() + 0.125 - 0.5), rtol=1e-6)
        # A threshold is the user's to choose: .5 for probabilities, 0 for logits.
        with pytest.raises(et.DataError, match="compare them with a threshold"):
            metrics.Accuracy.empty().update(form, labels)
        assert metrics.Accuracy.empty().update(form > 0.5, labels).compute() == 0.5


def test_masked_samples_may_hold_anything():
    scores = np.array([[1.0, 0.0], [np.nan, 0.0], [0.0, 1.0]], np.float32)
    labels, mask = np.array([0, -1, 0]), np.array([[1], [0], [1]], np.uint8)
    for name in ("accuracy", "f1", "micro"):
        metric = {
            "accuracy": metrics.Accuracy.empty(),
            "f1": metrics.F1.empty(2),
            "micro": metrics.Recall.empty(2, "micro"),
        }[name]
        got = metric.update(scores, labels, mask).compute()
        assert got == pytest.approx(CASES[name].expected(scores[[0, 2]], labels[[0, 2]]))
    for bad in (np.ones(2), np.ones((3, 2)), np.ones(3, np.complex64)):
        with pytest.raises(et.DataError, match="mask"):
            metrics.Accuracy.empty().update(scores, labels, bad)
    unsure = metrics.Accuracy.empty().update(labels + 1, labels + 1, np.array([1, np.nan, 1]))
    assert np.isnan(unsure.compute())


def test_evaluate_gives_nan_or_refuses_as_the_metrics_do():
    data = et.ArrayData((np.eye(3, dtype=np.float32), np.array([[0], [1], [2]], np.uint8)), 2)

    def measure(model, batch, context):
        return {"accuracy": metrics.Accuracy.empty().update(batch[0] * model, batch[1])}

    assert et.evaluate(jnp.array(1.0), data, measure) == {"accuracy": 1.0}
    assert np.isnan(et.evaluate(jnp.array(jnp.nan), data, measure)["accuracy"])
    floats = et.ArrayData((np.eye(3, dtype=np.float32), np.zeros(3, np.float32)), 2)
    with pytest.raises(et.DataError, match="Accuracy: got targets of float32 and shape"):
        et.evaluate(jnp.array(1.0), floats, measure)
