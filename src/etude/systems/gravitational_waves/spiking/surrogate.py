"""Spikes: a step in the forward pass, a bump in place of its derivative in the backward pass.

>>> spike = SuperSpike(slope=10.0)
>>> spike(jnp.array([-0.1, 0.1])).tolist()
[0.0, 1.0]
>>> round(float(jax.grad(spike)(0.1)), 4)
0.25
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.errors import suggest


@dataclass(frozen=True)
class AbstractSurrogate(abc.ABC):
    """`spike(v)` is exactly 1 where v > 0 and 0 elsewhere; its derivative is `derivative(v)`.

    Args:
        slope: how narrow the bump is, in reciprocal units of v.

    Raises:
        ValueError: the slope is not positive.
    """

    slope: float

    def __post_init__(self):
        if not self.slope > 0:
            raise ValueError(f"{type(self).__name__}: slope={self.slope}; expected slope > 0.")

    @abc.abstractmethod
    def derivative(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """What stands for the derivative of the step: largest, and not zero, at v = 0."""

    def __call__(self, v: Float[Array, "..."] | float) -> Float[Array, "..."]:
        return _step(self, jnp.asarray(v))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _step(surrogate: AbstractSurrogate, v: Array) -> Array:
    return (v > 0).astype(v.dtype)


@_step.defjvp
def _bump(surrogate: AbstractSurrogate, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (v,), (change,) = primals, tangents
    return _step(surrogate, v), surrogate.derivative(v) * change


@dataclass(frozen=True)
class FastSigmoid(AbstractSurrogate):
    """The derivative of the fast sigmoid ``(1 + kv / (1 + k|v|)) / 2``; its area is 1.

    ``k / 2 / (1 + k|v|)**2``, a peak of 1 at the default slope. The same shape as `SuperSpike`,
    which keeps the peak instead of the area as the slope changes.

    >>> float(FastSigmoid(4.0).derivative(jnp.array(0.0)))
    2.0
    """

    slope: float = 2.0

    def derivative(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        return 0.5 * self.slope / (1 + self.slope * jnp.abs(v)) ** 2


@dataclass(frozen=True)
class Arctan(AbstractSurrogate):
    """The derivative of ``1/2 + arctan(pi k v / 2) / pi``; its area is 1.

    ``k / 2 / (1 + (pi k v / 2)**2)`` (Fang et al., ICCV 2021), a peak of 1 at the default slope.

    >>> float(Arctan().derivative(jnp.array(0.0)))
    1.0
    """

    slope: float = 2.0

    def derivative(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        return 0.5 * self.slope / (1 + (0.5 * jnp.pi * self.slope * v) ** 2)


@dataclass(frozen=True)
class Triangular(AbstractSurrogate):
    """``max(0, 1 - k|v|)`` (Esser et al., PNAS 2016): a peak of 1, and zero beyond ``1 / k``.

    >>> Triangular(2.0).derivative(jnp.array([0.0, 0.25, 1.0])).tolist()
    [1.0, 0.5, 0.0]
    """

    slope: float = 1.0

    def derivative(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.maximum(0, 1 - self.slope * jnp.abs(v))


@dataclass(frozen=True)
class SuperSpike(AbstractSurrogate):
    """``1 / (1 + k|v|)**2`` (Zenke and Ganguli, Neural Computation 2018): a peak of 1.

    >>> float(SuperSpike(10.0).derivative(jnp.array(-0.1)))
    0.25
    """

    slope: float = 10.0

    def derivative(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        return 1 / (1 + self.slope * jnp.abs(v)) ** 2


SURROGATES: dict[str, Callable[..., AbstractSurrogate]] = {
    "fast_sigmoid": FastSigmoid,
    "arctan": Arctan,
    "triangular": Triangular,
    "superspike": SuperSpike,
}


def spike_function(name: str, slope: float | None = None) -> AbstractSurrogate:
    """The surrogate of a name, with its own slope unless one is given.

    Raises:
        ValueError: the name is unknown, or the slope not positive.

    >>> spike_function("triangular", 2.0)
    Triangular(slope=2.0)
    """
    if name not in SURROGATES:
        raise ValueError(f"surrogate {name!r} is unknown. {suggest(name, SURROGATES)}")
    kind = SURROGATES[name]
    return kind() if slope is None else kind(slope)
