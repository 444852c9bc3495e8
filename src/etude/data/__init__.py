"""Data: arrays on the device, random access, any iterable; named data sets."""

from etude.data.arrays import ArrayData as ArrayData
from etude.data.checks import check_labels as check_labels
