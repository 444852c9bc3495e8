"""Initial tensors of a Born machine. Every one of them starts alive at any length.

Complex machines get complex noise. `identity` is the scheme of Novikov, Trofimov and Oseledets,
arXiv:1605.03795, with noise that fits the length of the chain.
"""

import difflib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Key

from etude.systems.born_machine.embeddings import Embedding

Tensors = tuple[
    Inexact[Array, "L D d D"],
    Inexact[Array, "D C D"],
    Inexact[Array, "R D d D"],
]
Shape = tuple[int, int, int, int]  # sites before the class, sites after it, classes, bond


def initial_tensors(
    name: str, key: Key[Array, ""], shape: Shape, embedding: Embedding, dtype: jnp.dtype
) -> Tensors:
    """Tensors by the name of a scheme: `identity`, `isometry` or `gaussian`.

    Raises ValueError for another name.
    """
    if name not in INITIALISATIONS:
        near = difflib.get_close_matches(name, INITIALISATIONS, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"init: got {name!r}, expected one of {sorted(INITIALISATIONS)}.{hint}")
    make = jax.jit(INITIALISATIONS[name], static_argnums=(1, 2, 3))
    return make(key, shape, embedding, dtype)


def identity(key: Key[Array, ""], shape: Shape, embedding: Embedding, dtype: jnp.dtype) -> Tensors:
    """Hands on what arrives, whatever x is, plus noise.

    The noise of all sites together is of order one half, so that every entry of a bond takes part
    from the first step on. The class site has noise enough to tell the classes apart by whatever
    reaches it: with less, the first gradients would be the same for all classes, and a chain of
    some hundred sites would not learn.
    """
    before, after, _, D = shape
    d = embedding.dim
    # The constant function: every state of a one-hot site, the first function of the others.
    constant = jnp.ones(d, dtype) if embedding.discrete else jnp.eye(d, dtype=dtype)[0]
    through = jnp.eye(D, dtype=dtype)[:, None, :]
    scale = 0.5 * ((before + after + 1) * D * d) ** -0.5
    left, centre, right = _noise(key, shape, d, 1.0, dtype)
    site = constant[:, None] * through
    return scale * left + site, 0.25 * centre + through, scale * right + site


def gaussian(key: Key[Array, ""], shape: Shape, embedding: Embedding, dtype: jnp.dtype) -> Tensors:
    """Independent normal entries of variance 1 / bond dimension."""
    return _noise(key, shape, embedding.dim, shape[-1] ** -0.5, dtype)


def isometry(key: Key[Array, ""], shape: Shape, embedding: Embedding, dtype: jnp.dtype) -> Tensors:
    """Random isometries towards the class site, and Z = 1: a normalised density from the start.

    Bond i from an end holds no more than d^i states; the rest of the tensor is zero.
    """
    before, after, _, D = shape
    d = embedding.dim
    left, centre, right = _noise(key, shape, d, 1.0, dtype)
    ranks = [min(D, d ** min(i, 64)) for i in range(max(before, after) + 1)]
    used = jnp.arange(D)
    live = (used < ranks[before])[:, None, None] & (used < ranks[after])
    centre = jnp.where(live, centre, 0)
    centre = centre / jnp.linalg.norm(centre.ravel()).astype(dtype)
    # The right half is the left half's mirror image.
    mirrored = jnp.flip(jnp.swapaxes(right, 1, 3), 0)
    left, mirrored = (_isometries(stack, ranks) for stack in (left, mirrored))
    return left, centre, jnp.flip(jnp.swapaxes(mirrored, 1, 3), 0)


INITIALISATIONS: dict[str, Callable[..., Tensors]] = {
    "identity": identity,
    "isometry": isometry,
    "gaussian": gaussian,
}


def _isometries(stack: Inexact[Array, "sites D d D"], ranks: list[int]) -> Inexact[Array, "..."]:
    """Orthonormal columns (left bond and physical index to right bond) within the ranks."""
    sites, D, d, _ = stack.shape
    into = jnp.asarray(ranks[:sites], int)[:, None, None, None] > jnp.arange(D)[:, None, None]
    # Within the used rows the matrix is tall enough for its used columns, so QR keeps to them.
    used = jnp.where(into, stack, 0).reshape(sites, D * d, D)
    q = jnp.linalg.qr(used)[0].reshape(sites, D, d, D)
    out = jnp.asarray(ranks[1 : sites + 1], int)[:, None, None, None] > jnp.arange(D)
    return jnp.where(into & out, q, 0)


def _noise(key: Key[Array, ""], shape: Shape, d: int, scale: float, dtype: jnp.dtype) -> Tensors:
    before, after, classes, D = shape
    keys = jax.random.split(key, 3)
    shapes = ((before, D, d, D), (D, classes, D), (after, D, d, D))
    left, centre, right = (
        scale * jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)
    )
    return left, centre, right
