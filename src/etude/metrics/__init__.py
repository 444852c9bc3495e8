"""Metrics: pytrees with `empty`, `update`, `merge` and `compute`, exact over uneven batches.

A measure returns them updated with its batch, and `evaluate` merges and computes. All fractions
are in 0..1. The `compute_*` functions and `MetricsTracker` work on whole arrays on the host.

Targets are class numbers `(batch,)` of any integer type, booleans for two classes, or class
probabilities `(batch, classes)`, of which the largest is the class. Predictions are class numbers
or scores `(batch, classes)`. A mask `(batch,)` says which samples count: true, or any weight but
zero. `(batch, 1)` is read as `(batch,)`. Everything else is refused with a `DataError`: other
shapes and dtypes, different lengths, and a class out of range where it counts. A NaN that counts
makes the result NaN, and so does, under `jit`, a value that would have been refused.

>>> import jax.numpy as jnp
>>> import etude as et
>>> data = et.ArrayData((jnp.eye(5), jnp.array([0, 1, 2, 3, 0])), batch_size=2)
>>> def measure(model, batch, context):
...     scores, labels = batch
...     return {"accuracy": Accuracy.empty().update(scores * model, labels)}
>>> round(et.evaluate(jnp.array(1.0), data, measure)["accuracy"], 4)
0.8
"""

from etude.metrics._accuracy import Accuracy as Accuracy, TopKAccuracy as TopKAccuracy
from etude.metrics._averages import Mean as Mean, Variance as Variance
from etude.metrics._calibration import (
    Brier as Brier,
    ExpectedCalibrationError as ExpectedCalibrationError,
)
from etude.metrics._classes import (
    F1 as F1,
    PerClass as PerClass,
    Precision as Precision,
    Recall as Recall,
)
from etude.metrics._counts import ConfusionMatrix as ConfusionMatrix
from etude.metrics._functions import (
    MetricsTracker as MetricsTracker,
    compute_accuracy as compute_accuracy,
    compute_confusion_matrix as compute_confusion_matrix,
    compute_f1_score as compute_f1_score,
    compute_per_class_metrics as compute_per_class_metrics,
    compute_top_k_accuracy as compute_top_k_accuracy,
)
from etude.metrics._ranking import (
    PRAUC as PRAUC,
    ROCAUC as ROCAUC,
    AveragePrecision as AveragePrecision,
)
from etude.metrics._sums import Sum as Sum
