"""Exact samples, site after site from the conditional densities, as in Han et al. (2018).

Given the sites before it, the density of a site is phi(x)' rho phi(x) with a d x d matrix rho from
the vector of the sites before and the environment of those after. The environments are computed
once; memory is linear in the number of samples.
"""

import difflib
from typing import Literal, Protocol, get_args, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Inexact, Int, Integer, Key

from etude.systems.born_machine.embeddings import Embedding, ProductIntegrals
from etude.systems.born_machine.labels import allowed, checked
from etude.systems.born_machine.mps import rescale
from etude.systems.born_machine.partition import environments, through_class

Method = Literal["exact", "bins", "secant"]
BRACKETS = 32  # intervals among which the exact method looks first
REFINEMENTS = 16  # steps of Newton's method, or bisections where it would leave its bracket


@runtime_checkable
class Chain(Protocol):
    """What can be sampled: the parts of a `BornMachine`, which is built on this module."""

    left: Inexact[Array, "L D d D"]
    centre: Inexact[Array, "D C D"]
    right: Inexact[Array, "R D d D"]
    embedding: Embedding

    @property
    def sites(self) -> int:
        """Numbers per sample."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes."""
        ...

    @property
    def bond_dim(self) -> int:
        """D, of every bond."""
        ...

    @property
    def out_position(self) -> int:
        """Number of sites before the class site."""
        ...

    @property
    def dtype(self) -> jnp.dtype:
        """Type of the tensors."""
        ...

    @property
    def real_dtype(self) -> jnp.dtype:
        """Type of the samples."""
        ...

    def class_log_partition(self) -> Float[Array, " C"]:
        """log Z_c."""
        ...


def sample(
    machine: Chain,
    key: Key[Array, ""],
    labels: int | Integer[Array, ""] | Integer[Array, " n"],
    n: int | None = None,
    *,
    method: str = "exact",
    bins: int = 200,
) -> Float[Array, "n sites"]:
    """Independent samples of p(x | c).

    | method | solves cumulative density = uniform number | gradient |
    |---|---|---|
    | exact | by Newton's method, on the exact integral | of the exact solution |
    | secant | linearly between `bins` + 1 points of the exact integral | of that line |
    | bins | takes the centre of one of `bins` intervals | none |

    The points are equidistant in the embedding's coordinate (x itself but for Chebyshev's). The
    gradient is that of the sample with respect to the tensors at fixed uniform numbers. One-hot
    states are drawn as they are, whatever the method, and have no gradient.

    Args:
        machine: the distribution.
        key: seed of the uniform numbers.
        labels: one class for all samples, or the class of each.
        n: number of samples, if `labels` is one class.
        method: "exact", "secant" or "bins", see the table.
        bins: number of intervals, for `bins` and `secant`.

    Raises:
        ValueError: an unknown method, a class that is not there (compiled, its samples are NaN),
            fewer than one bin or sample, or `n` missing or not the number of labels.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("fourier", 3), 4)
    >>> sample(machine, jax.random.key(1), 0, 5).shape
    (5, 2)
    """
    if method not in get_args(Method):
        near = difflib.get_close_matches(method, get_args(Method), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"sample(method): got {method!r}, expected {get_args(Method)}.{hint}")
    if bins < 1:
        raise ValueError(f"sample(bins): got {bins}, expected 1 or more.")
    labels = checked("sample", labels, machine.classes)
    if labels.ndim > 1:
        raise ValueError(f"sample(labels): got shape {labels.shape}, expected one class or (n,).")
    if labels.ndim == 0 and n is None:
        raise ValueError("sample(n): with one class for all samples, say how many: n=100.")
    if labels.ndim == 1 and n not in (None, len(labels)):
        raise ValueError(f"sample(n): got {n} but {len(labels)} labels; leave n out.")
    n = len(labels) if n is None else n
    _check_count("sample", n)
    return _sample(machine, key, labels, n, method, bins)


def sample_labels(machine: Chain, key: Key[Array, ""], n: int) -> Int[Array, " n"]:
    """Classes drawn from p(c) = Z_c / Z; `sample` with them gives samples of p(x, c).

    Raises ValueError for fewer than one.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 2, 1, Embedding("fourier", 3), 4)
    >>> sample_labels(machine, jax.random.key(1), 3).tolist()
    [0, 0, 0]
    """
    _check_count("sample_labels", n)
    return jax.random.categorical(key, machine.class_log_partition(), shape=(n,))


def _check_count(owner: str, n: int) -> None:
    if n < 1:
        raise ValueError(f"{owner}(n): got {n}, expected 1 or more.")


