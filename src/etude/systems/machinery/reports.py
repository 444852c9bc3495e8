"""What is said of a classifier of windows: windows, records, ranking, calibration, false alarms.

>>> scores = np.log(np.array([[0.8, 0.2], [0.4, 0.6], [0.1, 0.9], [0.3, 0.7]]))
>>> found = report(scores, np.array([0, 0, 1, 1]), np.array([7, 7, 8, 8]), temperature=1.0)
>>> {name: round(value, 3) for name, value in found.items()}
{'window_accuracy': 0.75, 'record_accuracy': 1.0, 'record_product': 1.0, 'auroc': 1.0, 'ece': 0.3,
 'ece_scaled': 0.3, 'false_alarms': 0.0}
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

import etude as et
from etude.inputs import Values
from etude.metrics import ExpectedCalibrationError
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.splits import Level

_BINS = 15  # of the calibration error, as in Guo et al.
_WIDEST = 50.0  # largest temperature that is looked at, and the inverse of the smallest


class Vote(NamedTuple):
    """What the windows of each record say together.

    Attributes:
        record: numbers of the records, sorted.
        probabilities: the mean over the windows of each.
    """

    record: Int[np.ndarray, " records"]
    probabilities: Float[np.ndarray, "records classes"]


def columns(level: Level) -> dict[str, str]:
    """Columns of a recipe's table, title -> name in a `report`: the first says the split's level.

    >>> list(columns("recording"))[:2]
    ['test windows, recording-wise', 'records']
    """
    return {
        f"test windows, {level}-wise": "window_accuracy",
        "records": "record_accuracy",
        "records, product": "record_product",
        "AUROC": "auroc",
        "ECE": "ece",
        "ECE, scaled": "ece_scaled",
        "false alarms": "false_alarms",
    }


def report(
    scores: Float[np.ndarray, "n classes"] | Float[Array, "n classes"],
    labels: Values,
    record: Values,
    temperature: float,
    *,
    healthy: int = 0,
) -> dict[str, float]:
    """Measures of a classifier, by name; all are shares, 0 to 1.

    `window_accuracy`: windows that are right. `record_accuracy`: records whose soft vote is right,
    see `soft_vote`. `record_product`: the same where the probabilities of the windows are
    multiplied, as independent evidence, so that one window with a rare event outweighs many
    without. `auroc`: area under the receiver operating characteristic over windows, each class
    against the rest, mean over the classes that occur. `ece` and `ece_scaled`: expected calibration
    error over windows in 15 bins, before and after the scores are divided by the temperature.
    `false_alarms`: healthy records whose soft vote is for a fault; NaN without any.

    They are as good as the split they are measured on, whose level belongs beside them: `columns`.

    Args:
        scores: logits of the classes.
        labels: class numbers `(n,)`.
        record: number of the record of each window, `(n,)`.
        temperature: as `temperature_of` fits it to the windows of the validation.
        healthy: number of the class without a fault.

    Raises:
        DataError: no windows, scores that are not finite, labels or records that are not one
            integer for each window, a label or `healthy` without a class, a record with two labels,
            or a temperature that is not above 0.
    """
    check_positive("report", temperature=temperature)
    logits, labels = _checked("report", scores, labels)
    record = _numbers("report", "record", record, len(logits))
    if not 0 <= healthy < logits.shape[1]:
        raise et.DataError(
            f"report: got healthy={healthy} for {logits.shape[1]} classes, expected 0 to "
            f"{logits.shape[1] - 1}."
        )
    probabilities = softmax(logits / temperature, axis=1)
    vote = soft_vote(probabilities, record)
    first = np.searchsorted(vote.record, record)
    truth = np.zeros(len(vote.record), int)
    truth[first] = labels
    if np.any(truth[first] != labels):
        number = record[np.argmax(truth[first] != labels)]
        raise et.DataError(
            f"report: the windows of record {number} have several labels; expected one."
        )
    evidence = np.zeros_like(vote.probabilities)
    np.add.at(evidence, first, log_softmax(logits / temperature, axis=1))
    said, quiet = vote.probabilities.argmax(1), truth == healthy
    return {
        "window_accuracy": float(np.mean(logits.argmax(1) == labels)),
        "record_accuracy": float(np.mean(said == truth)),
        "record_product": float(np.mean(evidence.argmax(1) == truth)),
        "auroc": _auroc(probabilities, labels),
        "ece": _ece(softmax(logits, axis=1), labels),
        "ece_scaled": _ece(probabilities, labels),
        "false_alarms": float(np.mean(said[quiet] != healthy)) if quiet.any() else float("nan"),
    }


def temperature_of(
    scores: Float[np.ndarray, "n classes"] | Float[Array, "n classes"],
    labels: Values,
) -> float:
    """The number by which scores are to be divided, so that their softmax can be believed.

    That of the largest likelihood, a convex problem in its inverse (Guo, Pleiss, Sun and
    Weinberger, On Calibration of Modern Neural Networks, ICML 2017), between 1/50 and 50. Fit it to
    windows that the network has not learnt from, and that no result is measured on. Where every
    label is right the likelihood has no largest value, and the scores stay as they are: 1.

    Raises:
        DataError: no windows, scores that are not finite, labels that are not one integer for each
            window, or a label without a class.

    >>> overconfident = np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    >>> round(temperature_of(overconfident, np.array([0, 0, 0, 1])), 2)  # right 3 times of 4
    3.64
    """
    logits, labels = _checked("temperature_of", scores, labels)
    if np.all(logits.argmax(1) == labels):
        return 1.0

    def nats(log_inverse: float) -> float:
        scaled = log_softmax(logits * np.exp(log_inverse), axis=1)
        return -float(np.mean(scaled[np.arange(len(labels)), labels]))

    # The logarithm keeps the one minimum, and treats sharper and flatter alike.
    limits = (-np.log(_WIDEST), np.log(_WIDEST))
    found = minimize_scalar(nats, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(-found.x))


def soft_vote(probabilities: Float[np.ndarray, "n classes"], record: Values) -> Vote:
    """The mean probabilities of the windows of each record.

    Raises DataError for records that are not one integer for each window.

    >>> soft_vote(np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]), np.array([4, 4, 2]))
    Vote(record=array([2, 4]), probabilities=array([[0.2, 0.8], [0.7, 0.3]]))
    """
    record = _numbers("soft_vote", "record", record, len(probabilities))
    numbers, of, count = np.unique(record, return_inverse=True, return_counts=True)
    totals = np.zeros((len(numbers), probabilities.shape[1]))
    np.add.at(totals, of, probabilities)
    return Vote(numbers, totals / count[:, None])


def _auroc(probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> float:
    """NaN where only one class occurs."""
    from sklearn.metrics import roc_auc_score

    present = np.unique(labels)
    if len(present) < 2:
        return float("nan")
    return float(np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in present]))


def _ece(probabilities: Float[np.ndarray, "n classes"], labels: Int[np.ndarray, " n"]) -> float:
    counted = ExpectedCalibrationError.empty(_BINS).update(probabilities.astype(np.float32), labels)
    return float(counted.compute())


def _checked(
    owner: str, scores: object, labels: Values
) -> tuple[Float[np.ndarray, "n classes"], Int[np.ndarray, " n"]]:
    """The scores in double precision, and the labels. Raises DataError as those who ask say."""
    logits = np.asarray(scores, np.float64)
    classes = logits.shape[1]
    if len(logits) == 0:
        raise et.DataError(f"{owner}: got no windows, expected one or more.")
    found = _numbers(owner, "labels", labels, len(logits))
    if not np.isfinite(logits).all():
        raise et.DataError(
            f"{owner}: the scores of {np.count_nonzero(~np.isfinite(logits).all(1))} of "
            f"{len(logits)} windows are not finite. Has the training diverged?"
        )
    if not 0 <= found.min() <= found.max() < classes:
        raise et.DataError(
            f"{owner}: labels from {found.min()} to {found.max()} for {classes} classes; "
            f"expected 0 to {classes - 1}."
        )
    return logits, found


def _numbers(owner: str, name: str, values: Values, count: int) -> Int[np.ndarray, " n"]:
    """One integer for each of `count` windows."""
    found = np.asarray(values)
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise et.DataError(
            f"{owner}: got {name} of {found.dtype} and shape {found.shape}, expected an integer "
            f"for each of {count} windows, ({count},)."
        )
    return found
