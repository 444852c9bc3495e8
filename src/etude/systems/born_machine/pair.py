"""Two neighbouring tensors of a matrix product state, merged: fitted to data and split again.

The rest of the chain is isometric (mixed-canonical gauge), so the merged tensor M alone carries
the norm: Z = |M|_F^2 = 1. With the rest of the chain contracted with sample b to a row p_b on the
left and q_b on the right, each with the embedded number of its site, psi_b = p_b M q_b. This is
linear in M, which makes a search along a line as cheap as a look at a vector of the batch's size.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

ANGLES = 10


def fitted(
    pair: Inexact[Array, "left right"],
    before: Inexact[Array, "batch left"],
    after: Inexact[Array, "batch right"],
    *,
    steps: int,
    max_angle: float,
) -> Inexact[Array, "left right"]:
    """The pair after some steps down the negative log-likelihood -mean log |psi|^2 on |M| = 1.

    Each step turns M along the sphere, down the gradient, by the best of the angles 0, Newton's,
    `max_angle` and its halves, so that none makes the batch less likely. The gradient is
    2 (M - mean of conj(X_b) / conj(psi_b)), with X_b = dpsi_b/dM (Han et al., Physical Review X 8,
    031012).

    >>> import jax.numpy as jnp
    >>> pair = jnp.array([[0.8, 0.0], [0.0, 0.6]])
    >>> after = jnp.eye(2)                               # two samples, equally often
    >>> even = fitted(pair, after, after, steps=3, max_angle=1.0) ** 2
    >>> bool(jnp.allclose(even, jnp.eye(2) / 2, atol=1e-3))
    True
    """
    floor = _floor(before, after)
    fixed = jnp.asarray([0.0, *(max_angle * 0.5**k for k in range(ANGLES))], floor.dtype)

    def step(_, state):
        pair, psi = state
        ahead = (before / (len(psi) * psi[:, None])).conj().T @ after.conj() - pair
        ahead = normalised(ahead - _dot(pair, ahead).astype(pair.dtype) * pair)
        there = amplitudes(ahead, before, after)
        ratio = there / psi
        newton = ratio.real.mean() / (1 + (jnp.abs(ratio) ** 2).mean())
        angles = jnp.append(fixed, jnp.clip(newton, 0, max_angle))
        sine, cosine = jnp.sin(angles).astype(pair.dtype), jnp.cos(angles).astype(pair.dtype)
        turned = _floored(cosine[:, None] * psi + sine[:, None] * there, floor)
        # What is gained, rather than the likelihood itself, which has no digits left for it.
        best = jnp.argmax(jnp.log(jnp.abs(turned) / jnp.abs(psi)).mean(1))
        return cosine[best] * pair + sine[best] * ahead, turned[best]

    pair = normalised(pair)
    psi = _floored(amplitudes(pair, before, after), floor)
    pair, _ = jax.lax.fori_loop(0, steps, step, (pair, psi))
    return normalised(pair)


def amplitudes(
    pair: Inexact[Array, "left right"],
    before: Inexact[Array, "batch left"],
    after: Inexact[Array, "batch right"],
) -> Inexact[Array, " batch"]:
    """psi of every sample, up to the scales of `before` and `after`.

    >>> import jax.numpy as jnp
    >>> amplitudes(2 * jnp.eye(2), jnp.ones((1, 2)), jnp.ones((1, 2))).tolist()
    [4.0]
    """
    return ((before @ pair) * after).sum(1)


def split(
    matrix: Inexact[Array, "rows columns"], rank: int, cutoff: float
) -> tuple[
    Inexact[Array, "rows rank"], Float[Array, " rank"], Inexact[Array, "rank columns"], Array
]:
    """A truncated singular value decomposition, padded with zeros: U, s, V and the weight lost.

    Of the singular values the `rank` largest stay, without those below `cutoff` times the largest.
    The columns of U and rows of V below it are zero, s has norm 1 again, and the weight
    lost is the discarded part of the sum of s^2.

    >>> import jax.numpy as jnp
    >>> _, s, _, lost = split(jnp.diag(jnp.array([4.0, 3.0, 1e-5])), 3, cutoff=1e-4)
    >>> [round(value, 2) for value in s.tolist()], bool(lost < 1e-9)
    ([0.8, 0.6, 0.0], True)
    """
    u, s, v = jnp.linalg.svd(matrix, full_matrices=False)
    total = jnp.sum(s**2)
    u, s, v = u[:, :rank], s[:rank], v[:rank]
    kept = (s > cutoff * s[0]).astype(s.dtype)
    s = s * kept
    weight = jnp.sum(s**2)
    mask = kept.astype(matrix.dtype)
    return u * mask, s / jnp.sqrt(weight), v * mask[:, None], 1 - weight / total


def _floor(before: Array, after: Array) -> Float[Array, " batch"]:
    # |psi| <= |p| |q|. What is smaller by the rounding error cannot be told from zero; a sample
    # that the chain holds impossible then pulls hard, but not infinitely so.
    info = jnp.finfo(before.dtype)
    bound = jnp.linalg.norm(before, axis=1) * jnp.linalg.norm(after, axis=1)
    return jnp.where(bound > 0, jnp.maximum(info.eps * bound, info.tiny), 1)


def _floored(psi: Inexact[Array, "*shape"], floor: Float[Array, " batch"]) -> Array:
    return jnp.where(jnp.abs(psi) < floor, floor.astype(psi.dtype), psi)


def _dot(a: Array, b: Array) -> Float[Array, ""]:
    return (a.conj() * b).real.sum()


def normalised(a: Inexact[Array, "rows columns"]) -> Inexact[Array, "rows columns"]:
    """A matrix of Frobenius norm 1; zero stays.

    >>> import jax.numpy as jnp
    >>> [round(value, 2) for value in normalised(jnp.array([[3.0, 4.0]]))[0].tolist()]
    [0.6, 0.8]
    """
    norm = jnp.linalg.norm(a)
    return a / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny).astype(a.dtype)