@eqx.filter_jit
def _sample(
    machine: Chain,
    key: Key[Array, ""],
    labels: Integer[Array, ""] | Integer[Array, " n"],
    n: int,
    method: str,
    bins: int,
) -> Float[Array, "n sites"]:
    uniform = jax.random.uniform(key, (machine.sites, n), machine.real_dtype)
    after_class, _, after_right = environments(machine.right, reverse=True)
    # One environment for all samples if they share their class, else one for each class.
    chosen = machine.centre[:, labels[None]] if labels.ndim == 0 else machine.centre
    which = jnp.zeros(n, int) if labels.ndim == 0 else labels
    start = through_class(chosen, after_class, reverse=True)
    start, _ = rescale(start, (1, 2))
    after_left = jax.vmap(
        lambda start: environments(machine.left, start, reverse=True)[2], out_axes=1
    )(start)

    def visit(v, site):
        tensor, after, u = site
        branches = jnp.einsum("nl,lkr->nkr", v, tensor)
        x = _draw(machine, _density_matrix(branches, after, which), u, method, bins)
        phi = machine.embedding(x).astype(machine.dtype)
        return rescale(jnp.einsum("nk,nkr->nr", phi, branches), 1)[0], x

    split = machine.out_position
    v = jnp.zeros((n, machine.bond_dim), machine.dtype).at[:, 0].set(1)
    v, before = jax.lax.scan(visit, v, (machine.left, after_left, uniform[:split]))
    v, _ = rescale(jnp.einsum("nl,lnr->nr", v, chosen[:, which]), 1)
    _, behind = jax.lax.scan(visit, v, (machine.right, after_right[:, None], uniform[split:]))
    drawn = jnp.concatenate([before, behind])
    return jnp.where(allowed(labels, machine.classes), drawn, jnp.nan).T


def _density_matrix(
    branches: Inexact[Array, "n d D"], after: Inexact[Array, "G D D"], which: Int[Array, " n"]
) -> Float[Array, "n d d"]:
    """rho of each sample, up to a factor, from the environment of its class."""
    if len(after) == 1:
        half = jnp.einsum("nkb,ab->nka", branches, after[0])
    else:
        half = jnp.einsum("nkb,nab->nka", branches, after[which])
    return jnp.einsum("nia,nja->nij", branches.conj(), half).real


def _draw(
    machine: Chain, rho: Float[Array, "n d d"], u: Float[Array, " n"], method: str, bins: int
) -> Float[Array, " n"]:
    """x with cumulative density `u`."""
    embedding = machine.embedding
    if embedding.discrete:
        return _categorical(jnp.diagonal(rho, axis1=1, axis2=2), u).astype(u.dtype)
    integrals = ProductIntegrals(embedding)
    c = integrals.coefficients(rho)
    edges = jnp.linspace(integrals.start, 1, (BRACKETS if method == "exact" else bins) + 1)
    edges = edges.astype(u.dtype)
    if method == "bins":
        centres = (edges[1:] + edges[:-1]) / 2
        t = centres[_categorical(c @ integrals.density(centres).T, u)]
    else:
        t, below, above = _secant(c @ integrals.cumulative(edges).T, edges, u)
        if method == "exact":
            t = _refined(integrals, c, u, *stop_gradient((t, below, above)))
    return jnp.clip(integrals.to_x(t), embedding.low, embedding.high)


def _categorical(weights: Float[Array, "n states"], u: Float[Array, " n"]) -> Int[Array, " n"]:
    cumulative = jnp.cumsum(jnp.maximum(weights, 0), -1)
    below = cumulative <= u[:, None] * cumulative[:, -1:]
    return jnp.minimum(below.sum(-1), weights.shape[1] - 1)


def _secant(
    cumulative: Float[Array, "n edges"], edges: Float[Array, " edges"], u: Float[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """t on the line through the two edges that enclose the target, and those edges."""
    target = u * cumulative[:, -1]
    # Rounding may make the integral fall a little where the density is zero.
    rising = jax.lax.cummax(cumulative[:, 1:-1], 1)
    j = (rising <= target[:, None]).sum(-1)
    low, high = (jnp.take_along_axis(cumulative, (j + i)[:, None], 1)[:, 0] for i in (0, 1))
    rise = high - low
    # Never beyond the interval, and its middle where there is no rise to divide by.
    share = jnp.where(rise > 0, (target - low) / jnp.where(rise > 0, rise, 1), 0.5)
    below, above = edges[j], edges[j + 1]
    return below + jnp.clip(share, 0, 1) * (above - below), below, above


def _refined(
    integrals: ProductIntegrals,
    c: Float[Array, "n terms"],
    u: Float[Array, " n"],
    t: Float[Array, " n"],
    below: Float[Array, " n"],
    above: Float[Array, " n"],
) -> Float[Array, " n"]:
    """The root in the bracket, with the derivative of an implicit function."""

    def short(c, t):  # what is missing from the target
        total = c @ integrals.cumulative(jnp.ones((), c.dtype))
        return (c * integrals.cumulative(t)).sum(-1) - u * total

    def density(t):
        p = (fixed * integrals.density(t)).sum(-1)
        return jnp.where(p > 0, p, jnp.finfo(p.dtype).tiny)

    def step(_, state):
        t, below, above = state
        rest = short(fixed, t)
        below, above = jnp.where(rest < 0, t, below), jnp.where(rest < 0, above, t)
        newton = t - rest / density(t)
        # A root that is met has itself for a bound: stay there.
        inside = (newton >= below) & (newton <= above)
        return jnp.where(inside, newton, (below + above) / 2), below, above

    fixed = stop_gradient(c)
    t, _, _ = jax.lax.fori_loop(0, REFINEMENTS, step, (t, below, above))
    t = stop_gradient(t)
    slope = -short(c, t) / density(t)
    return t + slope - stop_gradient(slope)
