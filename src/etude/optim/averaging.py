"""How fast an average of weights forgets, as a function of the updates made."""

from dataclasses import dataclass
from typing import final

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from etude.errors import ConfigurationError


@final
@dataclass(frozen=True)
class WarmingDecay:
    """The decay of an average that is short at first: min(decay, (1 + n) / (10 + n)).

    Without it, an average with a decay of 0.9999 consists of untrained weights for ten thousand
    updates. (TensorFlow's `ExponentialMovingAverage` with `num_updates`, and diffusion models
    since.)

    Attributes:
        decay: in the long run.

    Raises `ConfigurationError` for a decay outside [0, 1).

    >>> [round(float(WarmingDecay(0.9)(jnp.int32(n))), 2) for n in (0, 10, 1000)]
    [0.1, 0.55, 0.9]
    """

    decay: float = 0.999

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ConfigurationError(f"WarmingDecay: decay is in [0, 1); got {self.decay}.")

    def __call__(self, updates: Int[Array, ""]) -> Float[Array, ""]:
        """The decay at the update that is made after so many."""
        made = updates.astype(jnp.float32)
        return jnp.minimum(self.decay, (1 + made) / (10 + made))
