"""What a trainer learns from: arrays, windows, a source of ours, or any iterable of batches.

>>> import numpy as np
>>> data = source_of("mine", (np.zeros((10, 8), np.float32), np.zeros(10, np.int32)), 4)
>>> data.steps_per_epoch
3
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Array

import etude as et
from etude.data import length_of
from etude.errors import suggest
from etude.systems.machinery.records import Windows

#: Samples of a step, where nobody said how many.
BATCH_SIZE = 64


class Sample(NamedTuple):
    """A batch, taken apart.

    Attributes:
        signals: what the network sees, also where it is a spectrogram.
        targets: labels, probabilities, or several labels for each signal.
        metadata: name -> what is known of each signal.
    """

    signals: Array
    targets: Array
    metadata: Mapping[str, Array]


def read_batch(owner: str, batch: Any, metadata_keys: Sequence[str] | None = None) -> Sample:
    """A batch taken apart: `(signals, targets)`, `(signals, targets, metadata)`, or a dictionary.

    A dictionary has "signal" and "label", as `Windows.arrays` gives it; the rest are metadata.

    Args:
        owner: who asks.
        batch: as it comes from a source.
        metadata_keys: those to be used; None: all that there are.

    Raises:
        DataError: another form, or metadata that are not there.
    """
    if isinstance(batch, Mapping):
        if missing := {"signal", "label"} - set(batch):
            raise et.DataError(
                f"{owner}: a batch has {sorted(batch)}, but no {sorted(missing)[0]!r}."
            )
        signals, targets = batch["signal"], batch["label"]
        known = {name: batch[name] for name in batch if name not in ("signal", "label")}
    elif isinstance(batch, tuple | list) and len(batch) in (2, 3):
        signals, targets = batch[:2]
        known = batch[2] if len(batch) == 3 else {}
        if not isinstance(known, Mapping):
            raise et.DataError(
                f"{owner}: the third of a batch is {type(known).__name__}, expected a dictionary "
                "of metadata by name."
            )
    else:
        raise et.DataError(
            f"{owner}: a batch is {type(batch).__name__}, expected (signals, labels), (signals, "
            "labels, metadata), or a dictionary with 'signal' and 'label'."
        )
    if metadata_keys is not None:
        for name in metadata_keys:
            if name not in known:
                raise et.DataError(
                    f"{owner}: there are no metadata {name!r} in the batch. "
                    + (suggest(name, known) if known else "There are none.")
                )
        known = {name: known[name] for name in metadata_keys}
    return Sample(signals, targets, known)


def source_of(
    owner: str,
    loader: Any,
    batch_size: int | None,
    metadata_keys: Sequence[str] | None = None,
    *,
    capped: bool = False,
) -> et.Source:
    """The source of whatever a trainer is given.

    Args:
        owner: who asks.
        loader: a source of ours; `Windows`; arrays in a tuple or a dictionary; or what can be
            iterated again and again, a torch `DataLoader` or a list of batches.
        batch_size: of windows and arrays; None: 64, or all if there are fewer.
        metadata_keys: metadata of the windows to take along; None: none.
        capped: whether a batch size above the number of samples means all of them.

    Raises:
        ConfigurationError: a batch size for what has its own.
        DataError: what a source refuses.
    """
    if isinstance(loader, Windows):
        loader = loader.arrays(metadata_keys or ())
    if isinstance(loader, tuple | Mapping):
        return et.ArrayData(loader, size_of(batch_size, length_of(loader), capped=capped))
    if batch_size is not None:
        raise et.ConfigurationError(
            f"{owner}: batch_size={batch_size} is for windows and arrays; got "
            f"{type(loader).__name__}, which makes its batches itself. Leave it out."
        )
    if isinstance(loader, et.Source):
        return loader
    if not isinstance(loader, Iterable):
        raise et.ConfigurationError(
            f"{owner}: got {type(loader).__name__} to learn from; expected a source, Windows, "
            "arrays as (signals, labels), or an iterable of batches such as a DataLoader."
        )
    return et.StreamData(loader)


def size_of(batch_size: int | None, samples: int, *, capped: bool) -> int:
    """The batch size for data of so many samples; see `source_of`.

    >>> size_of(None, 10, capped=False), size_of(32, 10, capped=True), size_of(32, 10, capped=False)
    (10, 10, 32)
    """
    if batch_size is None:
        return min(BATCH_SIZE, samples)
    return min(batch_size, samples) if capped else batch_size


def check_alike(owner: str, train_loader: Any, val_loader: Any) -> None:
    """Raises ConfigurationError for windows of another rate or other classes in the validation."""
    if not (isinstance(train_loader, Windows) and isinstance(val_loader, Windows)):
        return
    for name in ("sample_rate", "classes"):
        wanted, got = getattr(train_loader, name), getattr(val_loader, name)
        if got != wanted:
            raise et.ConfigurationError(
                f"{owner}: the windows of val_loader have {name}={got}, those of train_loader "
                f"{wanted}. Read or resample both alike."
            )
