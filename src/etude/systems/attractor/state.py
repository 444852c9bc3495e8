"""The state of an attractor network: one buffer of unit activities per layer."""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


class SequentialState(eqx.Module):
    """The activities of all layers, from the input (index 0) to the output (index -1).

    Buffer ``i`` has shape ``(batch, *sizes[i])``. "Clamping" needs no mask: the input has no row in
    the layer map and the sweeps skip the output's row, so neither buffer moves while settling.

    Args:
        sizes: features of each layer, an integer or a shape such as ``(height, width, channels)``.
        dtype: floating type of every buffer; inputs are converted to it.

    Raises:
        ValueError: fewer than two layers, or a size below one.

    >>> state = SequentialState((4, 8, 2)).init(jnp.ones((3, 4)))
    >>> [buffer.shape for buffer in state.buffers]
    [(3, 4), (3, 8), (3, 2)]
    >>> state.replace(-1, jnp.ones((3, 2))).readout.sum().item()
    6.0
    """

    buffers: tuple[Float[Array, ...], ...]
    sizes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    dtype: DTypeLike = eqx.field(static=True)

    def __init__(self, sizes: tuple | list, dtype: DTypeLike = jnp.float32):
        self.sizes = tuple((size,) if isinstance(size, int) else tuple(size) for size in sizes)
        if len(self.sizes) < 2 or any(n < 1 for size in self.sizes for n in size):
            raise ValueError(
                f"SequentialState: got sizes={sizes!r}; expected at least two layers (input and "
                "output), each with sizes of one or more."
            )
        self.dtype = jnp.dtype(dtype)
        self.buffers = self._zeros(1)

    def _zeros(self, batch: int) -> tuple[Array, ...]:
        return tuple(jnp.zeros((batch, *size), self.dtype) for size in self.sizes)

    def init(self, x: Array, y: Array | None = None) -> SequentialState:
        """A fresh state for a batch: the input is `x`, the output `y` or zero, the rest zero.

        Args:
            x: input, ``(batch, *sizes[0])``.
            y: output to clamp, ``(batch, *sizes[-1])``; zeros when absent.

        Raises:
            ValueError: a shape does not fit the sizes of the state.

        >>> SequentialState((2, 3, 1)).init(jnp.ones((5, 2)), jnp.ones((5, 1)))[1].shape
        (5, 3)
        """
        if x.ndim == 0:
            raise ValueError("SequentialState.init: x is a scalar; expected a batch of inputs.")
        state = eqx.tree_at(lambda s: s.buffers, self, self._zeros(x.shape[0]))
        state = state.replace(0, x)
        return state if y is None else state.replace(-1, y)

    def replace(self, index: int, value: Array) -> SequentialState:
        """The same state with buffer `index` (which may be negative) set to `value`.

        Raises:
            IndexError: no such layer.
            ValueError: `value` does not have the shape of the buffer.

        >>> SequentialState((2, 1)).replace(0, jnp.ones((1, 2)))[0].tolist()
        [[1.0, 1.0]]
        """
        expected = self[index].shape
        if value.shape != expected:
            raise ValueError(
                f"SequentialState: layer {index} holds {expected} (batch, features), got "
                f"{value.shape}. Reshape the array (it has {math.prod(value.shape)} elements), or "
                "build the state with other sizes."
            )
        return eqx.tree_at(lambda s: s.buffers[index], self, jnp.asarray(value).astype(self.dtype))

    def __getitem__(self, index: int) -> Array:
        if not -len(self.sizes) <= index < len(self.sizes):
            raise IndexError(f"SequentialState has {len(self.sizes)} layers; there is no {index}.")
        return self.buffers[index]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def readout(self) -> Array:
        """The output buffer, ``(batch, *sizes[-1])``."""
        return self.buffers[-1]
