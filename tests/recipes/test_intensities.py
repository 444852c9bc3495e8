"""Inputs of a model of pictures hold intensities; the hint for others does not guess their kind."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import etude as et
from etude.predictions import PictureOptions, read_intensities

OPTIONS = PictureOptions.model_validate({})


def test_raw_digits_are_refused_with_the_divisor_of_the_training_data(tmp_path):
    digits: Any = load_digits()
    raw = digits.images
    np.save(tmp_path / "raw.npy", raw)
    with pytest.raises(et.DataError, match=r"raw\.npy:1 is no sample of intensities") as error:
        read_intensities([str(tmp_path / "raw.npy")], (8, 8), OPTIONS)
    # The range of all: the first sample alone ends at 15, as if 15 were the divisor.
    assert raw[0].max() == 15
    assert "the inputs hold values from 0 to 16" in str(error.value)
    assert "by 255 if these are bytes, by 16 if they have levels from 0 to 16" in str(error.value)
    np.save(tmp_path / "scaled.npy", raw / 16)
    _, scaled = read_intensities([str(tmp_path / "scaled.npy")], (8, 8), OPTIONS)
    known = {sample.tobytes() for sample in et.load("digits").train.x}
    assert sum(sample.tobytes() in known for sample in scaled) >= len(known)
