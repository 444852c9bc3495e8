"""Settings of losses and metrics: names, counts, and weights of classes."""

from typing import Any, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.errors import suggest
from etude.inputs.arrays import described, read, refusal


def one_of(owner: str, field: str, value: Any, choices: Any) -> None:
    """Raises ValueError for a value that a Literal type does not list, naming the nearest ones."""
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{owner}: got {field}={value!r}. {suggest(str(value), known)}")


def check_positive(owner: str, field: str, value: int) -> None:
    """Raises ValueError for a number of classes, bins or ranks below one."""
    if value < 1:
        raise ValueError(f"{owner}: got {field}={value}, expected 1 or more.")


def class_vector(
    owner: str, name: str, values: Any, classes: int, dtype: Any
) -> Float[Array, "classes"]:
    """One number for each class, in the dtype of the computation; DataError for other shapes."""
    found = read(owner, name, values)
    if found.shape != (classes,):
        raise refusal(
            owner, described(name, found), f"({classes},)", "Give one number for each class."
        )
    return jnp.asarray(found).astype(dtype)
