"""Settings of losses, metrics and augmentations: names, numbers, flags, and weights of classes."""

from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etude.engine.numbers import is_count, is_real
from etude.errors import suggest
from etude.inputs.arrays import as_floats, concrete, described, read, refusal
from etude.kinds import is_a


def one_of(owner: str, field: str, value: Any, choices: Any) -> None:
    """Raises ValueError for a value that a Literal type does not list, naming the nearest ones."""
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"{owner}: got {field}={value!r}. {suggest(str(value), known)}")


def check_count(owner: str, field: str, value: Any, least: int = 1) -> None:
    """Raises ValueError for what is no whole number of at least `least`.

    >>> check_count("TopKAccuracy", "k", 2.5)
    Traceback (most recent call last):
    ValueError: TopKAccuracy: got k=2.5, expected a whole number of 1 or more.
    """
    if not is_count(value, least):
        raise ValueError(
            f"{owner}: got {field}={value!r}, expected a whole number of {least} or more."
        )


def check_real(
    owner: str,
    field: str,
    value: Any,
    least: float | None = None,
    most: float = float("inf"),
    *,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """Raises ValueError for what is no finite number in least..most, or between above and below.

    >>> check_real("cross_entropy", "smoothing", float("nan"), 0, 1)
    Traceback (most recent call last):
    ValueError: cross_entropy: got smoothing=nan, expected a number in 0..1.
    """
    if (
        is_real(value)
        and abs(value) < float("inf")
        and (least is None or value >= least)
        and value <= most
        and (above is None or value > above)
        and (below is None or value < below)
    ):
        return
    if above is not None:
        expected = f"a finite number above {above}" + ("" if below is None else f", below {below}")
    elif most < float("inf"):
        expected = f"a number in {least}..{most}"
    else:
        expected = "a finite number" + ("" if least is None else f" of {least} or more")
    raise ValueError(f"{owner}: got {field}={value!r}, expected {expected}.")


def check_flags(owner: str, **flags: Any) -> None:
    """Raises ValueError for what is no truth value: a text, such as "no", would count as true."""
    for field, flag in flags.items():
        if not is_a(flag, bool | np.bool_):
            raise ValueError(f"{owner}: got {field}={flag!r}, expected True or False.")


def class_vector(
    owner: str, name: str, values: Any, classes: int, dtype: Any
) -> Float[Array, "classes"]:
    """One number of 0 or more for each class, in the dtype of the computation.

    Raises DataError for other shapes and for negative numbers, with which a loss has no bound;
    under jit these become NaN.
    """
    found = read(owner, name, values)
    if found.shape != (classes,):
        raise refusal(
            owner, described(name, found), f"({classes},)", "Give one number for each class."
        )
    return not_negative(owner, name, as_floats(found).astype(dtype))


def not_negative(owner: str, name: str, weights: Float[Array, "..."]) -> Float[Array, "..."]:
    """Weights as they are; DataError for a negative one, which becomes NaN under jit."""
    wrong = weights < 0
    seen = concrete(wrong)
    if seen is not None and seen.any():
        raise refusal(
            owner,
            f"{name} down to {float(jnp.nanmin(weights))}",
            "weights of 0 or more",
            "Leave out with 0 what does not count.",
        )
    return jnp.where(wrong, jnp.nan, weights)
