"""Class weights from the labels of a data set."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etude.errors import DataError
from etude.inputs import Values, check_count, class_numbers


def compute_class_weights(
    labels: Values, num_classes: int | None = None
) -> Float[Array, "classes"]:
    """Weights inverse to how often a class occurs: `samples / (present classes * count)`.

    `labels` are class numbers `(samples,)` of any integer type. The mean weight of a sample is
    one. A class that does not occur has weight 1. `num_classes` is the largest label plus one
    unless given. Raises `DataError` for no labels, labels out of range, or other shapes and
    dtypes; ValueError for a `num_classes` that is no whole number of 1 or more. King and
    Zeng 2001, as scikit-learn's "balanced".

    >>> import numpy as np
    >>> compute_class_weights(np.array([0, 0, 2, 2, 2, 2]), 4).tolist()
    [1.5, 1.0, 0.75, 1.0]
    """
    if num_classes is not None:
        check_count("compute_class_weights", "num_classes", num_classes)
    found = np.asarray(class_numbers("compute_class_weights", "labels", labels, num_classes))
    if not found.size:
        raise DataError("compute_class_weights: got no labels, expected one per sample.")
    counts = np.bincount(found, minlength=num_classes or 0)
    present = counts > 0
    weights = found.size / (present.sum() * np.where(present, counts, 1))
    return jnp.asarray(np.where(present, weights, 1.0), jnp.float32)
