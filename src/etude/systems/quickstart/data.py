"""Scikit-learn's digits, split once: 1,797 images of 8 x 8 pixels, real, no download."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import train_test_split

import etude as et


@dataclass(frozen=True)
class Split:
    """Images with values 0 to 1, and their classes."""

    images: Float[np.ndarray, "samples 64"]
    labels: Int[np.ndarray, " samples"]

    def labelled(self, count: int | None, seed: int) -> "Split":
        """A subset of `count` samples with the classes in their proportions; all, if None.

        >>> len(digits()["train"].labelled(100, seed=0).labels)
        100
        """
        if count is None:
            return self
        chosen, _ = train_test_split(
            np.arange(len(self.labels)), train_size=count, stratify=self.labels, random_state=seed
        )
        return Split(self.images[chosen], self.labels[chosen])


@cache
def digits() -> dict[str, Split]:
    """The splits "train", "valid" and "test", the same in every run and for every seed.

    >>> {name: len(split.labels) for name, split in digits().items()}
    {'train': 1149, 'valid': 288, 'test': 360}
    """
    found = et.load("digits", valid=0.2)
    assert found.valid is not None  # asked for
    parts = {"train": found.train, "valid": found.valid, "test": found.test}
    return {name: Split(part.x.reshape(-1, 64), part.y) for name, part in parts.items()}
