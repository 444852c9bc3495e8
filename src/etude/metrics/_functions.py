"""Metrics of whole arrays on the host, in one call each, by scikit-learn; fractions in 0..1.

Predictions and targets are as `etude.metrics` says, with at least one sample, and `DataError`
for others. A score of NaN makes all results NaN.
"""

import numpy as np
from jaxtyping import Float, Int

from etude.errors import DataError
from etude.inputs import Values, check_count, class_pairs, one_of
from etude.metrics._accuracy import top_k_hits
from etude.metrics._classes import Average

Labels = Int[np.ndarray, "samples"]

_COLUMNS = ("precision", "recall", "f1", "support")


def _labels(
    owner: str, predictions: Values, targets: Values, num_classes: int | None = None
) -> tuple[Labels, Labels, bool]:
    """Predicted and true classes, and whether all are known."""
    pairs = class_pairs(owner, predictions, targets, None, num_classes)
    if not len(pairs.actual):
        raise DataError(f"{owner}: got no samples, expected at least one.")
    predicted, actual, known = (np.asarray(pairs[i]) for i in (0, 1, 3))
    return predicted, actual, bool(known.all())


def compute_accuracy(predictions: Values, targets: Values) -> float:
    """The fraction of samples whose class is predicted.

    Here and below predictions are class numbers `(samples,)`, or scores `(samples, classes)` that
    stand for their largest class. Raises `DataError` for different lengths or no samples.

    >>> import numpy as np
    >>> compute_accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    0.75
    """
    predicted, actual, known = _labels("compute_accuracy", predictions, targets)
    return float((predicted == actual).mean()) if known else float("nan")


def compute_f1_score(predictions: Values, targets: Values, average: Average = "macro") -> float:
    """F1 averaged over the classes that occur; "macro", "micro" or "weighted".

    >>> import numpy as np
    >>> round(compute_f1_score(np.array([0, 0, 1]), np.array([0, 1, 1])), 4)
    0.6667
    """
    from sklearn.metrics import f1_score

    one_of("compute_f1_score", "average", average, Average)
    predicted, actual, known = _labels("compute_f1_score", predictions, targets)
    if not known:
        return float("nan")
    return float(f1_score(actual, predicted, average=average, zero_division=0))


def compute_confusion_matrix(
    predictions: Values, targets: Values, num_classes: int | None = None
) -> Int[np.ndarray, "classes classes"] | Float[np.ndarray, "classes classes"]:
    """Counts of (target, prediction): rows are targets, columns predictions.

    `num_classes` is that of the scores, or the largest class plus one, unless given; `DataError`
    for classes out of range.

    >>> import numpy as np
    >>> compute_confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    from sklearn.metrics import confusion_matrix

    owner = "compute_confusion_matrix"
    if num_classes is not None:
        check_count(owner, "num_classes", num_classes)
    predicted, actual, known = _labels(owner, predictions, targets, num_classes)
    widths = [np.shape(x)[1] for x in (predictions, targets) if np.ndim(x) == 2]
    classes = num_classes or max(*widths, int(predicted.max()) + 1, int(actual.max()) + 1)
    if not known:
        return np.full((classes, classes), np.nan)
    return confusion_matrix(actual, predicted, labels=np.arange(classes))


def compute_top_k_accuracy(logits: Values, targets: Values, k: int = 5) -> float:
    """The fraction of samples whose class is among the k of the highest score; see TopKAccuracy.

    >>> import numpy as np
    >>> compute_top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
    0.5
    """
    check_count("compute_top_k_accuracy", "k", k)
    hit, _, known = top_k_hits("compute_top_k_accuracy", logits, targets, None, k)
    if not len(hit):
        raise DataError("compute_top_k_accuracy: got no samples, expected at least one.")
    return float(np.asarray(hit).mean()) if known.all() else float("nan")


def compute_per_class_metrics(
    predictions: Values, targets: Values, num_classes: int
) -> dict[int, dict[str, float]]:
    """Precision, recall, f1 and support of every class; 0 where undefined.

    Raises `DataError` for classes out of range.

    >>> import numpy as np
    >>> found = compute_per_class_metrics(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    >>> found[0]["precision"], found[0]["recall"], found[1]["support"]
    (0.5, 1.0, 2.0)
    """
    from sklearn.metrics import precision_recall_fscore_support

    check_count("compute_per_class_metrics", "num_classes", num_classes)
    predicted, actual, known = _labels(
        "compute_per_class_metrics", predictions, targets, num_classes
    )
    if not known:
        return {c: dict.fromkeys(_COLUMNS, float("nan")) for c in range(num_classes)}
    columns = precision_recall_fscore_support(
        actual,
        predicted,
        labels=np.arange(num_classes),
        zero_division=0,
    )
    return {
        c: {
            name: float(np.asarray(column)[c])
            for name, column in zip(_COLUMNS, columns, strict=True)
        }
        for c in range(num_classes)
    }


class MetricsTracker:
    """Collects labels batch by batch on the host, for loops of one's own.

    >>> import numpy as np
    >>> tracker = MetricsTracker()
    >>> tracker.update(np.array([0, 0]), np.array([0, 1]))
    >>> tracker.update(np.array([1]), np.array([1]))
    >>> {name: round(value, 3) for name, value in tracker.compute().items()}
    {'accuracy': 0.667, 'precision': 0.75, 'recall': 0.75, 'f1': 0.667}
    """

    def __init__(self, num_classes: int | None = None):
        """With `num_classes`, labels outside 0..num_classes - 1 are refused."""
        if num_classes is not None:
            check_count("MetricsTracker", "num_classes", num_classes)
        self.num_classes = num_classes
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._batches: list[tuple[np.ndarray, np.ndarray, bool]] = []

    def update(self, predictions: Values, targets: Values) -> None:
        """Add a batch of class numbers or scores."""
        self._batches.append(_labels("MetricsTracker", predictions, targets, self.num_classes))

    def compute(self, average: Average = "macro") -> dict[str, float]:
        """Accuracy, precision, recall and f1 of all batches; ValueError before the first one."""
        from sklearn.metrics import precision_recall_fscore_support

        one_of("MetricsTracker", "average", average, Average)
        if not self._batches:
            raise ValueError("MetricsTracker.compute: nothing was added yet. Call update first.")
        if not all(known for *_, known in self._batches):
            return dict.fromkeys(("accuracy", "precision", "recall", "f1"), float("nan"))
        predicted, actual = (np.concatenate([b[i] for b in self._batches]) for i in (0, 1))
        precision, recall, f1, _ = precision_recall_fscore_support(
            actual,
            predicted,
            average=average,
            zero_division=0,
        )
        return {
            "accuracy": float((predicted == actual).mean()),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
