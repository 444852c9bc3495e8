"""The two-site sweep: a learning rule for matrix product states that needs no back-propagation.

From one end of the chain to the other and back, two neighbouring tensors are merged, fitted to the
batch and split by a singular value decomposition, whose small singular values are dropped: the
bond dimension adapts itself (Han, Wang, Fan, Wang and Zhang, Physical Review X 8, 031012; White's
density-matrix renormalisation group). The gauge is mixed-canonical throughout: Z is 1.

All shapes are static. Tensors keep their D x d x D; beyond the bond dimension in use they are
zero, which is exact. Both directions are one function, applied to the chain or to its mirror.

>>> import jax, jax.numpy as jnp
>>> import etude as et
>>> from etude.systems.born_machine import BornMachine, Embedding, TwoSiteSweep
>>> machine = BornMachine.create(jax.random.key(0), 6, 1, Embedding("onehot", 2), 4)
>>> x = jnp.array([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], jnp.float32)
>>> phase = et.Phase("sweep", et.Learner(TwoSiteSweep()), et.ArrayData(x, 2), et.Steps(5))
>>> result = et.Trainer(machine, [phase], progress=False).fit()
>>> round(float(jnp.exp(result.model.log_marginal(x))[0]), 3)
0.5
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Integer, PyTree, Real

import etude as et
from etude.systems.born_machine.labels import allowed, checked, read_batch
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.mps import log_square, rescale
from etude.systems.born_machine.pair import amplitudes, fitted, normalised, split


class TwoSiteSweep(eqx.Module):
    """Lowers -mean log p(x, c) of a `BornMachine`; a rule for a learner without an optimizer.

    One step of the trainer is one sweep there and back over its batch, which is best the whole
    data set: memory is samples x sites x D numbers for the environments. For mini-batches
    take a smaller `max_angle`, or every batch erases what the last one taught. The machine comes
    back with its norm in the first site, every other one an isometry on its right.

    The batch is `x`, or `(x, labels)`; labels are required where the machine has classes.
    Data say nothing about the signs of the amplitudes: from random ones (`init="isometry"`) the
    bonds stay larger, and the fit worse, than from positive ones (`init="identity"`).

    Metrics: `loss`, in nats, of the machine that comes back; `bond_dim` and `bond_dim_max`, mean
    and largest bond dimension in use; `discarded`, the largest weight that a truncation cost.

    Args:
        steps: gradient steps per pair, each with a search for its best length.
        max_angle: the farthest, in radians, that one step may turn a normalised pair.
        cutoff: singular values below this fraction of a bond's largest are dropped.

    Raises ConfigurationError for values out of range, RuleError for another model, for a learner
    that trains a part of the machine only, and for a batch that does not fit it. A label that is
    no class of the machine makes the loss NaN.

    >>> TwoSiteSweep(steps=4).cutoff
    0.0001
    """

    steps: int = eqx.field(static=True, default=2)
    max_angle: float = eqx.field(static=True, default=1.0)
    cutoff: float = eqx.field(static=True, default=1e-4)

    def __check_init__(self):
        problems = []
        if self.steps < 1:
            problems.append(f"steps must be at least 1; got {self.steps}")
        if not 0 < self.max_angle <= jnp.pi / 2:
            problems.append(f"max_angle lies in (0, pi/2]; got {self.max_angle}")
        if not 0 <= self.cutoff < 1:
            problems.append(f"cutoff is a fraction in [0, 1), such as 1e-4; got {self.cutoff}")
        if problems:
            raise et.ConfigurationError("TwoSiteSweep: " + "; ".join(problems) + ".")

    def __call__(
        self, trainable: PyTree, rest: PyTree, batch: PyTree, context: et.Context
    ) -> et.Proposal:
        machine = eqx.combine(trainable, rest)
        if not isinstance(machine, BornMachine):
            raise et.RuleError(
                f"TwoSiteSweep trains a BornMachine; got {type(machine).__name__}. Give the "
                "machine itself to the trainer."
            )
        if None in (trainable.left, trainable.centre, trainable.right):
            raise et.RuleError(
                "TwoSiteSweep changes the gauge of every tensor, so its learner must train the "
                "whole machine. Leave `where` out."
            )
        if machine.sites == machine.classes == 1:
            raise et.RuleError("TwoSiteSweep: one site and one class make no pair to fit.")
        x, labels = read_batch("TwoSiteSweep", machine.classes, batch)
        labels = checked("TwoSiteSweep", labels, machine.classes)
        swept, metrics = sweep(machine, x, labels, self)
        return et.Proposal(metrics=metrics, model=swept)


@eqx.filter_jit
def sweep(
    machine: BornMachine,
    x: Real[Array, "batch sites"],
    labels: Integer[Array, " batch"],
    rule: TwoSiteSweep,
) -> tuple[BornMachine, dict[str, Float[Array, ""]]]:
    """One sweep from the first site to the last and back: the new machine and its metrics.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.born_machine import BornMachine, Embedding, TwoSiteSweep
    >>> machine = BornMachine.create(jax.random.key(0), 3, 2, Embedding("onehot", 2), 2)
    >>> x, labels = jnp.array([[0, 0, 1], [1, 1, 0]]), jnp.array([0, 1])
    >>> swept, metrics = sweep(machine, x, labels, TwoSiteSweep())
    >>> bool(jnp.isclose(metrics["loss"], -swept.log_joint(x)[jnp.arange(2), labels].mean()))
    True
    """
    chain = chain_of(machine, x, labels)
    # Each pass leaves, of every sample, what precedes each site: in the mirror, what follows it.
    chain, before = isometric(mirrored(chain))
    chain, before, there = half_sweep(mirrored(chain), flipped(before), rule)
    chain, before, back = half_sweep(mirrored(chain), flipped(before), rule)
    # A column of zeros is a state of the bond that is not in use.
    in_use = [(jnp.abs(sites.tensors).max((1, 2)) > 0).sum(1) for sites in chain]
    dims = jnp.concatenate(in_use)[:-1].astype(back.loss.dtype)
    metrics = {
        "loss": back.loss,
        "bond_dim": dims.mean(),
        "bond_dim_max": dims.max(),
        "discarded": jnp.maximum(there.discarded, back.discarded),
    }
    return machine_of(mirrored(chain), machine), metrics


class Sites(NamedTuple):
    """Neighbouring sites of one physical dimension, with the embedded data of each."""

    tensors: Inexact[Array, "sites D d D"]
    features: Inexact[Array, "sites batch d"]


Chain = tuple[Sites, ...]


#: Of every sample: what the chain on one side of each site makes of it, up to a factor.
Vectors = tuple[Inexact[Array, "_ batch D"], ...]


class Swept(NamedTuple):
    """The negative log-likelihood after a half sweep, and the largest weight discarded in it."""

    loss: Float[Array, ""]
    discarded: Float[Array, ""]


def chain_of(
    machine: BornMachine, x: Real[Array, "batch sites"], labels: Integer[Array, " batch"]
) -> Chain:
    """The sites of a machine with their data, in up to three parts.

    A class site of one state stands for nothing, and no bond beside it could grow beyond the
    other: its matrix goes to a neighbour.
    """
    # A label that is no class, unseen under jit, becomes NaN rather than a class of its own.
    known = allowed(labels, machine.classes)[None, :, None]
    features, cut = jnp.where(known, machine.features(x), jnp.nan), machine.out_position
    left, right = machine.left, machine.right
    middle = []
    if machine.classes > 1:
        onehot = jax.nn.one_hot(labels, machine.classes, dtype=machine.dtype)
        middle = [Sites(machine.centre[None], onehot[None])]
    elif cut < machine.sites:
        right = right.at[0].set(jnp.tensordot(machine.centre[:, 0], right[0], 1))
    else:
        left = left.at[-1].set(left[-1] @ machine.centre[:, 0])
    parts = Sites(left, features[:cut]), *middle, Sites(right, features[cut:])
    return tuple(sites for sites in parts if len(sites.tensors))


def machine_of(chain: Chain, like: BornMachine) -> BornMachine:
    """The machine of a chain, `chain_of` undone."""
    parts = iter(sites.tensors for sites in chain)
    left = next(parts) if len(like.left) else like.left
    through = jnp.eye(like.bond_dim, dtype=like.dtype)[:, None]
    centre = next(parts)[0] if like.classes > 1 else through
    right = next(parts) if len(like.right) else like.right
    return BornMachine(left, centre, right, like.embedding)


def mirrored(chain: Chain) -> Chain:
    """The chain read from its other end."""
    return tuple(
        Sites(sites.tensors[::-1].transpose(0, 3, 2, 1), sites.features[::-1])
        for sites in reversed(chain)
    )


def flipped(vectors: Vectors) -> Vectors:
    """The vectors of the mirrored chain."""
    return tuple(part[::-1] for part in reversed(vectors))


def isometric(chain: Chain) -> tuple[Chain, Vectors]:
    """The same state, normalised, with left isometries before the last site; what precedes each.

    By singular value decompositions, cut off at rounding error only, which find the bonds in use
    where a QR decomposition would fill them with arbitrary directions.
    """
    D = chain[0].tensors.shape[1]
    eps = float(jnp.finfo(chain[0].tensors.dtype).eps)

    def step(carry, site):
        passed, before = carry
        tensor, features = site
        u, s, v, _ = split(jnp.tensordot(passed, tensor, 1).reshape(-1, D), D, eps)
        after, _ = rescale(_outer(before, features) @ u, 1)
        return (s.astype(v.dtype)[:, None] * v, after), (u.reshape(tensor.shape), before)

    edge = _edge(chain)
    carry = jnp.zeros((D, D), edge.dtype).at[0, 0].set(1), edge
    found, vectors = [], []
    for sites in chain:
        carry, (tensors, before) = jax.lax.scan(step, carry, sites)
        found.append(sites._replace(tensors=tensors))
        vectors.append(before)
    # The norm goes back into the last site, of whose right bond only the first state exists.
    end = carry[0].at[:, 1:].set(0)
    tensors = found[-1].tensors
    tensors = tensors.at[-1].set(tensors[-1] @ normalised(end))
    return (*found[:-1], found[-1]._replace(tensors=tensors)), tuple(vectors)


def half_sweep(chain: Chain, after: Vectors, rule: TwoSiteSweep) -> tuple[Chain, Vectors, Swept]:
    """Fits every pair in turn, from the first site to the last, which receives the norm.

    The sites after the first must be isometries on their right. `after` is what follows each site.
    Returns the chain, all but its last site now isometries on their left, and what precedes each.
    """
    D = chain[0].tensors.shape[1]

    def step(carry, site):
        tensor, features, before, log_scale, discarded = carry
        next_tensor, next_features, after = site
        rows, columns = _outer(before, features), _outer(next_features, after)
        pair = jnp.tensordot(tensor, next_tensor, 1).reshape(rows.shape[1], columns.shape[1])
        pair = fitted(pair, rows, columns, steps=rule.steps, max_angle=rule.max_angle)
        u, s, v, lost = split(pair, D, rule.cutoff)
        onward = (s.astype(v.dtype)[:, None] * v).reshape(next_tensor.shape)
        vectors, scale = rescale(rows @ u, 1)
        log_scale = log_scale + jnp.log(scale)
        carry = onward, next_features, vectors, log_scale, jnp.maximum(discarded, lost)
        return carry, (u.reshape(tensor.shape), before)

    edge = _edge(chain)
    zeros = jnp.zeros(len(edge), jnp.finfo(edge.dtype).dtype)
    carry = (chain[0].tensors[0], chain[0].features[0], edge, zeros, zeros[0])
    # What a step makes belongs to the site behind it, perhaps the last one of the part before.
    made: list[list[tuple[Array, Array]]] = [[] for _ in chain]
    for i, (sites, vectors) in enumerate(zip(chain, after, strict=True)):
        part = (*sites, vectors)
        if i > 0:
            carry, out = step(carry, [stack[0] for stack in part])
            made[i - 1].append(jax.tree.map(lambda a: a[None], out))
        if len(sites.tensors) > 1:
            carry, out = jax.lax.scan(step, carry, tuple(stack[1:] for stack in part))
            made[i].append(out)
    tensor, features, before, log_scale, discarded = carry
    made[-1].append((tensor[None], before[None]))
    tensors, vectors = zip(
        *(map(jnp.concatenate, zip(*parts, strict=True)) for parts in made), strict=True
    )
    psi = amplitudes(tensor.reshape(-1, D), _outer(before, features), edge)
    loss = -(log_square(psi) + 2 * log_scale).mean()
    chain = tuple(s._replace(tensors=t) for s, t in zip(chain, tensors, strict=True))
    return chain, vectors, Swept(loss, discarded)


def _outer(a: Inexact[Array, "batch a"], b: Inexact[Array, "batch b"]) -> Array:
    """The products of the entries of two vectors, in a row per sample."""
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)


def _edge(chain: Chain) -> Inexact[Array, "batch D"]:
    """The unit vector e_0 that closes the chain, for every sample."""
    tensors, features = chain[0]
    return jnp.zeros((features.shape[1], tensors.shape[1]), tensors.dtype).at[:, 0].set(1)
