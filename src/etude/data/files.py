"""Labelled samples in files: a folder of IDX files as MNIST has them, or an `.npz` file.

A set that is known is told by its first training labels, whatever the folder is called.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from etude.data.checks import check_labels
from etude.data.idx import read_idx
from etude.errors import DataError

FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip

#: the first labels of training sets that are often met under another name
SIGNATURES = {
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9),
    "fashion-mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4),
}

KEYS = ("x_train", "y_train", "x_test", "y_test")


class Split(NamedTuple):
    """Samples and labels; being a tuple, it goes into `ArrayData` as it is."""

    #: values from 0 to 1
    x: Float32[np.ndarray, "samples *shape"]
    #: classes, counted from 0
    y: Int32[np.ndarray, " samples"]


def holds_idx(folder: Path) -> bool:
    """Whether any of the four files is there."""
    return any(_file(folder, name).exists() for name in FILES)


def recognised(folder: Path) -> str | None:
    """The known set that a folder of IDX files holds, or None.

    Raises `DataError` for training labels that cannot be read.
    """
    labels = _file(folder, FILES[1])
    if not labels.exists():
        return None
    first = tuple(read_idx(labels)[:20].tolist())
    return next((name for name, known in SIGNATURES.items() if known == first), None)


def read_folder(folder: Path, classes: int | None = None) -> tuple[Split, Split]:
    """Training and test split of the four IDX files of a folder, gzipped or not.

    Raises `DataError` for missing or damaged files, files that do not belong together, and
    labels outside `classes`, if that is given.
    """
    missing = [name for name in FILES if not _file(folder, name).exists()]
    if missing:
        raise DataError(
            f"{folder} lacks {', '.join(missing)} (with or without .gz). Put all four files there."
        )
    paths = [_file(folder, name) for name in FILES]
    return _pair(paths[0], paths[1], classes), _pair(paths[2], paths[3], classes)


def read_npz(path: Path) -> Split | tuple[Split, Split]:
    """Training and test split of the arrays x_train, y_train, x_test and y_test of a file.

    Samples lie along the first axis, of any shape: bytes, or numbers from 0 to 1. With x and y
    alone there is one split. Nothing is unpickled. Raises `DataError` for what does not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read as arrays ({error}). Write it by np.savez(path, x=x, y=y)."
        ) from error
    if set(arrays) == {"x", "y"}:
        return _checked(path, "x", "y", arrays)
    if set(arrays) == set(KEYS):
        return _checked(path, *KEYS[:2], arrays), _checked(path, *KEYS[2:], arrays)
    raise DataError(
        f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; expected x and y, or "
        f"{', '.join(KEYS)}."
    )


def _checked(path: Path, x_name: str, y_name: str, arrays: dict[str, np.ndarray]) -> Split:
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x):
        raise DataError(
            f"{path}: {x_name} has shape {x.shape} and {y_name} {y.shape}; expected (samples, "
            "...) and (samples,)."
        )
    try:
        check_labels(y, max(int(y.max(initial=0)) + 1, 1) if y.dtype.kind in "iu" else 1)
    except DataError as error:
        raise DataError(f"{path}: {y_name}: {error}") from error
    if x.dtype == np.uint8:
        return scaled(x, y)
    # NaN compares as false, so that it is refused as well.
    if x.dtype.kind not in "biuf" or not bool(np.all((x >= 0) & (x <= 1))):
        raise DataError(
            f"{path}: {x_name} holds {x.dtype} from {x.min()} to {x.max()}; expected bytes "
            "(uint8), or numbers from 0 to 1: (x - x.min()) / (x.max() - x.min())."
        )
    return Split(x.astype(np.float32), y.astype(np.int32))


def scaled(x: np.ndarray, y: np.ndarray) -> Split:
    """Bytes as numbers from 0 to 1."""
    return Split(x.astype(np.float32) / np.float32(255), y.astype(np.int32))


def _file(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name


def _pair(images: Path, labels: Path, classes: int | None) -> Split:
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
        check_labels(y, 256 if classes is None else classes)
    except DataError as error:
        raise DataError(f"{labels}: {error}") from error
    return scaled(x, y)
