"""Gauges of a matrix product state: canonical forms, truncation, entanglement.

The product of two neighbouring tensors does not change if a matrix and its inverse are put
between them. In canonical gauge the tensors on both sides of one site, the centre, are isometries
towards it: the centre alone carries the norm, and the singular values at its bonds are the
Schmidt values. Schollwöck, arXiv:1008.3477, section 4.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from etude.systems.born_machine.machine import BornMachine


class Truncated(NamedTuple):
    """A smaller machine and what it cost."""

    machine: BornMachine
    error: Float[Array, ""]  # |psi - psi'|^2 / |psi|^2, with psi' before it is normalised
    singular_values: Float[Array, "bonds D"]  # as kept, descending, squares summing to one


@eqx.filter_jit
def canonical(machine: BornMachine) -> BornMachine:
    """The same machine in mixed canonical gauge around the class site, normalised to Z = 1.

    Sites on the left of the class site are isometries from left bond and physical index to the
    right bond, those on its right the mirror image. Unused entries of a bond are zero.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("legendre", 3), 5)
    >>> gauged = canonical(machine)
    >>> abs(float(gauged.log_partition())) < 1e-4
    True
    """
    left, from_left, _ = _to_the_right(machine.left, _corner(machine), None)
    right, from_right, _ = _to_the_right(_mirror(machine.right), _corner(machine), None)
    centre = jnp.einsum("ab,bcd,ed->ace", from_left, machine.centre, from_right)
    norm = jnp.linalg.norm(centre.ravel()).astype(centre.dtype)
    return BornMachine(left, centre / norm, _mirror(right), machine.embedding)


@eqx.filter_jit
def left_canonical(machine: BornMachine) -> BornMachine:
    """The same machine, normalised to Z = 1, with isometries only.

    Every tensor, the class site's too, is one from left bond and physical index to right bond.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("legendre", 3), 5)
    >>> bool(jax.numpy.isclose(left_canonical(machine).log_partition(), 0, atol=1e-4))
    True
    """
    return _left_canonical(machine, None)[0]


@eqx.filter_jit
def right_canonical(machine: BornMachine) -> BornMachine:
    """The mirror image of `left_canonical`: from physical index and right bond to left bond.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("legendre", 3), 5)
    >>> bool(jax.numpy.isclose(right_canonical(machine).log_partition(), 0, atol=1e-4))
    True
    """
    return _reversed(_left_canonical(_reversed(machine), None)[0])


def truncate(machine: BornMachine, bond_dim: int) -> Truncated:
    """The best machine of a smaller bond dimension, bond after bond, in canonical gauge, Z = 1.

    Each bond keeps its `bond_dim` largest Schmidt values. Every cut projects onto a part of what
    the cuts before have left, so the error is exact: one minus the product of the kept shares.

    Raises ValueError unless 1 <= bond_dim <= the machine's.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("legendre", 3), 5)
    >>> smaller = truncate(machine, 2)
    >>> smaller.machine.bond_dim, bool(smaller.error < 0.1)
    (2, True)
    """
    if not 1 <= bond_dim <= machine.bond_dim:
        raise ValueError(
            f"truncate(bond_dim): got {bond_dim}, expected 1 to {machine.bond_dim}, the machine's."
        )
    return _truncate(machine, bond_dim)


@eqx.filter_jit
def entanglement_entropy(machine: BornMachine) -> Float[Array, " bonds"]:
    """Entropy of entanglement across every bond, in nats; the class site is one of the chain.

    Bond i lies between tensors i and i + 1 of the sites + 1 tensors. -sum p log p with p the
    squared Schmidt values; at most log of the bond dimension.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Embedding
    >>> machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("legendre", 3), 1)
    >>> [abs(round(entropy, 4)) for entropy in entanglement_entropy(machine).tolist()]
    [0.0, 0.0, 0.0, 0.0]
    """
    p = _left_canonical(right_canonical(machine), None)[1][0] ** 2
    return -jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0).sum(-1)


@eqx.filter_jit
def _truncate(machine: BornMachine, bond_dim: int) -> Truncated:
    cut, (values, lost) = _left_canonical(right_canonical(machine), bond_dim)
    left, centre, right = cut.left, cut.centre, cut.right
    small = BornMachine(
        left[:, :bond_dim, :, :bond_dim],
        centre[:bond_dim, :, :bond_dim],
        right[:, :bond_dim, :, :bond_dim],
        machine.embedding,
    )
    return Truncated(canonical(small), -jnp.expm1(jnp.log1p(-lost).sum()), values[:, :bond_dim])


Spectrum = tuple[Float[Array, "bonds D"], Float[Array, " bonds"]]


def _left_canonical(machine: BornMachine, keep: int | None) -> tuple[BornMachine, Spectrum]:
    """The machine, the normalised singular values of its inner bonds, the shares lost there."""
    # The end of the chain sees the first column of the last tensor; the others must not count.
    centre, right = machine.centre, machine.right
    if len(right):
        right = right.at[-1, :, :, 1:].set(0)
    else:
        centre = centre.at[:, :, 1:].set(0)
    left, passed, one = _to_the_right(machine.left, _corner(machine), keep)
    centre, passed, two = _to_the_right(centre[None], passed, keep)
    right, _, three = _to_the_right(right, passed, keep)
    values, lost = (jnp.concatenate(parts) for parts in zip(one, two, three, strict=True))
    # What comes out at the end is the norm times a phase: neither is kept.
    gauged = BornMachine(left, centre[0], right, machine.embedding)
    return gauged, (values[:-1], lost[:-1])


def _to_the_right(
    stack: Inexact[Array, "sites D d D"], passed: Inexact[Array, "D D"], keep: int | None
) -> tuple[Inexact[Array, "sites D d D"], Inexact[Array, "D D"], Spectrum]:
    """Isometries, and the matrix that is left for whatever comes next, of norm one."""
    D = stack.shape[1]
    keep = D if keep is None else keep

    def step(passed, tensor):
        d = tensor.shape[1]
        matrix = jnp.einsum("ab,bkc->akc", passed, tensor).reshape(D * d, D)
        u, s, v = jnp.linalg.svd(matrix, full_matrices=False)
        s = s / jnp.linalg.norm(s)
        # Directions that hold nothing but rounding errors are no states: leave them out.
        s = jnp.where(s > D * jnp.finfo(s.dtype).eps * s[0], s, 0)
        lost = (s[keep:] ** 2).sum()
        s = jnp.where(jnp.arange(D) < keep, s, 0)
        s = s / jnp.linalg.norm(s)
        u = jnp.where(s > 0, u, 0).reshape(D, d, D)
        return s[:, None].astype(v.dtype) * v, (u, s, lost)

    passed, (isometries, values, lost) = jax.lax.scan(step, passed, stack)
    return isometries, passed, (values, lost)


def _corner(machine: BornMachine) -> Inexact[Array, "D D"]:
    """e_0 e_0': the end of the chain lets only the first entry of its bond through."""
    D = machine.bond_dim
    return jnp.zeros((D, D), machine.dtype).at[0, 0].set(1)


def _mirror(stack: Inexact[Array, "sites D d D"]) -> Inexact[Array, "sites D d D"]:
    return jnp.flip(jnp.swapaxes(stack, 1, 3), 0)


def _reversed(machine: BornMachine) -> BornMachine:
    """The chain read from right to left."""
    centre = jnp.swapaxes(machine.centre, 0, 2)
    return BornMachine(_mirror(machine.right), centre, _mirror(machine.left), machine.embedding)
