"""How the weight of the physics grows while a network learns.

>>> import jax.numpy as jnp
>>> [round(float(RAMPS["linear"](jnp.array(p))), 2) for p in (0.0, 0.5, 1.0)]
[0.0, 0.5, 1.0]
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Ramp: TypeAlias = Literal["linear", "exponential", "step", "constant"]

_STEEPNESS = 5.0


def _exponential(progress: Float[Array, ""]) -> Float[Array, ""]:
    reached = 1 - jnp.exp(-_STEEPNESS * progress)
    return reached / (1 - jnp.exp(-_STEEPNESS * jnp.ones_like(progress)))


def _step(progress: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(progress < 0.4, 0.0, jnp.where(progress < 0.7, 0.5, 1.0))


#: Factor of the weight as a function of the share of the training that is done, 0 to 1. "step":
#: nothing, from 0.4 on half, from 0.7 on all. "exponential": fast at first, ``1 - exp(-5 p)``
#: scaled to end at 1.
RAMPS: dict[str, Callable[[Float[Array, ""]], Float[Array, ""]]] = {
    "linear": lambda progress: progress,
    "exponential": _exponential,
    "step": _step,
    "constant": jnp.ones_like,
}
