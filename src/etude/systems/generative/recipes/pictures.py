"""Pictures of zeros and ones that recipes train on, and what is written of samples."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

import etude as et
from etude.recipe import DataConfiguration
from etude.systems.generative.plots import picture_grid
from etude.table import Table


@cache
def data(name: str, root: str | None) -> Any:
    """The pictures, of zeros and ones."""
    found = DataConfiguration.model_validate({"data": name, "root": root}).load(valid=0.1)

    def binary(split: Any) -> Any:
        return split._replace(x=(split.x >= 0.5).astype(np.float32))

    assert found.valid is not None
    train, test, valid = map(binary, (found.train, found.test, found.valid))
    return replace(found, train=train, test=test, valid=valid)


def independent(found: Any, split: str) -> float:
    """-log p(x) in nats per picture, where each pixel is on as often as in the training."""
    chosen = getattr(found, split)
    share = (found.train.x.sum(0) + 0.5) / (len(found.train.y) + 1)
    pixels = chosen.x * np.log(share) + (1 - chosen.x) * np.log(1 - share)
    return -float(pixels.reshape(len(pixels), -1).sum(-1).mean())


def classes_of(classes: int, count: int, label: int | None) -> Integer[np.ndarray, " count"] | None:
    """The class of each sample: all in turn, or one; None for a model without classes.

    Raises `ConfigurationError` for a class that the model does not have.

    >>> classes_of(3, 5, None).tolist()
    [0, 1, 2, 0, 1]
    """
    if label is not None and label >= classes:
        raise et.ConfigurationError(
            f"--label {label}: the model has {classes} classes, counted from 0. "
            + ("Give one of these." if classes else "Leave it out.")
        )
    if not classes:
        return None
    return np.arange(count) % classes if label is None else np.full(count, label)


def write_samples(
    x: Float[np.ndarray, "n *shape"],
    labels: Integer[np.ndarray, " n"] | None,
    folder: Path | None,
) -> Table:
    """Writes `samples.npy`, and `samples.png` of pictures; their classes as a table."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "samples.npy", x)
        if x.ndim == 3:
            picture_grid(x).savefig(folder / "samples.png", dpi=110)
    told = [""] * len(x) if labels is None else map(str, labels)
    rows = [(str(number), label) for number, label in enumerate(told)]
    return Table(("sample", "class"), tuple(rows))
