"""Filters in quadrature: how strongly a chirp of each shape is present, whatever its phase."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et
from etude.nn import decimate, strided_convolution


class QuadratureFilters(eqx.Module):
    """Long filters in pairs, and how strongly each pair responds: the root of the sum of squares.

    Every detector passes the same filters, at a lower sample rate. Two filters a quarter of a
    cycle apart respond to a chirp of their shape whatever its phase, as a matched filter does
    that maximises over it. In white noise of variance 1 filters of norm 1 respond by a Rayleigh
    variable, of which the mean is subtracted.

    Args:
        kernels: filters of norm 1, both of a pair along the first axis, at the lower sample rate;
            see `chirp_filters`. They learn like any weights.
        decimation: the sample rate divided by that of the filters.
        stride: samples at the lower rate from one response to the next.

    >>> kernels = jax.random.normal(jax.random.key(0), (2, 128, 3)) / 128**0.5
    >>> QuadratureFilters(kernels)(jnp.ones((2048, 2))).shape
    (192, 6)
    """

    kernels: Float[Array, "2 taps filters"]
    decimation: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)

    def __init__(
        self, kernels: Float[Array, "2 taps filters"], *, decimation: int = 4, stride: int = 2
    ):
        self.kernels, self.decimation, self.stride = kernels, decimation, stride

    def __call__(self, x: Float[Array, "samples detectors"]) -> Float[Array, "steps channels"]:
        """The responses, detector by detector along the last axis."""
        kernel = jnp.concatenate([self.kernels[0], self.kernels[1]], axis=1)[:, None]

        def respond(strain: Array) -> Array:
            low = decimate(strain, self.decimation)
            pairs = strided_convolution(low[:, None], kernel, self.stride, block=8)
            # In at least float32: the square of 256 is beyond float16.
            first, second = jnp.split(et.widened(pairs), 2, axis=1)
            # Within the root, so that the gradient is finite at zero.
            modulus = jnp.sqrt(first**2 + second**2 + 1e-6) - (jnp.pi / 2) ** 0.5
            return modulus.astype(pairs.dtype)

        responses = jax.vmap(respond)(x.T)
        return jnp.concatenate(list(responses), axis=1)
