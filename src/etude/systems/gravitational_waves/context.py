"""Causal summaries of a sequence: a gated recurrence, and a transformer that sees the past only.

>>> Recurrence(4, 6, key=jax.random.key(0))(jnp.ones((10, 4))).shape
(10, 6)
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


class Recurrence(eqx.Module):
    """A gated recurrent unit over time (Cho et al. 2014); every number is within (-1, 1)."""

    cell: eqx.nn.GRUCell

    def __init__(self, inputs: int, outputs: int, *, key: PRNGKeyArray):
        self.cell = eqx.nn.GRUCell(inputs, outputs, key=key)

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """The state after each step, from zero."""

        def step(state: Array, now: Array) -> tuple[Array, Array]:
            state = self.cell(now, state)
            return state, state

        return jax.lax.scan(step, jnp.zeros(self.cell.hidden_size, x.dtype), x)[1]


class CausalTransformer(eqx.Module):
    """One pre-norm transformer block with a causal mask and sinusoidal positions.

    The positions are those of Vaswani et al. 2017; the output is squashed to (-1, 1), so that the
    thresholds of a spike bridge mean the same as after a `Recurrence`.

    >>> CausalTransformer(4, 8, key=jax.random.key(0))(jnp.ones((10, 4))).shape
    (10, 8)
    """

    enter: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    norms: tuple[eqx.nn.LayerNorm, eqx.nn.LayerNorm]
    widen: eqx.nn.Linear
    narrow: eqx.nn.Linear

    def __init__(self, inputs: int, outputs: int, *, heads: int = 4, key: PRNGKeyArray):
        if outputs % (2 * heads):
            raise ValueError(
                f"CausalTransformer: outputs={outputs} and heads={heads}; expected outputs to be "
                f"a multiple of {2 * heads}, such as {2 * heads * (outputs // (2 * heads) + 1)}."
            )
        keys = jax.random.split(key, 4)
        self.enter = eqx.nn.Linear(inputs, outputs, key=keys[0])
        self.attention = eqx.nn.MultiheadAttention(heads, outputs, key=keys[1])
        self.norms = (eqx.nn.LayerNorm(outputs), eqx.nn.LayerNorm(outputs))
        self.widen = eqx.nn.Linear(outputs, 4 * outputs, key=keys[2])
        self.narrow = eqx.nn.Linear(4 * outputs, outputs, key=keys[3])

    def __call__(self, x: Float[Array, "time inputs"]) -> Float[Array, "time outputs"]:
        """What each step makes of itself and the steps before."""
        time = len(x)
        y = jax.vmap(self.enter)(x)
        y = y + jnp.asarray(_positions(time, y.shape[1]), x.dtype)
        normed = jax.vmap(self.norms[0])(y)
        past = jnp.tril(jnp.ones((time, time), bool))
        y = y + self.attention(normed, normed, normed, mask=past)
        wide = jax.nn.gelu(jax.vmap(self.widen)(jax.vmap(self.norms[1])(y)))
        return jnp.tanh(y + jax.vmap(self.narrow)(wide))


def _positions(time: int, width: int) -> np.ndarray:
    angles = np.arange(time)[:, None] / 1e4 ** (np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
