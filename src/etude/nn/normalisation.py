"""Batch normalisation as one multiplication and one addition, with statistics that are carried.

>>> norm = BatchNorm(2)
>>> x = jnp.array([[1.0, 0.0], [3.0, 4.0]])
>>> y, moved = norm(x)
>>> y.round(3).tolist(), moved.running.value["mean"]
([[-1.0, -1.0], [1.0, 1.0]], Array([0.2, 0.2], dtype=float32))
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from etude.engine.leaf_roles import Carry
from etude.engine.numbers import is_real
from etude.engine.precision import widened
from etude.inputs import check_count, check_real


class BatchNorm(eqx.Module):
    """Normalises each channel, the last axis, over all others (Ioffe and Szegedy 2015).

    The statistics are folded into ``x * a + c``, one pass over the data instead of four. In
    training they are those of the batch, and the running ones move. These are an `etude.Carry`,
    which no optimizer sees and no half precision shortens; they come back in the new layer, which
    the loss returns within its model. In inference mode (`equinox.nn.inference_mode`, as in every
    validation) the running ones are used, and the layer comes back as it is.

    Args:
        channels: length of the last axis.
        momentum: part of the running statistics that each batch replaces, as in torch.
        eps: added to the variance.

    Raises:
        ValueError: `channels` that are no whole number of 1 or more, a momentum outside 0..1, an
            eps that is not above 0, or an input that is empty, of integers, or of other channels.
    """

    scale: Float[Array, " channels"]
    bias: Float[Array, " channels"]
    running: Carry
    momentum: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    inference: bool

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5):
        check_count("BatchNorm", "channels", channels)
        check_real("BatchNorm", "eps", eps, above=0)
        if not (is_real(momentum) and 0 < momentum <= 1):
            raise ValueError(
                f"BatchNorm: got momentum={momentum!r}, expected a number above 0 and at most 1."
            )
        self.scale, self.bias = jnp.ones(channels), jnp.zeros(channels)
        self.running = Carry({"mean": jnp.zeros(channels), "variance": jnp.ones(channels)})
        self.momentum, self.eps = momentum, eps
        self.inference = False

    def __call__(
        self, x: Float[Array, "*axes channels"]
    ) -> tuple[Float[Array, "*axes channels"], "BatchNorm"]:
        """What is normalised, and the layer with its statistics moved."""
        # A narrower input would be spread over all channels, and integers cut the result.
        if (
            x.ndim < 1
            or x.shape[-1] != len(self.scale)
            or not jnp.issubdtype(x.dtype, jnp.floating)
        ):
            raise ValueError(
                f"BatchNorm: got {x.dtype} of shape {x.shape}, expected floating-point numbers "
                f"(..., {len(self.scale)}), the channels last."
            )
        running = self.running.value
        if self.inference:
            return self._folded(x, running["mean"], running["variance"]), self
        axes = tuple(range(x.ndim - 1))
        wide = widened(x)
        mean = jnp.mean(wide, axes)
        variance = jnp.mean(jnp.square(wide - mean), axes)
        count = x.size // x.shape[-1]
        if count == 0:
            raise ValueError(
                f"BatchNorm: got shape {x.shape}, expected at least one sample: the running "
                "statistics would become NaN."
            )
        # Unbiased, as in torch: what is normalised by later is an estimate of the population's.
        moved = {"mean": mean, "variance": variance * (count / max(count - 1, 1))}
        kept = jax.tree.map(
            lambda old, new: old + self.momentum * (jax.lax.stop_gradient(new) - old),
            running,
            moved,
        )
        layer = eqx.tree_at(lambda norm: norm.running, self, Carry(kept))
        return self._folded(x, mean, variance), layer

    def _folded(self, x: Array, mean: Array, variance: Array) -> Array:
        a = self.scale.astype(mean.dtype) * jax.lax.rsqrt(variance + self.eps)
        c = self.bias.astype(mean.dtype) - mean * a
        return x * a.astype(x.dtype) + c.astype(x.dtype)
