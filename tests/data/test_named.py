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
from etude.data.files import FILES
from etude.errors import DataError

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
    # Not the contents: gzip writes the time into them, and workers must agree on the names.
    ids=range(8),
)
def test_damage_is_named(tmp_path, content, message):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"train-images.*{message}"):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        read_idx(tmp_path / "nowhere")


def put(folder, images=20, labels=20, classes=10, first=()):
    folder.mkdir(parents=True, exist_ok=True)
    x = np.full((images, 28, 28), 255, np.uint8)
    y = np.array([*first, *(np.arange(labels) % classes)][:labels], np.uint8)
    for name in FILES:
        (folder / name).write_bytes(packed(x if "images" in name else y))


def test_the_root_and_the_variable(tmp_path, monkeypatch):
    put(tmp_path / "mnist")
    assert load("mnist", tmp_path).train.x.max() == 1.0
    monkeypatch.setenv("ETUDE_DATA", str(tmp_path / "mnist"))
    assert load("mnist").test.y.tolist() == list(range(10)) * 2
    with pytest.raises(DataError, match=r"are not 'fashion-mnist'.*another set"):
        load("fashion-mnist", tmp_path / "mnist")  # a folder named after another set
    with pytest.raises(DataError, match="No files of 'fashion-mnist'"):
        load("fashion-mnist", tmp_path)


def test_bad_folders(tmp_path):
    put(tmp_path / "a" / "mnist", labels=19)
    with pytest.raises(DataError, match=r"20 images.*19 labels"):
        load("mnist", tmp_path / "a")
    put(tmp_path / "b" / "mnist", classes=11)
    with pytest.raises(DataError, match=r"train-labels.*Label 10 of sample 10"):
        load("mnist", tmp_path / "b")
    put(tmp_path / "c" / "mnist")
    (tmp_path / "c" / "mnist" / FILES[2]).unlink()
    with pytest.raises(DataError, match="lacks t10k-images"):
        load("mnist", tmp_path / "c")


DIGITS = (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9)
CLOTHES = (9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4)


def test_digits_are_not_taken_for_clothes(tmp_path, monkeypatch):
    """Whatever the folder is called; all sets have the same file names."""
    put(tmp_path / "downloads", first=DIGITS)
    put(tmp_path / "wrong" / "fashion-mnist", first=DIGITS)
    put(tmp_path / "unknown")
    for root, held in (("downloads", "but mnist"), ("wrong", "but mnist"), ("unknown", "another")):
        with pytest.raises(DataError, match=rf"are not 'fashion-mnist'.*{held}.*--data"):
            load("fashion-mnist", tmp_path / root)
    assert load("mnist", tmp_path / "downloads").test.x.shape == (20, 28, 28)
    named = load("downloads", tmp_path)
    assert (named.name, named.classes[0]) == ("mnist", "0")
    put(tmp_path / "clothes", first=CLOTHES)
    assert load("clothes", tmp_path).classes[0] == "T-shirt/top"
    # Where only the variable names the folder, the set is fetched as if there were none.
    monkeypatch.setenv("ETUDE_DATA", str(tmp_path / "downloads"))
    x, y = np.zeros((70000, 784), np.uint8), np.arange(70000) % 10
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *a, **k: (x, y.astype(str)))
    assert load("fashion-mnist").train.x.shape == (60000, 28, 28)


def test_any_folder_of_idx_files(tmp_path, monkeypatch):
    put(tmp_path / "kuzushiji", classes=7)
    found = load("kuzushiji", tmp_path)
    assert (found.name, found.classes) == ("kuzushiji", tuple("0123456"))
    assert found.test.y.tolist() == (np.arange(20) % 7).tolist()
    assert load(str(tmp_path / "kuzushiji")).classes == found.classes
    monkeypatch.setenv("ETUDE_DATA", str(tmp_path))
    assert load("kuzushiji").classes == found.classes
    put(tmp_path / "digits", classes=3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ETUDE_DATA")
    assert len(load("./digits").classes) == 3
    with pytest.raises(DataError, match=r"no data set 'letters'.*letters is neither"):
        load("letters", tmp_path)


def test_arrays_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(50, 3, 4)), np.arange(50) % 5
    path = tmp_path / "own.npz"
    np.savez(path, x=x, y=y)
    found = load("own.npz", tmp_path, valid=0.25)
    assert (found.name, found.classes) == ("own", tuple("01234"))
    assert [len(part.y) for part in (found.train, found.valid, found.test)] == [30, 10, 10]
    assert np.bincount(found.test.y).tolist() == [2] * 5
    every = np.concatenate([part.x for part in (found.train, found.valid, found.test)])
    assert sorted(map(bytes, every)) == sorted(map(bytes, x.astype(np.float32)))
    coded = np.arange(40, dtype=np.uint8).reshape(5, 8)
    np.savez(path, x_train=coded, y_train=y[:5], x_test=coded[:2], y_test=y[:2])
    found = load(str(path))
    np.testing.assert_array_equal(found.train.x, coded.astype(np.float32) / np.float32(255))
    assert found.test.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": np.full((4, 2), 1.5), "y": np.arange(4)},
            r"x holds float64 from 1.5 to 1.5.*0 to 1",
        ),
        ({"x": np.full((4, 2), np.nan), "y": np.arange(4)}, "x holds float64 from nan"),
        ({"x": np.ones((4, 2)), "y": np.arange(4.0)}, "y: Labels must be integers"),
        ({"x": np.ones((4, 2)), "y": np.arange(4) - 1}, "y: Label -1 of sample 0"),
        ({"x": np.ones((4, 2)), "y": np.arange(5)}, r"shape \(4, 2\) and y \(5,\)"),
        ({"x": np.ones((0, 2)), "y": np.arange(0)}, r"shape \(0, 2\)"),
        ({"x": np.ones(4), "y": np.arange(4)}, r"shape \(4,\)"),
        ({"images": np.ones((4, 2))}, "holds images; expected x and y, or x_train"),
        ({"x": np.array([object()] * 4)[:, None], "y": np.arange(4)}, "cannot be read"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match=rf"own\.npz.*{message}"):
        load("own.npz", tmp_path)


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
    with pytest.raises(DataError, match="seed 3 is that of the validation split"):
        load("digits", seed=3)
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
