"""Canonical forms, truncation, entanglement and marginals, against the full state vector."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.systems.born_machine import (
    BornMachine,
    Embedding,
    canonical,
    entanglement_entropy,
    left_canonical,
    marginal_density,
    pair_matrix,
    right_canonical,
    sample_labels,
    site_amplitudes,
    site_matrices,
    truncate,
)

SITES, CLASSES, DIM = 4, 3, 2


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def make(init="gaussian", before=2, dtype=jnp.complex128) -> BornMachine:
    key, embedding = jax.random.key(3), Embedding("onehot", DIM)
    return BornMachine.create(
        key, SITES, CLASSES, embedding, 5, out_position=before, init=init, dtype=dtype
    )


def state(machine: BornMachine) -> np.ndarray:
    """psi, one axis per tensor of the chain in order, normalised."""
    d = machine.embedding.dim
    tensors = [*machine.left, machine.centre, *machine.right]
    psi = np.eye(machine.bond_dim, dtype=complex)[:1]
    for tensor in tensors:
        psi = np.einsum("...a,akb->...kb", psi, np.asarray(tensor, complex))
    shape = [d] * machine.sites
    shape.insert(machine.out_position, machine.classes)
    psi = psi[..., 0].reshape(shape)
    return psi / np.linalg.norm(psi)


def overlap(one: BornMachine, two: BornMachine) -> float:
    return abs(np.vdot(state(one), state(two)))


@pytest.mark.parametrize("before", [0, 2, 4])
def test_gauges_leave_the_state_as_it_is(before):
    machine = make(before=before)
    for gauged in (canonical(machine), left_canonical(machine), right_canonical(machine)):
        assert overlap(machine, gauged) == pytest.approx(1, abs=1e-12)
        assert float(gauged.log_partition()) == pytest.approx(0, abs=1e-12)


def test_tensors_are_isometries_towards_the_centre():
    machine = canonical(make())
    for tensor in machine.left:
        gram = np.einsum("akc,akd->cd", np.conj(tensor), tensor)
        used = np.diag(gram).real.round(6)
        np.testing.assert_allclose(gram, np.diag(used), atol=1e-12)
        assert set(used.tolist()) <= {0.0, 1.0}
    for tensor in machine.right:
        gram = np.einsum("akc,bkc->ab", tensor, np.conj(tensor))
        np.testing.assert_allclose(gram, np.diag(np.diag(gram).real.round(6)), atol=1e-12)
    assert np.linalg.norm(machine.centre) == pytest.approx(1, abs=1e-12)


def schmidt(machine: BornMachine, bond: int) -> np.ndarray:
    psi = state(machine)
    return np.linalg.svd(psi.reshape(np.prod(psi.shape[: bond + 1]), -1), compute_uv=False)


def test_entropies_are_those_of_the_full_state():
    machine = make()
    expected = []
    for bond in range(SITES):
        p = schmidt(machine, bond) ** 2
        p = p[p > 1e-14]
        expected.append(-(p * np.log(p)).sum())
    np.testing.assert_allclose(entanglement_entropy(machine), expected, atol=1e-10)


@pytest.mark.parametrize("bond_dim", [1, 3, 5])
def test_the_reported_error_of_a_truncation_is_its_error(bond_dim):
    machine = make(init="isometry")
    small, error, _ = truncate(machine, bond_dim)
    assert small.bond_dim == bond_dim
    # psi' is a projection of psi: |psi - psi'|^2 = 1 - |psi'|^2 and <psi|psi'> = |psi'|^2.
    assert overlap(machine, small) ** 2 == pytest.approx(1 - float(error), abs=1e-10)
    worst = max((schmidt(machine, bond)[bond_dim:] ** 2).sum() for bond in range(SITES))
    assert worst - 1e-12 <= float(error)


def test_truncating_to_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"got 6, expected 1 to 5"):
        truncate(make(), 6)


@pytest.mark.parametrize("label", [None, 1])
def test_marginals_are_sums_over_the_state(label):
    machine = make()
    p = np.moveaxis(abs(state(machine)) ** 2, machine.out_position, -1)
    p = p.sum(-1) if label is None else p[..., label] / p[..., label].sum()
    for site, matrix in enumerate(site_matrices(machine, label)):
        others = tuple(set(range(SITES)) - {site})
        np.testing.assert_allclose(np.diag(matrix), p.sum(others), atol=1e-12)
    np.testing.assert_allclose(
        marginal_density(machine, jnp.arange(DIM), 3, label), p.sum((0, 1, 2)), atol=1e-12
    )
    for first, second in [(0, 1), (0, 2), (1, 2), (2, 3)]:
        others = tuple(set(range(SITES)) - {first, second})
        found = np.einsum("iijj->ij", pair_matrix(machine, first, second, label))
        np.testing.assert_allclose(found, p.sum(others), atol=1e-12)


def test_a_site_given_all_others():
    machine = make()
    p = np.moveaxis(abs(state(machine)) ** 2, machine.out_position, -1)
    x = jnp.asarray(list(itertools.product(range(DIM), repeat=SITES)), float)
    for site in (1, 2):
        found = np.abs(site_amplitudes(machine, x, jnp.asarray(site))) ** 2
        found = found / found.sum((1, 2), keepdims=True)
        for row, index in zip(found, np.asarray(x, int), strict=True):
            index = list(index)
            index[site] = slice(None)
            expected = p[tuple(index)].T
            np.testing.assert_allclose(row, expected / expected.sum(), atol=1e-10)


def test_classes_are_drawn_in_proportion_to_their_norms():
    machine = make()
    p = np.moveaxis(abs(state(machine)) ** 2, machine.out_position, -1).sum((0, 1, 2, 3))
    counts = np.bincount(sample_labels(machine, jax.random.key(0), 5000), minlength=CLASSES)
    assert (abs(counts - 5000 * p) < 4 * np.sqrt(5000 * p * (1 - p))).all()


def test_the_gauge_keeps_a_long_chain_in_single_precision():
    machine = BornMachine.create(
        jax.random.key(0), 784, 2, Embedding("legendre", 2), 6, init="gaussian"
    )
    x = jax.random.uniform(jax.random.key(1), (3, 784), jnp.float32, -1, 1)
    found, expected = canonical(machine).log_joint(x), machine.log_joint(x)
    np.testing.assert_allclose(found, expected, atol=0.05)
