"""Langevin dynamics: samples of a density whose energy, -log p up to a constant, is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from etude.systems.generative.checks import positive_of, sizes_of

Rows = Float[Array, "n values"]
Energy = Callable[[Rows], Float[Array, " n"]]


@dataclass(frozen=True)
class Langevin:
    """Chains whose steps are x - size grad E(x) + sqrt(2 size) noise.

    By themselves they sample a density that is slightly too wide. Metropolis' rule (MALA, Roberts
    and Tweedie 1996) accepts or refuses each step, so that p(x) = exp(-E(x)) / Z stays as it is.

    Attributes:
        steps: how many.
        size: of a step; the best is of the order of the smallest variance of the density.
        adjusted: whether Metropolis' rule is applied.

    Raises:
        ConfigurationError: no step, or a size that is not positive.

    >>> chains, accepted = Langevin(200, 0.5)(
    ...     lambda x: 0.5 * (x**2).sum(-1), jax.random.key(0), jnp.zeros((2000, 1))
    ... )
    >>> round(float(chains.std()), 1), bool(accepted > 0.8)
    (1.0, True)
    """

    steps: int = 20
    size: float = 0.01
    adjusted: bool = True

    def __post_init__(self) -> None:
        sizes_of("Langevin", steps=self.steps)
        positive_of("Langevin", size=self.size)

    def __call__(
        self, energy: Energy, key: Key[Array, ""], start: Rows
    ) -> tuple[Rows, Float[Array, ""]]:
        """The chains after their steps, and the share of the steps that was accepted.

        Neither has a gradient. The energy of one example must not depend on the others.
        """

        def look(x: Rows) -> tuple[Float[Array, " n"], Rows]:
            values, back = jax.vjp(energy, x)
            return values, back(jnp.ones_like(values))[0]

        def step(state: tuple, key: Key[Array, ""]) -> tuple[tuple, Array]:
            x, value, slope = state
            first, second = jax.random.split(key)
            noise = math.sqrt(2 * self.size) * jax.random.normal(first, x.shape, x.dtype)
            new = x - self.size * slope + noise
            found, steep = look(new)
            if not self.adjusted:
                return (new, found, steep), jnp.ones(len(x), x.dtype)
            back = x - new + self.size * steep
            change = ((back**2).sum(-1) - (noise**2).sum(-1)) / (4 * self.size)
            chance = jax.random.uniform(second, value.shape, value.dtype)
            accept = jnp.log(chance) < value - found - change
            kept = (jnp.where(accept[:, None], new, x), jnp.where(accept, found, value))
            return (*kept, jnp.where(accept[:, None], steep, slope)), accept.astype(x.dtype)

        keys = jax.random.split(key, self.steps)
        (x, _, _), accepted = jax.lax.scan(step, (start, *look(start)), keys)
        return jax.lax.stop_gradient((x, accepted.mean()))
