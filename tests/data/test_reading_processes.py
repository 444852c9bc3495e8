"""Processes that read: large batches arrive whole, and what goes wrong is said."""

import os

import ml_dtypes
import numpy as np
import pytest

from etude.data import AccessData
from etude.errors import DataError


class Large:
    """Batches that no socket takes at once; the process dies at the last sample."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 3:
            os._exit(1)
        if index == 2:
            raise OSError("torn page")
        x = np.arange(300_000, dtype=np.float32) + index
        return x, x[:3].astype(ml_dtypes.bfloat16), x[:0], index


def test_large_batches_arrive_whole_and_a_death_is_told():
    data = AccessData(Large(), 1, shuffle=False, workers=1, worker_kind="process")
    batches = data.sequential()
    for index in range(2):
        (x, half, nothing, number), _ = next(batches)
        np.testing.assert_array_equal(x[0], np.arange(300_000, dtype=np.float32) + index)
        assert half.dtype == ml_dtypes.bfloat16
        assert half[0].tolist() == [index, 1 + index, 2 + index]
        assert (nothing.shape, number.tolist()) == ((1, 0), [index])
    with pytest.raises(DataError, match=r"Sample 2 .*torn page") as caught:
        next(batches)
    assert "In the process that reads:" in caught.value.__notes__[0]
    with pytest.raises(DataError, match="A process that reads the data died"):
        next(data.batches((0,), 0, 3))


def test_what_cannot_be_sent_is_refused():
    data = AccessData([1.0], 1, transform=lambda x: x, workers=1, worker_kind="process")
    with pytest.raises(DataError, match=r"cannot be pickled.*lambda.*worker_kind='thread'"):
        next(data.sequential())
