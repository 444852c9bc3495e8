"""Metrics of whole arrays on the host, in one call each, by scikit-learn; fractions in 0..1."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Array, Float, Int

from etude.metrics._inputs import Average, check_average, check_positive

Classes: TypeAlias = (
    Int[np.ndarray | Array, "samples"] | Float[np.ndarray | Array, "samples classes"]
)


def _labels(predictions: Classes, targets: Classes) -> tuple[np.ndarray, np.ndarray]:
    predicted, actual = _ids(predictions), _ids(targets)
    if len(predicted) != len(actual) or not len(actual):
        raise ValueError(
            f"got {len(predicted)} predictions and {len(actual)} targets, expected as many of "
            "each and at least one."
        )
    return predicted, actual


def _ids(values: Classes) -> np.ndarray:
    found = np.asarray(values)
    return found.argmax(axis=-1) if found.ndim == 2 else found


def _check_range(owner: str, num_classes: int, *labels: np.ndarray) -> None:
    check_positive(owner, "num_classes", num_classes)
    low, high = min(x.min() for x in labels), max(x.max() for x in labels)
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{owner}: got labels from {low} to {high}, expected 0 to {num_classes - 1}. "
            "Renumber the labels, or raise num_classes."
        )


def compute_accuracy(predictions: Classes, targets: Classes) -> float:
    """The fraction of samples whose class is predicted.

    Here and below predictions and targets are ids `(samples,)`, or scores `(samples, classes)`
    that stand for their largest class. Raises ValueError for different lengths or no samples.

    >>> import numpy as np
    >>> compute_accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    0.75
    """
    predicted, actual = _labels(predictions, targets)
    return float((predicted == actual).mean())


def compute_f1_score(predictions: Classes, targets: Classes, average: Average = "macro") -> float:
    """F1 averaged over the classes that occur; "macro", "micro" or "weighted".

    >>> import numpy as np
    >>> round(compute_f1_score(np.array([0, 0, 1]), np.array([0, 1, 1])), 4)
    0.6667
    """
    from sklearn.metrics import f1_score

    check_average("compute_f1_score", average)
    predicted, actual = _labels(predictions, targets)
    return float(f1_score(actual, predicted, average=average, zero_division=0))  # pyright: ignore


def compute_confusion_matrix(
    predictions: Classes, targets: Classes, num_classes: int | None = None
) -> Int[np.ndarray, "classes classes"]:
    """Counts of (target, prediction): rows are targets, columns predictions.

    `num_classes` is the largest id plus one unless given; ValueError for ids out of range.

    >>> import numpy as np
    >>> compute_confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    from sklearn.metrics import confusion_matrix

    predicted, actual = _labels(predictions, targets)
    if num_classes is None:
        num_classes = int(max(predicted.max(), actual.max())) + 1
    _check_range("compute_confusion_matrix", num_classes, predicted, actual)
    return confusion_matrix(actual, predicted, labels=np.arange(num_classes))


def compute_top_k_accuracy(
    logits: Float[np.ndarray | Array, "samples classes"],
    targets: Int[np.ndarray | Array, "samples"],
    k: int = 5,
) -> float:
    """The fraction of samples whose class is among the k of the highest score; see TopKAccuracy.

    >>> import numpy as np
    >>> compute_top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
    0.5
    """
    check_positive("compute_top_k_accuracy", "k", k)
    _, actual = _labels(logits, targets)
    best = np.argsort(-np.asarray(logits), axis=-1, kind="stable")[:, :k]
    return float((best == actual[:, None]).any(axis=-1).mean())


def compute_per_class_metrics(
    predictions: Classes, targets: Classes, num_classes: int
) -> dict[int, dict[str, float]]:
    """Precision, recall, f1 and support of every class; 0 where undefined.

    Raises ValueError for ids out of range.

    >>> import numpy as np
    >>> found = compute_per_class_metrics(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    >>> found[0]["precision"], found[0]["recall"], found[1]["support"]
    (0.5, 1.0, 2.0)
    """
    from sklearn.metrics import precision_recall_fscore_support

    predicted, actual = _labels(predictions, targets)
    _check_range("compute_per_class_metrics", num_classes, predicted, actual)
    columns = precision_recall_fscore_support(
        actual,
        predicted,
        labels=np.arange(num_classes),
        zero_division=0,  # pyright: ignore
    )
    names = ("precision", "recall", "f1", "support")
    return {
        c: {name: float(np.asarray(column)[c]) for name, column in zip(names, columns, strict=True)}
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
            check_positive("MetricsTracker", "num_classes", num_classes)
        self.num_classes = num_classes
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []

    def update(self, predictions: Classes, targets: Classes) -> None:
        """Add a batch of ids or scores."""
        batch = _labels(predictions, targets)
        if self.num_classes is not None:
            _check_range("MetricsTracker", self.num_classes, *batch)
        self._batches.append(batch)

    def compute(self, average: Average = "macro") -> dict[str, float]:
        """Accuracy, precision, recall and f1 of all batches; ValueError before the first one."""
        from sklearn.metrics import precision_recall_fscore_support

        check_average("MetricsTracker", average)
        if not self._batches:
            raise ValueError("MetricsTracker.compute: nothing was added yet. Call update first.")
        predicted, actual = (np.concatenate(part) for part in zip(*self._batches, strict=True))
        precision, recall, f1, _ = precision_recall_fscore_support(
            actual,
            predicted,
            average=average,
            zero_division=0,  # pyright: ignore
        )
        return {
            "accuracy": float((predicted == actual).mean()),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
