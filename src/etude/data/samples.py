r"""Samples in a user's files: pictures, folders of pictures, tables of numbers.

>>> import tempfile
>>> file = Path(tempfile.mkdtemp()) / "two.csv"
>>> _ = file.write_text("0,0.5\n1,0.25\n")
>>> names, samples = read_samples([file], (2,))
>>> [Path(name).name for name in names], samples.tolist()
(['two.csv:1', 'two.csv:2'], [[0.0, 0.5], [1.0, 0.25]])
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from etude.data.checks import first_nonfinite
from etude.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".tif", ".tiff")
TABLES = (".csv", ".npy")


def read_samples(
    paths: Sequence[str | Path], shape: tuple[int, ...], *, invert: bool = False
) -> tuple[tuple[str, ...], Float32[np.ndarray, "n ..."]]:
    """The names and values of all samples in files.

    A picture is one sample, of grey levels from 0 (black) to 1; it must have the size that is
    asked for. A folder is all of its pictures, by name. A CSV file (no header) has a sample a row;
    an NPY file an array of samples, or one. Rows and flat arrays are reshaped.

    Args:
        paths: files or folders.
        shape: shape of one sample.
        invert: take 1 minus the grey level of pictures: for dark writing on white.

    Raises:
        DataError: a file that is missing, of another kind or cannot be read, samples of another
            shape, values that are no finite numbers.
    """
    names: list[str] = []
    samples: list[np.ndarray] = []
    for path in map(Path, paths):
        for name, values in _samples(path, shape, invert):
            if values.size != np.prod(shape) or (values.ndim > 1 and values.shape != shape):
                raise DataError(
                    f"{name} has the shape {values.shape}; the model takes {shape}. Resize or "
                    "crop it as the training data were."
                )
            index = first_nonfinite(values)
            if index is not None:
                raise DataError(
                    f"{name} holds a non-finite value: {values[index]} at index {index}. Leave "
                    "the sample out, or replace the value."
                )
            names.append(name)
            samples.append(values.reshape(shape).astype(np.float32))
    if not samples:
        raise DataError("There is no sample: no file was given.")
    return tuple(names), np.stack(samples)


def _samples(path: Path, shape: tuple[int, ...], invert: bool) -> Iterator[tuple[str, np.ndarray]]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not found:
            raise DataError(f"The folder {path} holds no picture ({', '.join(PICTURES)}).")
        for file in found:
            yield str(file), _picture(file, invert)
        return
    kind = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    if kind in PICTURES:
        yield str(path), _picture(path, invert)
    elif kind in TABLES:
        rows = _csv(path) if kind == ".csv" else _npy(path, shape)
        if not len(rows):
            raise DataError(f"{path} holds no sample.")
        for number, row in enumerate(rows, 1):
            yield f"{path}:{number}", row
    else:
        raise DataError(
            f"{path} is of no kind that can be read. Give a picture ({', '.join(PICTURES)}), a "
            "folder of pictures, or numbers (.csv, .npy)."
        )


def _picture(path: Path, invert: bool) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"), np.float32) / 255
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a picture: {error}.") from error
    return 1 - grey if invert else grey


def _csv(path: Path) -> list[np.ndarray]:
    rows: list[np.ndarray] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if row:
                rows.append(np.array([_number(cell, path, number) for cell in row]))
    return rows


def _number(cell: str, path: Path, row: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{path}, row {row}: {cell!r} is no number. Write rows of numbers, separated by "
            "commas, without a header."
        ) from None


def _npy(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as an NPY file: {error}.") from error
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool) or np.iscomplexobj(
        values
    ):
        raise DataError(f"{path} holds {values.dtype} values; expected real numbers.")
    one = values.ndim <= 1 or values.shape == shape
    return (values[None] if one else values).astype(np.float64)
