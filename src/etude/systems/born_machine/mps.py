"""Contraction of matrix product states by scans, rescaled at every site.

A chain is a stack of tensors (sites, D, d, D), axes left bond, physical, right bond, closed by the
unit vector e_0 at its outer end. Two half-chains meet at the class site. After each site the
vector is divided by its largest entry and the logarithm of that entry is summed apart: the
product never depends on the scale, so gradients do not either, and the chain may be long.
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Inexact


def contract(
    stack: Inexact[Array, "sites D d D"],
    features: Inexact[Array, "sites batch d"],
    *,
    reverse: bool = False,
) -> tuple[Inexact[Array, "batch D"], Float[Array, " batch"]]:
    """The vectors at the inner end of a half-chain, and the logarithms of their scales.

    The product is ``vector * exp(log_scale)``. From the first site to the last; with `reverse`
    from the last to the first, for the half on the right of the class site.

    >>> import jax.numpy as jnp
    >>> stack = 2.0 * jnp.eye(3).reshape(1, 3, 1, 3).repeat(500, 0)
    >>> vector, log_scale = contract(stack, jnp.ones((500, 1, 1)))
    >>> vector.tolist(), round(float(log_scale[0]) / 500, 4)
    ([[1.0, 0.0, 0.0]], 0.6931)
    """
    _, D, d, _ = stack.shape
    batch = features.shape[1]

    # Samples are columns, so that the matrices of the chain multiply from the left: twice as fast.
    def from_left(v, site):
        tensor, phi = site
        mixed = (v[:, None, :] * phi[None, :, :]).reshape(D * d, batch)
        return rescale(tensor.reshape(D * d, D).T @ mixed, 0)

    def from_right(v, site):
        tensor, phi = site
        mixed = (phi[:, None, :] * v[None, :, :]).reshape(d * D, batch)
        return rescale(tensor.reshape(D, d * D) @ mixed, 0)

    start = jnp.zeros((D, batch), stack.dtype).at[0].set(1)
    step = from_right if reverse else from_left
    columns = jnp.swapaxes(features, 1, 2)
    end, scales = jax.lax.scan(step, start, (stack, columns), reverse=reverse)
    return end.T, jnp.log(scales).sum(0)


def largest(v: Inexact[Array, "..."], axis: int | tuple[int, ...]) -> Float[Array, "..."]:
    """The largest absolute (real or imaginary) part along `axis`; 1 where all are zero."""
    scale = _size(v).max(axis)
    return jnp.where(scale > 0, scale, 1)


def rescale(
    v: Inexact[Array, "..."], axis: int | tuple[int, ...]
) -> tuple[Inexact[Array, "..."], Float[Array, "..."]]:
    """`v` divided by its largest entry along `axis`, a constant to derivatives; and that entry.

    >>> import jax.numpy as jnp
    >>> v, scale = rescale(jnp.array([[2.0, -4.0], [0.0, 0.0]]), 1)
    >>> v.tolist(), scale.tolist()
    ([[0.5, -1.0], [0.0, 0.0]], [4.0, 1.0])
    """
    scale = largest(stop_gradient(v), axis)
    return v / jnp.expand_dims(scale, axis).astype(v.dtype), scale


def log_square(v: Inexact[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log |v|^2, without underflow of the square; for zero a finite value below all others.

    >>> import jax.numpy as jnp
    >>> log_square(jnp.array([1e-30, 1.0])).round(2).tolist()
    [-138.16000366210938, 0.0]
    """
    size = _size(stop_gradient(v))
    scale = jnp.maximum(size, jnp.finfo(size.dtype).tiny)
    unit = v / scale.astype(v.dtype)
    square = unit.real**2 + unit.imag**2 if jnp.iscomplexobj(v) else unit**2
    return jnp.log(jnp.maximum(square, jnp.finfo(square.dtype).tiny)) + 2 * jnp.log(scale)


def amplitudes(
    left: Inexact[Array, "L D d D"],
    centre: Inexact[Array, "D C D"],
    right: Inexact[Array, "R D d D"],
    features: Inexact[Array, "sites batch d"],
) -> tuple[Inexact[Array, "batch C"], Float[Array, " batch"]]:
    """psi(x, c) of every class, up to the factor exp(log_scale) that they share."""
    split = left.shape[0]
    before, log_before = contract(left, features[:split])
    after, log_after = contract(right, features[split:], reverse=True)
    half = jnp.einsum("bl,lcr->bcr", before, centre)
    return jnp.einsum("bcr,br->bc", half, after), log_before + log_after


def _size(v: Inexact[Array, "..."]) -> Float[Array, "..."]:
    return jnp.maximum(jnp.abs(v.real), jnp.abs(v.imag)) if jnp.iscomplexobj(v) else jnp.abs(v)
