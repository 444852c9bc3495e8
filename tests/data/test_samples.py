"""Samples in files: what is read, and what is refused by name."""

import numpy as np
import pytest
from PIL import Image

from etude.data.samples import read_samples
from etude.errors import DataError


def picture(path, values):
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return path


def test_pictures_are_grey_levels_and_a_folder_is_all_of_them(tmp_path):
    picture(tmp_path / "b.png", [[0, 255, 51]])
    picture(tmp_path / "a.png", [[255, 0, 0]])
    colour = np.zeros((1, 3, 3))
    colour[..., 1] = 255
    picture(tmp_path / "c.png", colour)
    (tmp_path / "notes.txt").write_text("no picture")
    names, samples = read_samples([tmp_path], (1, 3))
    assert [name.rsplit("/", 1)[1] for name in names] == ["a.png", "b.png", "c.png"]
    green = round(255 * 0.587) / 255  # the luma of ITU-R 601
    np.testing.assert_allclose(samples[:, 0], [[1, 0, 0], [0, 1, 0.2], [green] * 3], atol=1e-6)
    _, dark = read_samples([tmp_path / "b.png"], (1, 3), invert=True)
    np.testing.assert_allclose(dark[0, 0], [1, 0, 0.8], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, bool])
def test_arrays_of_any_number_are_samples(tmp_path, dtype):
    values = np.arange(12).reshape(2, 2, 3) % 2
    np.save(tmp_path / "x.npy", values.astype(dtype))
    _, samples = read_samples([tmp_path / "x.npy"], (2, 3))
    np.testing.assert_array_equal(samples, values.astype(np.float32))
    assert samples.dtype == np.float32
    np.save(tmp_path / "one.npy", values[0].reshape(-1).astype(dtype))
    (name,), one = read_samples([tmp_path / "one.npy"], (2, 3))
    np.testing.assert_array_equal(one, values[:1])
    assert name.endswith("one.npy:1")
    np.save(tmp_path / "picture.npy", values[0].astype(dtype))
    np.testing.assert_array_equal(read_samples([tmp_path / "picture.npy"], (2, 3))[1], values[:1])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.csv", b"1,2\n3,x\n", "row 2: 'x' is no number"),
        ("x.csv", b"1,2,3\n", r"x.csv:1 has the shape \(3,\); the model takes \(2,\)"),
        ("x.csv", b"1;2\n", "'1;2' is no number. Write rows of numbers, separated by commas"),
        ("x.csv", b"1,nan\n", r"nan at index \(1,\). Leave the sample out, or replace the value.$"),
        ("x.csv", b"", r"x.csv holds no sample"),
        ("x.npy", b"nothing", "cannot be read as an NPY file"),
        ("x.png", b"nothing", "cannot be read as a picture"),
        ("x.txt", b"1 2", "of no kind that can be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_samples([tmp_path / name], (2,))


def test_missing_files_pickles_and_other_shapes_are_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        read_samples([tmp_path / "x.csv"], (2,))
    with pytest.raises(DataError, match="holds no picture"):
        read_samples([tmp_path], (2,))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="allow_pickle=False"):
        read_samples([tmp_path / "objects.npy"], (2,))
    np.save(tmp_path / "z.npy", np.ones((1, 2), complex))
    with pytest.raises(DataError, match="expected real numbers"):
        read_samples([tmp_path / "z.npy"], (2,))
    np.save(tmp_path / "turned.npy", np.ones((1, 3, 2)))
    with pytest.raises(DataError, match=r"shape \(3, 2\); the model takes \(2, 3\)"):
        read_samples([tmp_path / "turned.npy"], (2, 3))
