"""Numbers of `context.hyper` that an exchange multiplies.

>>> import jax.numpy as jnp
>>> times("rate", jnp.float32(0.5), 3), times("depth", jnp.int32(2), 0.8)
(Array(1.5, dtype=float32), Array(2, dtype=int32))
"""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Shaped

from etude.engine.numbers import is_real
from etude.errors import ConfigurationError


def times(name: str, number: Shaped[Array, ""], factor: Any) -> Shaped[Array, ""]:
    """A varied number times a factor, of the same type; a whole number is rounded.

    Raises `ConfigurationError` for a truth value, a factor that is no finite number, and one that
    the type of the number does not hold.
    """
    if number.dtype == bool:
        raise ConfigurationError(
            f"An exchange has a factor for {name!r}, which is a truth value. Leave it out of the "
            "factors (Selection: of perturb); a copy has that of its source."
        )
    if not (is_real(factor) and math.isfinite(factor)):
        raise ConfigurationError(
            f"An exchange has factors that are finite numbers; got {factor!r} for {name!r}."
        )
    value = np.asarray(number)
    if np.issubdtype(value.dtype, np.integer):
        found = round(int(value) * float(factor))
        bounds = np.iinfo(value.dtype)
        fits = bounds.min <= found <= bounds.max
    else:
        with np.errstate(over="ignore", under="ignore"):
            found = value * np.asarray(factor, value.dtype)
        fits = np.isfinite(found) or not np.isfinite(value)
    if not fits:
        raise ConfigurationError(
            f"An exchange makes {name!r} too large for {value.dtype}: {value} times {factor!r}. "
            "Pass a smaller factor, or leave out of perturb what need not change."
        )
    return jax.device_put(np.asarray(found, value.dtype), number.sharding)
