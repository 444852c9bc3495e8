"""Scikit-learn's digits, split once: 1,797 images of 8 x 8 pixels, real, no download."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

#: Samples for validation and for the test; the other 997 are for training.
VALID, TEST = 300, 500


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
    {'train': 997, 'valid': 300, 'test': 500}
    """
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    images, test_images, labels, test_labels = train_test_split(
        images, labels, test_size=TEST, stratify=labels, random_state=0
    )
    train, valid, train_labels, valid_labels = train_test_split(
        images, labels, test_size=VALID, stratify=labels, random_state=0
    )
    cut = {"train": (train, train_labels), "valid": (valid, valid_labels)}
    cut["test"] = test_images, test_labels
    return {name: Split(np.asarray(x), np.asarray(y)) for name, (x, y) in cut.items()}
