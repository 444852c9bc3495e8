"""Probabilities of the Born machine against enumeration and quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.systems.born_machine import BornMachine, Embedding


@pytest.fixture(autouse=True)
def _wide():
    with jax.enable_x64(True):
        yield


def by_hand(machine: BornMachine, x: np.ndarray) -> np.ndarray:
    """psi(x, c) in NumPy, one matrix after the other."""
    phi = np.asarray(machine.embedding(jnp.asarray(x, jnp.float64)))
    left, centre, right = (
        np.asarray(a, complex) for a in (machine.left, machine.centre, machine.right)
    )
    D, C, _ = centre.shape
    psi = np.zeros((len(x), C), complex)
    for b, row in enumerate(phi):
        v, w = np.eye(D)[0].astype(complex), np.eye(D)[0].astype(complex)
        for tensor, f in zip(left, row, strict=False):
            v = np.einsum("l,lkr,k->r", v, tensor, f)
        for tensor, f in zip(right[::-1], row[::-1], strict=False):
            w = np.einsum("lkr,k,r->l", tensor, f, w)
        psi[b] = np.einsum("l,lcr,r->c", v, centre, w)
    return psi


def states(machine: BornMachine) -> np.ndarray:
    """Every x of a one-hot machine."""
    d = machine.embedding.dim
    return np.array(list(itertools.product(range(d), repeat=machine.sites)), float)


CASES = [  # sites, sites before the class, classes, d, D, dtype, init
    (1, 0, 2, 3, 2, jnp.float64, "gaussian"),
    (4, 2, 3, 2, 4, jnp.float32, "identity"),
    (5, 5, 1, 2, 3, jnp.complex128, "gaussian"),
    (5, 1, 2, 3, 4, jnp.complex64, "isometry"),
    (6, 3, 2, 2, 5, jnp.float64, "isometry"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_enumerated_weights_and_partition(case):
    sites, before, classes, dim, bond, dtype, init = case
    machine = BornMachine.create(
        jax.random.key(sites),
        sites,
        classes,
        Embedding("onehot", dim),
        bond,
        out_position=before,
        init=init,
        dtype=dtype,
    )
    x = states(machine)
    weights = np.abs(by_hand(machine, x)) ** 2
    found = np.exp(machine.log_weights(jnp.asarray(x)))
    single = machine.real_dtype == np.float32
    close = {"rtol": 2e-4, "atol": 1e-5} if single else {"rtol": 1e-9}
    np.testing.assert_allclose(found, weights, **close)
    np.testing.assert_allclose(np.exp(machine.class_log_partition()), weights.sum(0), **close)
    np.testing.assert_allclose(np.exp(machine.log_joint(jnp.asarray(x))).sum(), 1, **close)
