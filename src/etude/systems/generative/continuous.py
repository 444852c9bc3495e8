"""The likelihood of a continuous flow, by diffrax."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from etude.systems.generative.denoisers import Denoiser, answer

#: Steps of the solver, at most, for an example.
MAX_STEPS = 1024


def _diffrax() -> Any:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(
            "The likelihood of a continuous flow needs diffrax: pip install 'etude[generative]'."
        ) from error
    return diffrax


def log_density(
    net: Denoiser,
    x: Float[Array, "n *shape"],
    labels: Float[Array, "n classes"] | None,
    key: Key[Array, ""] | None,
    tolerance: float,
) -> Float[Array, " n"]:
    """log p of the ends of a flow that begins with normal noise, in nats (Chen et al. 2018).

    d log p / dt = -div(velocity) along the flow. Every example has steps of its own, so that what
    is found does not depend on those beside it: NaN where the solver fails, or x is not finite.
    """
    diffrax = _diffrax()
    keys = None if key is None else jax.random.split(key, len(x))

    def of_one(x: Array, label: Array | None, key: Array | None) -> Array:
        def velocity(x: Array, time: Array) -> Array:
            return answer(net, x[None], time[None], None if label is None else label[None])[0]

        # The solver never ends where it begins with NaN, and others would wait for it.
        finite = jnp.isfinite(x).all()
        x = jnp.where(finite, x, 0)
        probe = None if key is None else jax.random.rademacher(key, x.shape, x.dtype)

        def field(time: Array, state: tuple[Array, Array], _: Any) -> tuple[Array, Array]:
            time = jnp.asarray(time, x.dtype)
            return _with_divergence(lambda x: velocity(x, time), state[0], probe)

        with jax.numpy_dtype_promotion("standard"):
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                diffrax.Tsit5(),
                t0=1.0,
                t1=0.0,
                dt0=None,
                y0=(x, jnp.zeros((), x.dtype)),
                stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
                max_steps=MAX_STEPS,
                throw=False,
            )
        done = finite & (found.result == diffrax.RESULTS.successful)
        noise, gained = (leaf[-1] for leaf in found.ys)
        # From t = 1 to 0 the integral of the divergence has the sign of the correction.
        log = gained - 0.5 * jnp.sum(noise**2) - 0.5 * x.size * math.log(2 * math.pi)
        return jnp.where(done, log, jnp.nan)

    axes = (0, None if labels is None else 0, None if keys is None else 0)
    return jax.vmap(of_one, in_axes=axes)(x, labels, keys)


def _with_divergence(
    field: Any, x: Float[Array, "*shape"], probe: Float[Array, "*shape"] | None
) -> tuple[Float[Array, "*shape"], Float[Array, ""]]:
    """A velocity, and its divergence: exact, or estimated by one probe (Hutchinson 1990)."""
    if probe is not None:
        value, pushed = jax.jvp(field, (x,), (probe,))
        return value, jnp.sum(probe * pushed)
    value, push = jax.linearize(field, x)
    units = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    return value, jnp.trace(jax.vmap(push)(units).reshape(x.size, x.size))
