"""Data sets by name: digits, MNIST, Fashion-MNIST.

>>> digits = load("digits", valid=0.2)
>>> digits.train.x.shape, digits.valid.x.shape, digits.test.x.shape
((1149, 8, 8), (288, 8, 8), (360, 8, 8))
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from etude.data.checks import check_labels
from etude.data.idx import read_idx
from etude.engine.errors import DataError, suggest

CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

NUMERALS = tuple("0123456789")

#: name in the OpenML catalogue, and classes
FILED = {"mnist": ("mnist_784", NUMERALS), "fashion-mnist": ("Fashion-MNIST", CLOTHES)}

FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip

VARIABLE = "ETUDE_DATA"


class Split(NamedTuple):
    """Images and labels; being a tuple, it goes into `ArrayData` as it is."""

    #: intensities from 0 to 1
    x: Float32[np.ndarray, "samples height width"]
    #: classes, counted from 0
    y: Int32[np.ndarray, " samples"]


@dataclass(frozen=True)
class DataSet:
    """A named data set, split. `classes` are the names of its classes."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    valid: Split | None = None


def load(
    name: str, root: str | Path | None = None, *, valid: float = 0.0, seed: int = 0
) -> DataSet:
    """Loads a data set.

    "digits" comes with scikit-learn: 1797 images of 8 x 8, of which a stratified fifth is the
    test split, always the same. "mnist" and "fashion-mnist" have their standard splits, 60000 and
    10000 images of 28 x 28; they are read from IDX files (gzipped or not) in `<root>/<name>` or
    `<root>`, else fetched by scikit-learn from OpenML.

    Args:
        name: "digits", "mnist" or "fashion-mnist".
        root: folder of the files; None: the variable ETUDE_DATA, if set.
        valid: fraction of the training samples to split off, stratified, for validation.
        seed: of that split.

    Raises:
        DataError: an unknown name, missing or damaged files, no network.

    >>> load("digits").classes[:3]
    ('0', '1', '2')
    """
    names = ["digits", *FILED]
    if name not in names:
        raise DataError(f"There is no data set {name!r}. {suggest(name, names)}")
    if not 0 <= valid < 1:
        raise DataError(f"valid is a fraction of the training samples in [0, 1); got {valid}.")
    if name == "digits":
        classes = NUMERALS
        train, test = _digits()
    else:
        catalogue, classes = FILED[name]
        folder = _folder(name, root)
        train, test = _fetched(name, catalogue) if folder is None else _read(folder, len(classes))
    if not valid:
        return DataSet(name, classes, train, test)
    train, held = _split(train, valid, seed)
    return DataSet(name, classes, train, test, held)


def _digits() -> tuple[Split, Split]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = (pixels.reshape(-1, 8, 8) / 16).astype(np.float32)  # intensities are counts from 0 to 16
    return _split(Split(x, labels.astype(np.int32)), 0.2, 0)


def _split(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Stratified: `(rest, fraction)`."""
    from sklearn.model_selection import train_test_split

    indices = np.arange(len(split.y))
    try:
        rest, part = train_test_split(
            indices, test_size=fraction, stratify=split.y, random_state=seed
        )
    except ValueError as error:
        raise DataError(
            f"{fraction} of {len(split.y)} samples cannot be split off with every class on both "
            f"sides ({error}). Choose a fraction nearer to 0.2."
        ) from error
    return Split(split.x[rest], split.y[rest]), Split(split.x[part], split.y[part])


def _folder(name: str, root: str | Path | None) -> Path | None:
    """The folder that holds files of the data set, or None if OpenML shall be asked."""
    given = root if root is not None else os.environ.get(VARIABLE)
    if not given:
        return None
    # All sets have the same file names: a folder named after another set is not this one's.
    folders = [Path(given) / name, Path(given)]
    for folder in folders:
        is_other = folder.name in FILED and folder.name != name
        if not is_other and any(_file(folder, file).exists() for file in FILES):
            return folder
    if root is None:
        return None
    raise DataError(
        f"No files of {name!r} in {folders[0]} or {folders[1]}. Expected {', '.join(FILES)}, each "
        "with or without .gz. Correct the root, or leave it out to fetch the set from OpenML."
    )


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name


def _read(folder: Path, classes: int) -> tuple[Split, Split]:
    missing = [name for name in FILES if not _file(folder, name).exists()]
    if missing:
        raise DataError(
            f"{folder} lacks {', '.join(missing)} (with or without .gz). Put all four files there."
        )
    paths = [_file(folder, name) for name in FILES]
    return _pair(paths[0], paths[1], classes), _pair(paths[2], paths[3], classes)


def _pair(images: Path, labels: Path, classes: int) -> Split:
    x, y = read_idx(images), read_idx(labels)
    for path, array, axes in ((images, x, 3), (labels, y, 1)):
        if array.ndim != axes or array.dtype != np.uint8:
            raise DataError(
                f"{path} holds {array.dtype} of shape {array.shape}; expected uint8 with {axes} "
                "axes. Check that images and labels are not mixed up."
            )
    if len(x) != len(y):
        raise DataError(
            f"{images} holds {len(x)} images and {labels} {len(y)} labels; expected as many. Get "
            "both from the same source."
        )
    try:
        check_labels(y, classes)
    except DataError as error:
        raise DataError(f"{labels}: {error}") from error
    return _scaled(x, y)


def _scaled(x: np.ndarray, y: np.ndarray) -> Split:
    return Split(x.astype(np.float32) / np.float32(255), y.astype(np.int32))


def _fetched(name: str, catalogue: str) -> tuple[Split, Split]:
    from sklearn.datasets import fetch_openml

    try:
        found = fetch_openml(
            catalogue, version=1, as_frame=False, parser="liac-arff", return_X_y=True
        )
    except OSError as error:  # URLError, timeouts, refused connections
        raise DataError(
            f"{name!r} could not be fetched from OpenML ({error}); is this machine offline? Put "
            f"{', '.join(FILES)} (with or without .gz) into a folder <root>/{name}, and pass "
            f"root=<root> (--data.root) or set {VARIABLE}=<root>."
        ) from error
    x, y = np.asarray(found[0]).reshape(-1, 28, 28), np.asarray(found[1]).astype(np.int32)
    return _scaled(x[:60000], y[:60000]), _scaled(x[60000:], y[60000:])
