"""The contrastive encoder: latents of whitened strain, and a context that sums up the past.

>>> encoder = CPCEncoder(16, key=jax.random.key(0))
>>> latents, context = encoder(jnp.zeros((2048, 2)))
>>> latents.shape, context.shape, encoder.dt
((48, 16), (48, 16), 0.015625)
"""

from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from etude.nn import CausalConvolution
from etude.systems.gravitational_waves.context import CausalTransformer, Recurrence
from etude.systems.gravitational_waves.quadrature import QuadratureFilters

Context = Literal["gru", "transformer"]

_RATE, _DECIMATION, _STEP = 2048.0, 4, 2  # Hz; samples; samples of the lower rate


class Features(NamedTuple):
    """What the encoder makes of a window.

    Attributes:
        latents: what each step makes of the strain around it.
        context: what each step makes of its latents and all before.
    """

    latents: Float[Array, "time latent"]
    context: Float[Array, "time context"]


class CPCEncoder(eqx.Module):
    """Strided convolutions and a causal context, of one window `(samples, detectors)`.

    The first convolution is long (1/4 s) and in quadrature, shared by the detectors; the second
    joins the detectors and sees 31 ms at once, more than light needs from one to the other. A step
    of the latents is 16 ms. Both outputs are causal but for 16 ms of the low-pass filter.

    Args:
        latent_dim: numbers per step.
        detectors: channels of the strain.
        filters: pairs of filters of the first convolution.
        taps: length of these filters at 512 Hz.
        kernels: what the filters start from, `(2, taps, filters)`, as `chirp_filters`, instead of
            at random.
        channels: channels of the second convolution.
        context: "gru" or "transformer".
        context_dim: numbers per step of the context; `latent_dim` if None.
        key: random key of the initial weights.

    Raises:
        ValueError: an unknown context.
    """

    filters: QuadratureFilters
    join: CausalConvolution
    mix: CausalConvolution
    norm: eqx.nn.LayerNorm
    summary: Recurrence | CausalTransformer
    latent_dim: int = eqx.field(static=True)
    context_dim: int = eqx.field(static=True)

    def __init__(
        self,
        latent_dim: int = 128,
        *,
        detectors: int = 2,
        filters: int = 24,
        taps: int = 128,
        kernels: Float[Array, "2 taps filters"] | None = None,
        channels: int = 64,
        context: Context = "gru",
        context_dim: int | None = None,
        key: PRNGKeyArray,
    ):
        if context not in get_args(Context):
            raise ValueError(
                f"CPCEncoder: context={context!r}; expected one of {get_args(Context)}."
            )
        keys = jax.random.split(key, 4)
        if kernels is None:
            kernels = taps**-0.5 * jax.random.normal(keys[0], (2, taps, filters))
        kernels = jnp.asarray(kernels)
        self.filters = QuadratureFilters(kernels, decimation=_DECIMATION, stride=_STEP)
        inputs = detectors * kernels.shape[2]
        self.join = CausalConvolution(inputs, channels, taps=8, stride=4, key=keys[1])
        self.mix = CausalConvolution(channels, latent_dim, taps=4, key=keys[2])
        self.norm = eqx.nn.LayerNorm(latent_dim)
        self.latent_dim, self.context_dim = latent_dim, context_dim or latent_dim
        summary = Recurrence if context == "gru" else CausalTransformer
        self.summary = summary(latent_dim, self.context_dim, key=keys[3])

    @property
    def dt(self) -> float:
        """Seconds from one step to the next."""
        return self.join.stride * self.filters.stride * self.filters.decimation / _RATE

    def __call__(self, window: Float[Array, "samples detectors"]) -> Features:
        """Latents and context of a window at 2048 Hz, whose first quarter second has none."""
        joined = jax.nn.relu(self.join(self.filters(window)))
        latents = jax.vmap(self.norm)(jax.nn.relu(self.mix(joined)))
        return Features(latents, self.summary(latents))
