"""Data sets by name: digits, MNIST, Fashion-MNIST, and your own by the name of their files.

>>> digits = load("digits", valid=0.2)
>>> digits.train.x.shape, digits.valid.x.shape, digits.test.x.shape
((1149, 8, 8), (288, 8, 8), (360, 8, 8))
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etude.data.files import FILES, Split, holds_idx, read_folder, read_npz, recognised, scaled
from etude.errors import DataError, suggest

CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip

NUMERALS = tuple("0123456789")

#: name in the OpenML catalogue, and classes
FILED = {"mnist": ("mnist_784", NUMERALS), "fashion-mnist": ("Fashion-MNIST", CLOTHES)}

NAMES = ("digits", *FILED)

VARIABLE = "ETUDE_DATA"


@dataclass(frozen=True)
class DataSet:
    """A named data set, split. `classes` are the names of its classes."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    valid: Split | None = None


def load(
    name: str, root: str | Path | None = None, *, valid: float = 0.0, seed: int | None = None
) -> DataSet:
    """Loads a data set.

    | name | what |
    |---|---|
    | digits | scikit-learn's, 1797 images of 8 x 8, of which a fixed stratified fifth is the test |
    | mnist, fashion-mnist | 60000 and 10000 images of 28 x 28, from the IDX files (gzipped or \
    not) in `<root>/<name>` or `<root>`, else fetched by scikit-learn from OpenML |
    | a folder | four IDX files of your own, named as MNIST's |
    | a file `.npz` | arrays x_train, y_train, x_test, y_test; or x and y, of which a stratified \
    fifth is the test: bytes or numbers from 0 to 1, of any shape after the first axis |

    Folders and files are sought below the root, else below the current folder; a full path is
    taken as it is, and `./mnist` is a folder whatever it is called. Files of MNIST are not taken
    for Fashion-MNIST, or the other way round, wherever they lie.

    Args:
        name: name of the data set, as in the table.
        root: folder of the files; the variable ETUDE_DATA says it, if None. Not for "digits".
        valid: fraction of the training samples to split off, stratified, for validation.
        seed: seed of that split, 0 if None.

    Raises:
        DataError: an unknown name, missing, damaged or other files than asked for, no network;
            a root for "digits", a seed without a split.

    >>> load("digits").classes[:3]
    ('0', '1', '2')
    """
    name = str(name)
    if not 0 <= valid < 1:
        raise DataError(f"valid is a fraction of the training samples in [0, 1); got {valid}.")
    if seed is not None and not valid:
        raise DataError(
            f"The seed {seed} is that of the validation split, and none is made. Give its size, "
            "valid=0.1, or leave the seed out."
        )
    if name == "digits":
        if root is not None:
            raise DataError(
                f"The digits come with scikit-learn, and nothing is read from the root {root}. "
                "Leave root out, or name the data set that lies there."
            )
        classes = NUMERALS
        train, test = _digits()
    elif name in FILED:
        catalogue, classes = FILED[name]
        folder = _folder(name, root)
        found = _fetched(name, catalogue) if folder is None else read_folder(folder, len(classes))
        train, test = found
    else:
        name, classes, train, test = _own(find(name, root))
    if not valid:
        return DataSet(name, classes, train, test)
    train, held = _split(train, valid, seed or 0)
    return DataSet(name, classes, train, test, held)


def find(name: str, root: str | Path | None = None) -> Path:
    """The folder of IDX files, or the `.npz` file, that a name other than `NAMES` means.

    Raises `DataError` if there is none.
    """
    bases = [os.environ.get(VARIABLE) or ".", "."] if root is None else [root]
    places = [Path(base) / name for base in dict.fromkeys(bases)]
    for place in places:
        if holds_idx(place) or (place.suffix == ".npz" and place.is_file()):
            return place
    raise DataError(
        f"There is no data set {name!r}: it is no known name, and "
        f"{' or '.join(map(str, places))} is neither a folder with {FILES[0]} and so on nor an "
        f".npz file. {suggest(name, NAMES)}"
    )


def _own(place: Path) -> tuple[str, tuple[str, ...], Split, Split]:
    """Name, classes and splits of a folder or file."""
    if place.suffix == ".npz" and place.is_file():
        found = read_npz(place)
        train, test = _split(found, 0.2, 0) if isinstance(found, Split) else found
        known = None
    else:
        known = recognised(place)
        train, test = read_folder(place, len(FILED[known][1]) if known else None)
    if known:
        return known, FILED[known][1], train, test
    count = max(int(part.y.max()) for part in (train, test)) + 1
    return place.stem, tuple(map(str, range(count))), train, test


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
    """The folder that holds files of a known set, or None if OpenML shall be asked."""
    given = root if root is not None else os.environ.get(VARIABLE)
    if not given:
        return None
    folders = [Path(given) / name, Path(given)]
    others: dict[Path, str | None] = {}
    for folder in filter(holds_idx, folders):
        known = recognised(folder)
        # All sets have the same file names: those of another set, or of none that is known in a
        # folder that is not named after this one, are not this one's.
        if known == name or (known is None and folder.name == name):
            return folder
        others[folder] = known
    if root is None:
        return None
    for folder, known in others.items():
        raise DataError(
            f"The files in {folder} are not {name!r}, by their first training labels, but "
            f"{known or 'of another set'}. Name the folder to load what it holds: {folder} "
            f"(on the command line --data {folder}), or correct the root."
        )
    raise DataError(
        f"No files of {name!r} in {folders[0]} or {folders[1]}. Expected {', '.join(FILES)}, each "
        "with or without .gz. Correct the root, or leave it out to fetch the set from OpenML."
    )


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
            f"root=<root> (--root) or set {VARIABLE}=<root>."
        ) from error
    x, y = np.asarray(found[0]).reshape(-1, 28, 28), np.asarray(found[1]).astype(np.int32)
    return scaled(x[:60000], y[:60000]), scaled(x[60000:], y[60000:])
