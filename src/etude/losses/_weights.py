"""Class weights from the labels of a data set."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def compute_class_weights(
    labels: Int[np.ndarray, "samples"] | Int[Array, "samples"], num_classes: int | None = None
) -> Float[Array, "classes"]:
    """Weights inverse to how often a class occurs: `samples / (present classes * count)`.

    The mean weight of a sample is one. A class that does not occur has weight 1. `num_classes`
    is the largest label plus one unless given. Raises ValueError for no labels or labels out of
    range. King and Zeng 2001, as scikit-learn's "balanced".

    >>> import numpy as np
    >>> compute_class_weights(np.array([0, 0, 2, 2, 2, 2]), 4).tolist()
    [1.5, 1.0, 0.75, 1.0]
    """
    found = np.asarray(labels)
    if not found.size:
        raise ValueError("compute_class_weights: got no labels, expected one per sample.")
    classes = int(found.max()) + 1 if num_classes is None else num_classes
    if found.min() < 0 or found.max() >= classes:
        raise ValueError(
            f"compute_class_weights: got labels from {found.min()} to {found.max()}, expected 0 "
            f"to {classes - 1}. Renumber the labels, or raise num_classes."
        )
    counts = np.bincount(found, minlength=classes)
    present = counts > 0
    weights = found.size / (present.sum() * np.where(present, counts, 1))
    return jnp.asarray(np.where(present, weights, 1.0), jnp.float32)
