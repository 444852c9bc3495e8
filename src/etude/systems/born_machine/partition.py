"""Norms of matrix product states: D x D environments, O(sites d D^3), rescaled at every site.

The environment of bond i from the left is ``E[a, b] = sum over x of conj(v[a]) v[b]`` for the
vectors v(x_1 .. x_i) that arrive there: a chain is traced with itself, physical indices with a
delta, which is an integral because the embedding is orthonormal.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from etude.systems.born_machine.mps import rescale


def environments(
    stack: Inexact[Array, "sites D d D"],
    start: Inexact[Array, "D D"] | None = None,
    *,
    reverse: bool = False,
) -> tuple[Inexact[Array, "D D"], Float[Array, ""], Inexact[Array, "sites D D"]]:
    """The environment past the last site, the logarithm of its scale, and those before each site.

    From the left, entry i is the environment on the left of site i; with `reverse`, the one on
    the right of site i. Each has 1 as its largest entry. `start` is e_0 e_0' by default.

    >>> import jax.numpy as jnp
    >>> last, log_scale, _ = environments(jnp.eye(2).reshape(1, 2, 1, 2).repeat(3, 0))
    >>> last.tolist(), float(log_scale)
    ([[1.0, 0.0], [0.0, 0.0]], 0.0)
    """
    D = stack.shape[1]
    if start is None:
        start = jnp.zeros((D, D), stack.dtype).at[0, 0].set(1)
    step = _from_right if reverse else _from_left
    end, (scales, before) = jax.lax.scan(step, start, stack, reverse=reverse)
    return end, jnp.log(scales).sum(), before


def class_environments(
    left: Inexact[Array, "D D"], centre: Inexact[Array, "D C D"], right: Inexact[Array, "D D"]
) -> Float[Array, " C"]:
    """Z_c between two environments, up to their scales."""
    half = jnp.einsum("ab,bcd->acd", left, centre)
    half = jnp.einsum("acd,ed->ace", half, right)
    return jnp.einsum("ace,ace->c", centre.conj(), half).real


def through_class(
    centre: Inexact[Array, "D C D"], E: Inexact[Array, "D D"], *, reverse: bool = False
) -> Inexact[Array, "C D D"]:
    """An environment carried over the class site, for each class; from the right with `reverse`."""
    if reverse:
        half = jnp.einsum("bcd,ed->bce", centre, E)
        return jnp.einsum("ace,bce->cab", centre.conj(), half)
    half = jnp.einsum("ab,bcd->acd", E, centre)
    return jnp.einsum("ace,acd->ced", centre.conj(), half)


def log_class_norms(
    left: Inexact[Array, "L D d D"],
    centre: Inexact[Array, "D C D"],
    right: Inexact[Array, "R D d D"],
) -> Float[Array, " C"]:
    """log Z_c, of the integral of |psi(x, c)|^2 over x, for every class."""
    from_left, log_left, _ = environments(left)
    from_right, log_right, _ = environments(right, reverse=True)
    # A class may be far smaller than the others: its slice has a scale of its own.
    unit, scale = rescale(centre, (0, 2))
    norms = class_environments(from_left, unit, from_right)
    tiny = jnp.finfo(norms.dtype).tiny
    return jnp.log(jnp.maximum(norms, tiny)) + 2 * jnp.log(scale) + log_left + log_right


def _from_left(E, tensor):
    half = jnp.einsum("ab,bkd->akd", E, tensor)
    after, scale = rescale(jnp.einsum("akc,akd->cd", tensor.conj(), half), (0, 1))
    return after, (scale, E)


def _from_right(E, tensor):
    half = jnp.einsum("bkd,cd->bkc", tensor, E)
    before, scale = rescale(jnp.einsum("akc,bkc->ab", tensor.conj(), half), (0, 1))
    return before, (scale, E)
