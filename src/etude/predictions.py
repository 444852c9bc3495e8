"""What systems that classify share: samples of the command line, and a table of their classes.

>>> print(class_table(("a", "b"), np.array([[0.25, 0.75], [0.9, 0.1]]), ("cat", "dog")))
input  class  cat       dog
-----  -----  --------  --------
a      dog    0.250000  0.750000
b      cat    0.900000  0.100000
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32
from pydantic import Field

from etude.data.samples import read_samples
from etude.errors import DataError
from etude.table import Table
from etude.verbs import PredictOptions

#: What a usage line shows for `read_samples`.
FILES = "FILE..."
#: What a table shows for the class of an input that has none.
NONE = "(none)"


class PictureOptions(PredictOptions, frozen=True):
    """How pictures are read.

    >>> PictureOptions().invert
    False
    """

    invert: bool = Field(
        False, description="pictures are dark on white: take 1 minus the grey level"
    )


def read_intensities(
    inputs: Sequence[str], shape: tuple[int, ...], options: PictureOptions
) -> tuple[tuple[str, ...], Float32[np.ndarray, "n ..."]]:
    """The names and values of samples that are intensities from 0 to 1, as `etude.data.load` has.

    Raises `DataError` for values outside, and what `read_samples` raises.
    """
    names, samples = read_samples(inputs, shape, invert=options.invert)
    for name, values in zip(names, samples, strict=True):
        if values.min() < 0 or values.max() > 1:
            raise DataError(
                f"{name} is no sample of intensities from 0 to 1, which the model takes: the "
                f"inputs hold values from {samples.min():g} to {samples.max():g}. Scale them as "
                "the training data were, so that 1 is the largest level of their kind, present or "
                "not: divide by 255 if these are bytes, by 16 if they have levels from 0 to 16."
            )
    return names, samples


def in_parts(
    function: Callable[[Array], Array], samples: Any, size: int = 500
) -> Float[np.ndarray, "n ..."]:
    """`function` of all samples, `size` of them at a time.

    >>> in_parts(lambda x: 2 * x, np.ones((3, 1), np.float32), size=2).tolist()
    [[2.0], [2.0], [2.0]]
    """
    starts = range(0, len(samples), size)
    parts = [np.asarray(function(jnp.asarray(samples[k : k + size]))) for k in starts]
    return np.concatenate(parts)


def class_table(
    names: Sequence[str], numbers: Float[np.ndarray, "n classes"], classes: Sequence[str]
) -> Table:
    """The class of each input, the one with the largest number, and the numbers of all classes.

    Args:
        names: names of the inputs.
        numbers: probabilities or scores, a row for each input; one that holds NaN has no class.
        classes: names of the classes, which head the columns.
    """
    rows = [
        (
            name,
            NONE if np.isnan(row).any() else classes[int(row.argmax())],
            *(f"{number:.6f}" for number in row),
        )
        for name, row in zip(names, numbers, strict=True)
    ]
    return Table(("input", "class", *classes), tuple(rows))
