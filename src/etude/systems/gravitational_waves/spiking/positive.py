"""Positive quantities that may be learnt: time constants and thresholds."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import etude as et


class Positive(eqx.Module):
    """``initial * exp(log_ratio)``: positive whatever an optimizer does to the logarithm.

    What is learnt starts at zero and is relative to the initial value, so that weight decay
    pulls a time constant to where it started and not to one second.

    Args:
        name: what it is called in errors.
        initial: a value, or one per feature.
        shape: shape of what is learnt, broadcast with `initial`.
        learnable: whether it is learnt; otherwise it is `Fixed`.

    Raises:
        ValueError: an initial value is not positive and finite, or has another shape.

    >>> tau = Positive("time_constant", 0.02, (3,), learnable=True)
    >>> tau.value.shape, round(float(tau.value[0]), 3)
    ((3,), 0.02)
    """

    initial: et.Fixed
    log_ratio: Float[Array, "..."] | None

    def __init__(
        self, name: str, initial: ArrayLike, shape: tuple[int, ...], learnable: bool = False
    ):
        values = np.asarray(initial, np.float32)
        if values.shape not in ((), shape):
            raise ValueError(f"{name} has shape {values.shape}; expected one number or {shape}.")
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name}={initial}; expected positive, finite values.")
        self.initial = et.Fixed(jnp.asarray(values))
        self.log_ratio = jnp.zeros(shape) if learnable else None

    @property
    def value(self) -> Float[Array, "..."]:
        """The values now, in at least float32: near 1, where decays are, half is coarse."""
        initial = et.widened(self.initial.value)
        if self.log_ratio is None:
            return initial
        return initial * jnp.exp(et.widened(self.log_ratio)).astype(initial.dtype)
