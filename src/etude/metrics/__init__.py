"""Metrics: pytrees with `empty`, `update`, `merge` and `compute`, exact over uneven batches."""

from etude.metrics._counts import ConfusionMatrix as ConfusionMatrix
