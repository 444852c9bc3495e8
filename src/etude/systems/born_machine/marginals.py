"""Marginal distributions of one site or two, exactly, from the environments of the rest.

A site's distribution is a d x d density matrix rho of trace one: phi(x)' rho phi(x) is the density
at x, and for one-hot states the diagonal holds the probabilities.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Inexact, Int, Integer, Real

from etude.systems.born_machine.labels import allowed, checked
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.mps import contract
from etude.systems.born_machine.partition import environments, through_class

Label = int | Integer[Array, ""] | np.integer


def site_matrices(machine: BornMachine, label: Label | None = None) -> Float[Array, "sites d d"]:
    """The density matrix of every site, for all classes or given one.

    Raises ValueError for a class that is not there; compiled, the matrices are NaN.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 3), 5)
    >>> [round(float(matrix.trace()), 4) for matrix in site_matrices(machine)]
    [1.0, 1.0, 1.0, 1.0]
    """
    return _site_matrices(machine, _chosen("site_matrices", machine, label))


@eqx.filter_jit
def _site_matrices(
    machine: BornMachine, centre: Inexact[Array, "D G D"]
) -> Float[Array, "sites d d"]:
    before, after = _surroundings(machine, centre)
    tensors = jnp.concatenate([machine.left, machine.right])
    half = jnp.einsum("sab,sbld,scd->salc", before, tensors, after)
    rho = jnp.einsum("sakc,salc->skl", tensors.conj(), half).real
    return rho / jnp.trace(rho, axis1=1, axis2=2)[:, None, None]


def pair_matrix(
    machine: BornMachine, first: int, second: int, label: Label | None = None
) -> Float[Array, "d d d d"]:
    """The density matrix of two sites, axes (bra, ket) of the first and (bra, ket) of the second.

    The density at (x, y) is ``einsum("ijkl,i,j,k,l", matrix, phi(x), phi(x), phi(y), phi(y))``.

    Raises ValueError unless ``first < second`` are sites and `label` is a class; compiled, for
    another class the matrix is NaN.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 3), 5)
    >>> round(float(jax.numpy.einsum("iijj", pair_matrix(machine, 0, 3))), 4)
    1.0
    """
    if not 0 <= first < second < machine.sites:
        raise ValueError(
            f"pair_matrix: got sites {first} and {second}, expected "
            f"0 <= first < second < {machine.sites}."
        )
    return _pair_matrix(machine, first, second, _chosen("pair_matrix", machine, label))


def marginal_density(
    machine: BornMachine, x: Real[Array, " n"], site: int, label: Label | None = None
) -> Float[Array, " n"]:
    """p(x) of one site alone (p(x | c) with a label), with respect to dx of the embedding.

    Raises ValueError as `site_matrices` does.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 2), 5)
    >>> round(float(marginal_density(machine, jnp.arange(2), 1).sum()), 4)
    1.0
    """
    phi = machine.embedding(x.astype(machine.real_dtype))
    return jnp.einsum("ni,ij,nj->n", phi, site_matrices(machine, label)[site], phi)


@eqx.filter_jit
def site_amplitudes(
    machine: BornMachine, x: Real[Array, "batch sites"], site: Int[Array, ""] | int
) -> Inexact[Array, "batch C d"]:
    """a with psi(x, c) = a . phi(x_site) up to a factor per sample: all other sites are as in x.

    So the conditional density of the site given all others is |a phi(y)|^2, summed over classes
    or for one, as a function of y: what Gibbs sampling draws from. The site may be traced.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 3), 5)
    >>> site_amplitudes(machine, jnp.zeros((7, 4)), 1).shape
    (7, 2, 3)
    """
    phi = machine.features(x)
    batch, d = phi.shape[1:]
    # The site sees each unit vector in turn: d copies of the batch, one after the other.
    unit = jnp.repeat(jnp.eye(d, dtype=phi.dtype), batch, 0)
    phi = jnp.tile(phi, (1, d, 1)).at[site].set(unit)
    split = machine.out_position
    before, log_before = contract(machine.left, phi[:split])
    after, log_after = contract(machine.right, phi[split:], reverse=True)
    psi = jnp.einsum("bl,lcr,br->bc", before, machine.centre, after)
    scale = (log_before + log_after).reshape(d, batch)
    scale = jnp.exp(scale - stop_gradient(scale.max(0)))
    psi = psi.reshape(d, batch, -1) * scale[:, :, None].astype(psi.dtype)
    return jnp.moveaxis(psi, 0, 2)


@eqx.filter_jit
def _pair_matrix(
    machine: BornMachine, first: int, second: int, centre: Inexact[Array, "D G D"]
) -> Float[Array, "d d d d"]:
    split = machine.out_position
    before, after = _surroundings(machine, centre)
    tensors = jnp.concatenate([machine.left, machine.right])
    d, D = machine.embedding.dim, machine.bond_dim
    one, two = tensors[first], tensors[second]
    E = jnp.einsum("ab,akc,bld->klcd", before[first], one.conj(), one).reshape(d * d, D, D)
    E = _transport(E, machine.left[first + 1 : second])
    if first < split <= second:
        E = jax.vmap(lambda e: through_class(centre, e).sum(0))(E)
    E = _transport(E, machine.right[max(first + 1 - split, 0) : max(second - split, 0)])
    half = jnp.einsum("zab,bld,cd->zalc", E, two, after[second])
    rho = jnp.einsum("akc,zalc->zkl", two.conj(), half).real.reshape(d, d, d, d)
    return rho / jnp.einsum("iijj", rho)


def _chosen(owner: str, machine: BornMachine, label: Label | None) -> Inexact[Array, "D G D"]:
    """The class tensor, of all classes or of one."""
    if label is None:
        return machine.centre
    label = checked(owner, label, machine.classes, name="label")
    chosen = machine.centre[:, label[None]]
    return jnp.where(allowed(label, machine.classes), chosen, jnp.nan)


def _surroundings(
    machine: BornMachine, centre: Inexact[Array, "D G D"]
) -> tuple[Inexact[Array, "sites D D"], Inexact[Array, "sites D D"]]:
    """The environments on the left and on the right of every site."""
    from_left, _, left_before = environments(machine.left)
    from_right, _, right_after = environments(machine.right, reverse=True)
    onward = through_class(centre, from_left).sum(0)
    back = through_class(centre, from_right, reverse=True).sum(0)
    right_before = environments(machine.right, onward)[2]
    left_after = environments(machine.left, back, reverse=True)[2]
    return (
        jnp.concatenate([left_before, right_before]),
        jnp.concatenate([left_after, right_after]),
    )


def _transport(
    E: Inexact[Array, "k D D"], stack: Inexact[Array, "sites D d D"]
) -> Inexact[Array, "k D D"]:
    """Several environments moved over the sites of a stack, with one scale for all."""
    ends, log_scales, _ = jax.vmap(lambda start: environments(stack, start))(E)
    scales = jnp.exp(log_scales - log_scales.max())
    return ends * scales[:, None, None].astype(ends.dtype)
