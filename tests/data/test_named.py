"""IDX files and named data sets."""

import gzip
import os
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from etude.data import ArrayData, load, read_idx
from etude.data.named import FILES
from etude.engine.errors import DataError

CODES = {"|u1": 8, "|i1": 9, "<i2": 11, "<i4": 12, "<f4": 13, "<f8": 14}


def packed(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.str], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(st.sampled_from(sorted(CODES)).flatmap(
    lambda code: arrays.arrays(code, arrays.array_shapes(max_dims=4, min_side=0, max_side=5))
), st.booleans())  # fmt: skip
def test_round_trip(tmp_path_factory, array, zipped):
    path = tmp_path_factory.mktemp("idx") / "file"
    content = packed(array)
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read_idx(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


GOOD = packed(np.arange(12, dtype=np.int16).reshape(3, 4))
FLIPPED = bytearray(gzip.compress(GOOD))
FLIPPED[-6] ^= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"PNG.....", "magic number is 0x504e472e"),
        (b"\0\0\7\1", "magic number"),
        (GOOD[:9], "truncated in its header: 9 bytes, expected 12"),
        (GOOD[:-1], r"is truncated: 35 bytes, expected 36 .*\(3, 4\)"),
        (GOOD + b"x", "is too long: 37 bytes, expected 36"),
        (gzip.compress(GOOD)[:-9], "damaged"),
        (bytes(FLIPPED), "damaged"),
    ],
)
def test_damage_is_named(tmp_path, content, message):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"train-images.*{message}"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


def put(folder, images=20, labels=20, classes=10):
    folder.mkdir(parents=True, exist_ok=True)
    x = np.full((images, 28, 28), 255, np.uint8)
    y = (np.arange(labels) % classes).astype(np.uint8)
    for name in FILES:
        (folder / name).write_bytes(packed(x if "images" in name else y))


def test_the_root_and_the_variable(tmp_path, monkeypatch):
    put(tmp_path / "mnist")
    assert load("mnist", tmp_path).train.x.max() == 1.0
    monkeypatch.setenv("ETUDE_DATA", str(tmp_path / "mnist"))
    assert load("mnist").test.y.tolist() == list(range(10)) * 2
    with pytest.raises(DataError, match="No files of 'fashion-mnist'"):
        load("fashion-mnist", tmp_path / "mnist")  # a folder named after another set


def test_bad_folders(tmp_path):
    put(tmp_path / "a", labels=19)
    with pytest.raises(DataError, match=r"20 images.*19 labels"):
        load("mnist", tmp_path / "a")
    put(tmp_path / "b", classes=11)
    with pytest.raises(DataError, match=r"train-labels.*Label 10 of sample 10"):
        load("mnist", tmp_path / "b")
    put(tmp_path / "c")
    (tmp_path / "c" / FILES[2]).unlink()
    with pytest.raises(DataError, match="lacks t10k-images"):
        load("mnist", tmp_path / "c")


def test_offline(monkeypatch):
    def refused(*args, **options):
        raise URLError("no route")

    monkeypatch.delenv("ETUDE_DATA", raising=False)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", refused)
    with pytest.raises(DataError, match=r"offline.*ETUDE_DATA"):
        load("mnist")


def test_fetched_sets_have_the_standard_split(monkeypatch):
    x, y = np.zeros((70000, 784), np.uint8), np.arange(70000) % 10
    x[60000:] = 255
    monkeypatch.delenv("ETUDE_DATA", raising=False)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *a, **k: (x, y.astype(str)))
    found = load("mnist")
    assert found.train.x.shape == (60000, 28, 28)
    assert found.train.x.max() == 0
    assert found.test.x.min() == 1
    assert found.test.y[:3].tolist() == [0, 1, 2]


def test_digits_are_split_once_and_evenly():
    from sklearn.datasets import load_digits

    digits = load("digits", valid=0.25)
    parts = [digits.train, digits.valid, digits.test]
    flat = np.concatenate([part.x for part in parts]).reshape(-1, 64)
    original = (load_digits().data / 16).astype(np.float32)
    assert sorted(map(bytes, flat)) == sorted(map(bytes, original))
    shares = [np.bincount(part.y) / len(part.y) for part in parts]
    assert np.ptp(shares, axis=0).max() < 0.005
    np.testing.assert_array_equal(load("digits").test.x, digits.test.x)
    assert ArrayData(digits.train, 64, classes=10).steps_per_epoch == 17


def test_wrong_arguments():
    with pytest.raises(DataError, match="Did you mean 'mnist'"):
        load("mnits")
    with pytest.raises(DataError, match="fraction"):
        load("digits", valid=1.0)
    with pytest.raises(DataError, match="every class"):
        load("digits", valid=0.0001)


def test_fashion_mnist_as_it_is():
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    root = Path(os.environ.get("ETUDE_DATA", beside))
    if not (root / "fashion-mnist").exists():
        pytest.skip("the Fashion-MNIST files are not on this machine; set ETUDE_DATA")
    found = load("fashion-mnist", root)
    assert found.train.x.shape == (60000, 28, 28)
    assert np.bincount(found.train.y).tolist() == [6000] * 10
    assert np.bincount(found.test.y).tolist() == [1000] * 10
    assert (found.train.x.min(), found.train.x.max()) == (0, 1)
    assert found.train.x.mean() == pytest.approx(0.2860, abs=1e-4)  # the published mean
    assert found.classes[found.train.y[0]] == "ankle boot"
