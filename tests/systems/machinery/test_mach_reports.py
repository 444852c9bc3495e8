"""What is said of a classifier, against scikit-learn, by hand, and what is refused."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

import etude as et
from etude.systems import machinery


def drawn(seed=0, records=40, windows=5, classes=4, factor=1.0):
    """Scores whose softmax at temperature `factor` is what the labels were drawn from."""
    rng = np.random.default_rng(seed)
    record = np.repeat(np.arange(records) * 3 + 5, windows)
    labels = np.repeat(rng.integers(classes, size=records), windows)
    scores = rng.normal(size=(len(labels), classes)) + 2 * np.eye(classes)[labels]
    order = rng.permutation(len(labels))
    return (factor * scores)[order], labels[order], record[order]


def test_the_ranking_is_that_of_scikit_learn():
    scores, labels, record = drawn()
    found = machinery.report(scores, labels, record, 2.0)
    wanted = roc_auc_score(labels, softmax(scores / 2, axis=1), multi_class="ovr")
    assert found["auroc"] == pytest.approx(wanted)


def test_classes_that_do_not_occur_are_no_part_of_the_ranking():
    scores, labels, record = drawn()
    more = np.concatenate([scores, np.full((len(scores), 1), -3.0)], axis=1)
    three = machinery.report(more, labels, record, 1.0)
    assert 0.9 < three["auroc"] < 1


def test_a_record_is_what_the_mean_of_its_windows_says():
    """Two windows that are a little wrong, and one that is right beyond doubt."""
    scores = np.log(np.array([[0.4, 0.6], [0.4, 0.6], [0.99, 0.01]]))
    labels, record = np.zeros(3, int), np.full(3, 9)
    found = machinery.report(scores, labels, record, 1.0)
    assert found["window_accuracy"] == pytest.approx(1 / 3)
    assert found["record_accuracy"] == 1
    assert found["false_alarms"] == 0
    assert machinery.report(scores, labels, record, 40.0)["record_accuracy"] == 1
    assert machinery.report(scores, labels, record, 40.0)["record_product"] == 1
    # Sharp probabilities make it a count of heads.
    sharp = machinery.report(scores, labels, record, 0.05)
    assert sharp["record_accuracy"] == 0
    assert sharp["false_alarms"] == 1
    # Of independent windows, one at 99 : 1 outweighs two at 4 : 6.
    assert sharp["record_product"] == 1


def test_false_alarms_are_of_healthy_records_alone():
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    labels, record = np.array([0, 0, 1, 1]), np.arange(4)
    assert machinery.report(scores, labels, record, 1.0)["false_alarms"] == 0.5
    assert machinery.report(scores, labels, record, 1.0, healthy=1)["false_alarms"] == 0.5
    assert np.isnan(machinery.report(scores[2:], labels[2:], record[2:], 1.0)["false_alarms"])


@pytest.mark.parametrize("factor", [0.25, 1.0, 6.0])
def test_the_temperature_undoes_a_factor_of_the_scores(factor):
    rng = np.random.default_rng(1)
    true = 2 * rng.normal(size=(20000, 5))
    chances = softmax(true, axis=1).cumsum(1)
    labels = (rng.uniform(size=(len(true), 1)) > chances).sum(1)
    found = machinery.temperature_of(factor * true, labels)
    assert found == pytest.approx(factor, rel=0.03)
    record = np.arange(len(true))
    calibrated = machinery.report(factor * true, np.minimum(labels, 4), record, found)
    assert calibrated["ece_scaled"] < 0.012
    if factor != 1:
        assert calibrated["ece"] > 5 * calibrated["ece_scaled"]


def test_scores_without_a_mistake_stay_as_they_are():
    assert machinery.temperature_of(np.eye(3), np.arange(3)) == 1


def test_the_calibration_error_by_hand():
    """Four windows in two bins: |.9 - 1/2| and |.6 - 1|, half of the windows in each."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    found = machinery.report(np.log(p), np.array([0, 1, 0, 0]), np.arange(4), 1.0)
    assert found["ece"] == pytest.approx(0.4, abs=1e-6)


def test_what_cannot_be_reported_is_refused():
    scores, labels, record = drawn()
    with pytest.raises(et.DataError, match="temperature=0"):
        machinery.report(scores, labels, record, 0.0)
    with pytest.raises(et.DataError, match="several labels"):
        machinery.report(scores, labels, np.full_like(record, 3), 1.0)
    with pytest.raises(et.DataError, match="labels from 0 to 4 for 4 classes"):
        machinery.report(scores, np.where(labels == 3, 4, labels), record, 1.0)
    broken = np.where(np.arange(len(scores))[:, None] == 7, np.nan, scores)
    with pytest.raises(et.DataError, match="1 of 200 windows are not finite"):
        machinery.temperature_of(broken, labels)
    with pytest.raises(et.DataError, match="no windows"):
        machinery.temperature_of(scores[:0], labels[:0])


def test_labels_and_records_are_one_integer_for_each_window():
    scores, labels, record = drawn()
    for wrong in (labels.astype(float), labels[:, None], labels[:-1]):
        with pytest.raises(et.DataError, match=r"temperature_of: got labels of .*\(200,\)"):
            machinery.temperature_of(scores, wrong)
        with pytest.raises(et.DataError, match="report: got labels of"):
            machinery.report(scores, wrong, record, 1.0)
    for wrong in (record.astype(float), record[:-1]):
        with pytest.raises(et.DataError, match="report: got record of"):
            machinery.report(scores, labels, wrong, 1.0)
        with pytest.raises(et.DataError, match="soft_vote: got record of"):
            machinery.soft_vote(softmax(scores, axis=1), wrong)
    with pytest.raises(et.DataError, match="healthy=4 for 4 classes"):
        machinery.report(scores, labels, record, 1.0, healthy=4)
