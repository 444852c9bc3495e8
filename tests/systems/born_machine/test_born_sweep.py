"""The two-site sweep against a plain NumPy one, known distributions, and its own promises."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import etude as et
from etude.systems.born_machine import BornMachine, Embedding, TwoSiteSweep
from etude.systems.born_machine.pair import ANGLES, amplitudes, fitted, split
from etude.systems.born_machine.sweep import Sites, flipped, half_sweep, isometric, mirrored, sweep


def labels_of(machine: BornMachine, batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, machine.classes, batch)


def data_for(machine: BornMachine, batch: int, seed: int = 0) -> np.ndarray:
    rng, shape = np.random.default_rng(seed), (batch, machine.sites)
    if machine.embedding.discrete:
        return rng.integers(0, machine.embedding.dim, shape).astype(float)
    return rng.uniform(machine.embedding.low, machine.embedding.high, shape)


def nll(machine: BornMachine, x, labels) -> float:
    joint = np.asarray(machine.log_joint(jnp.asarray(x)))
    return -float(joint[np.arange(len(x)), labels].mean())


# A plain sweep: lists of tensors, every environment contracted anew, no rescaling.


def dense_chain(machine: BornMachine, x, labels):
    phi = np.asarray(machine.embedding(jnp.asarray(x)))
    onehot = np.eye(machine.classes)[labels]
    cut = machine.out_position
    tensors = [*np.asarray(machine.left), np.asarray(machine.centre), *np.asarray(machine.right)]
    legs = [phi[:, i] for i in range(cut)] + [onehot]
    legs += [phi[:, i] for i in range(cut, machine.sites)]
    if machine.classes == 1:
        matrix = tensors.pop(cut)[:, 0]
        legs.pop(cut)
        tensors[cut] = np.einsum("ab,bkr->akr", matrix, tensors[cut])
    tensors[0] = tensors[0][:1]
    tensors[-1] = tensors[-1][:, :, :1]
    return tensors, legs


def plain_pair(tensors, legs, i, rule, rank, centre_left):
    batch = len(legs[0])
    before, after = np.ones((batch, 1)), np.ones((batch, 1))
    for k in range(i):
        before = np.einsum("bl,lkr,bk->br", before, tensors[k], legs[k])
    for k in range(len(tensors) - 1, i + 1, -1):
        after = np.einsum("lkr,bk,br->bl", tensors[k], legs[k], after)
    inputs = np.einsum("bl,bk,bm,br->blkmr", before, legs[i], legs[i + 1], after)
    pair = np.einsum("lka,amr->lkmr", tensors[i], tensors[i + 1])
    pair = pair / np.linalg.norm(pair)
    fixed = [0.0] + [rule.max_angle / 2**k for k in range(ANGLES)]
    for _ in range(rule.steps):
        psi = np.einsum("lkmr,blkmr->b", pair, inputs)
        uphill = np.einsum("blkmr,b->lkmr", inputs.conj(), 1 / psi.conj()) / batch - pair
        uphill /= np.linalg.norm(uphill)
        slope = np.einsum("lkmr,blkmr->b", uphill, inputs)
        ratio = slope / psi
        newton = ratio.real.mean() / (1 + np.mean(np.abs(ratio) ** 2))
        angles = [*fixed, min(newton, rule.max_angle)]
        values = [np.log(np.abs(np.cos(t) * psi + np.sin(t) * slope)).mean() for t in angles]
        best = angles[int(np.argmax(values))]
        pair = np.cos(best) * pair + np.sin(best) * uphill
    left, d, e, right = pair.shape
    u, s, v = np.linalg.svd(pair.reshape(left * d, e * right), full_matrices=False)
    keep = min(rank, int((s > rule.cutoff * s[0]).sum()))
    u, s, v = u[:, :keep], s[:keep] / np.linalg.norm(s[:keep]), v[:keep]
    tensors[i] = (u if centre_left is False else u * s).reshape(left, d, keep)
    tensors[i + 1] = (v if centre_left else s[:, None] * v).reshape(keep, e, right)


def plain_sweep(machine: BornMachine, x, labels, rule: TwoSiteSweep) -> np.ndarray:
    """psi of the batch after one sweep, normalised."""
    tensors, legs = dense_chain(machine, x, labels)
    for k in range(len(tensors) - 1, 0, -1):
        left, d, right = tensors[k].shape
        r, q = np.linalg.qr(tensors[k].reshape(left, d * right).T)[::-1]
        tensors[k] = q.T.reshape(-1, d, right)
        tensors[k - 1] = np.einsum("lka,ba->lkb", tensors[k - 1], r)
    bonds = range(len(tensors) - 1)
    for i in bonds:
        plain_pair(tensors, legs, i, rule, machine.bond_dim, centre_left=False)
    for i in reversed(bonds):
        plain_pair(tensors, legs, i, rule, machine.bond_dim, centre_left=True)
    psi = np.ones((len(x), 1))
    for tensor, leg in zip(tensors, legs, strict=True):
        psi = np.einsum("bl,lkr,bk->br", psi, tensor, leg)
    return psi[:, 0]


@pytest.mark.parametrize(
    ("sites", "out", "classes", "embedding", "bond", "dtype"),
    [
        # One class, and a discrete embedding with several, are in the next.
        pytest.param(5, 2, 1, Embedding("onehot", 2), 3, jnp.float64, marks=pytest.mark.slow),
        (5, 2, 3, Embedding("onehot", 2), 4, jnp.float64),
        (4, 0, 2, Embedding("legendre", 3), 3, jnp.float64),
        (4, 4, 2, Embedding("fourier", 3), 3, jnp.complex128),
        (1, 1, 2, Embedding("onehot", 3), 2, jnp.float64),
    ],
)
def test_plain_numpy_sweep_gives_the_same(sites, out, classes, embedding, bond, dtype):
    rule = TwoSiteSweep(steps=3, max_angle=0.7, cutoff=1e-6)
    with jax.enable_x64(True):
        machine = BornMachine.create(
            jax.random.key(sites),
            sites,
            classes,
            embedding,
            bond,
            out_position=out,
            init="isometry",
            dtype=dtype,
        )
        x, labels = data_for(machine, 7), labels_of(machine, 7)
        expected = plain_sweep(machine, x, labels, rule)
        swept, metrics = sweep(machine, jnp.asarray(x), jnp.asarray(labels), rule)
        weights = np.asarray(swept.log_weights(jnp.asarray(x)))[np.arange(7), labels]
        assert weights == pytest.approx(2 * np.log(np.abs(expected)), abs=1e-7)
        # What the rule reports is the negative log-likelihood of the machine it returns.
        assert float(metrics["loss"]) == pytest.approx(nll(swept, x, labels), abs=1e-10)
        assert float(swept.log_partition()) == pytest.approx(0, abs=1e-10)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([1e-3, 1.5]))
@settings(max_examples=20)
def test_no_step_makes_the_batch_less_likely(seed, wide, max_angle):
    rng = np.random.default_rng(seed)
    with jax.enable_x64(wide):
        before = jnp.asarray(rng.normal(size=(9, 6)), float)
        after = jnp.asarray(rng.normal(size=(9, 4)), float)
        pair = jnp.asarray(rng.normal(size=(6, 4)), float)
        pair = pair / jnp.linalg.norm(pair)
        fit = jax.jit(fitted, static_argnames=("steps", "max_angle"))
        better = fit(pair, before, after, steps=2, max_angle=max_angle)
        losses = [-np.log(np.asarray(amplitudes(m, before, after)) ** 2) for m in (pair, better)]
        assert losses[1].mean() <= losses[0].mean() + 1e-5
        assert float(jnp.linalg.norm(better)) == pytest.approx(1, abs=1e-6)


def test_a_small_step_follows_the_gradient():
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        before, after = jnp.asarray(rng.normal(size=(8, 5))), jnp.asarray(rng.normal(size=(8, 6)))
        pair = jnp.asarray(rng.normal(size=(5, 6)))
        pair = pair / jnp.linalg.norm(pair)

        def negative_log_likelihood(m):
            psi = jnp.einsum("bl,lr,br->b", before, m, after)
            return -jnp.log(psi**2 / jnp.sum(m**2)).mean()

        gradient = eqx.filter_jit(jax.grad(negative_log_likelihood))(pair)
        moved = fitted(pair, before, after, steps=1, max_angle=1e-5) - pair
        assert np.asarray(moved / jnp.linalg.norm(moved)) == pytest.approx(
            -np.asarray(gradient / jnp.linalg.norm(gradient)), abs=1e-4
        )


def test_split_is_the_truncated_svd():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        matrix = rng.normal(size=(6, 8)) + 1j * rng.normal(size=(6, 8))
        u, s, v, lost = map(np.asarray, split(jnp.asarray(matrix), 4, 0.0))
        U, S, V = np.linalg.svd(matrix, full_matrices=False)
        best = (U[:, :4] * S[:4]) @ V[:4]
        assert (u * s) @ v == pytest.approx(best / np.linalg.norm(S[:4]), abs=1e-10)
        assert float(lost) == pytest.approx(np.sum(S[4:] ** 2) / np.sum(S**2), abs=1e-12)
        # Below the cut-off everything is zero, and the weight says so.
        u, s, v, lost = map(
            np.asarray, split(jnp.asarray(matrix), 4, float((S[1] + S[2]) / 2 / S[0]))
        )
        assert s[2:].tolist() == [0, 0]
        assert not u[:, 2:].any()
        assert not v[2:].any()
        assert float(lost) == pytest.approx(np.sum(S[2:] ** 2) / np.sum(S**2), abs=1e-12)


def assert_isometries(tensors, on_left: bool):
    for tensor in np.asarray(tensors):
        D = tensor.shape[0]
        matrix = tensor.reshape(-1, D) if on_left else tensor.reshape(D, -1).T
        gram = matrix.conj().T @ matrix
        in_use = np.abs(matrix).max(0) > 0
        assert gram == pytest.approx(np.diag(in_use.astype(float)), abs=1e-5)


def test_gauge_is_canonical_after_every_half_sweep():
    dtype = jnp.complex64
    machine = BornMachine.create(
        jax.random.key(1), 9, 3, Embedding("onehot", 2), 5, init="gaussian", dtype=dtype
    )
    x, labels = jnp.asarray(data_for(machine, 20), jnp.float32), labels_of(machine, 20)
    features = machine.features(x)
    label = jax.nn.one_hot(labels, 3, dtype=dtype)[None]
    chain = (
        Sites(machine.left, features[:4]),
        Sites(machine.centre[None], label),
        Sites(machine.right, features[4:]),
    )

    @jax.jit
    def halves(chain):
        gauged, vectors = isometric(chain)
        return gauged, half_sweep(mirrored(gauged), flipped(vectors), TwoSiteSweep())[0]

    for swept in halves(chain):
        for part in swept[:-1]:
            assert_isometries(part.tensors, on_left=True)
        assert_isometries(swept[-1].tensors[:-1], on_left=True)
        assert float(jnp.linalg.norm(swept[-1].tensors[-1])) == pytest.approx(1, abs=1e-5)

    swept, _ = sweep(machine, x, jnp.asarray(labels), TwoSiteSweep())
    assert float(jnp.linalg.norm(swept.left[0])) == pytest.approx(1, abs=1e-5)
    for tensors in (swept.left[1:], swept.centre[None], swept.right):
        assert_isometries(tensors, on_left=False)
    assert float(swept.log_partition()) == pytest.approx(0, abs=1e-4)


def swept_often(machine, x, labels=None, rule=None, times=20):
    labels = jnp.zeros(len(x), jnp.int32) if labels is None else jnp.asarray(labels)
    metrics = {}
    for _ in range(times):
        machine, metrics = sweep(machine, jnp.asarray(x), labels, rule or TwoSiteSweep())
    return machine, metrics


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_distinct_strings_are_learnt_to_their_entropy(seed):
    codes = np.random.default_rng(seed).choice(2**10, 3, replace=False)
    x = (codes[:, None] >> np.arange(10) & 1).astype(np.float32)
    machine = BornMachine.create(
        jax.random.key(seed), 10, 1, Embedding("onehot", 2), 3, init="isometry"
    )
    machine, _ = swept_often(machine, x)
    assert nll(machine, x, np.zeros(3, int)) == pytest.approx(np.log(3), abs=2e-3)


def test_strings_and_their_classes_are_learnt_to_their_entropy():
    x = np.array(list(itertools.product([0, 1], repeat=4)), np.float32)
    labels = (x.sum(1) % 2).astype(np.int32)  # parity needs bond dimension 2
    machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 2), 4)
    machine, _ = swept_often(machine, x, labels)
    assert nll(machine, x, labels) == pytest.approx(np.log(16), abs=2e-3)
    assert machine.predict(jnp.asarray(x)).tolist() == labels.tolist()


def test_bond_dimension_adapts():
    # Every site is 1 in three of four cases, independently: a product, of bond dimension 1.
    x = np.array(list(itertools.product([0, 1, 1, 1], repeat=4)), np.float32)
    machine = BornMachine.create(jax.random.key(0), 4, 1, Embedding("onehot", 2), 4)
    rule = TwoSiteSweep(cutoff=1e-3)
    machine, metrics = swept_often(machine, x, rule=rule)
    entropy = -4 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert float(metrics["loss"]) == pytest.approx(entropy, abs=1e-3)
    assert metrics["bond_dim"] == metrics["bond_dim_max"] == 1
    # And grows back where the data ask for it.
    ghz = np.tile(np.array([[0, 0, 0, 0], [1, 1, 1, 1]], np.float32), (128, 1))
    machine, metrics = swept_often(machine, ghz, rule=rule)
    assert metrics["bond_dim"] == metrics["bond_dim_max"] == 2
    assert float(metrics["loss"]) == pytest.approx(np.log(2), abs=1e-3)


def test_784_sites_in_single_precision():
    rng = np.random.default_rng(0)
    x = (rng.random((30, 784)) < rng.random(784)).astype(np.float32)
    zeros = jnp.zeros(30, jnp.int32)
    machine = BornMachine.create(jax.random.key(0), 784, 1, Embedding("onehot", 2), 4)
    rule = TwoSiteSweep()
    swept, metrics = sweep(machine, jnp.asarray(x), zeros, rule)
    assert float(swept.log_partition()) == pytest.approx(0, abs=1e-3)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: a.astype(jnp.float64), machine)
        _, exact_metrics = sweep(wide, jnp.asarray(x, jnp.float64), zeros, rule)
        widened = jax.tree.map(lambda a: a.astype(jnp.float64), swept)
        # The figure reported in float32 is that of its tensors; the path taken is much the same.
        assert float(metrics["loss"]) == pytest.approx(nll(widened, x, zeros), rel=1e-5)
        assert float(metrics["loss"]) == pytest.approx(float(exact_metrics["loss"]), rel=5e-3)


def test_impossible_samples_do_not_break_the_sweep():
    machine = BornMachine.create(jax.random.key(0), 6, 1, Embedding("onehot", 2), 2)
    # All weight on 000000: the amplitude of 111111 and all its neighbours is exactly zero.
    site = jnp.zeros((3, 2, 2, 2)).at[:, 0, 0, 0].set(1)
    centre = jnp.zeros((2, 1, 2)).at[0, 0, 0].set(1)
    machine = BornMachine(site, centre, site, machine.embedding)
    x = jnp.asarray([[0.0] * 6, [0.0] * 5 + [1.0], [1.0] * 6])
    swept, metrics = sweep(machine, x, jnp.zeros(3, jnp.int32), TwoSiteSweep())
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((swept, metrics)))
    assert np.exp(np.asarray(swept.log_marginal(x))[:2]) == pytest.approx([0.5, 0.5], abs=0.02)


def test_errors_teach():
    with pytest.raises(et.ConfigurationError, match=r"at least 1; got 0; cutoff"):
        TwoSiteSweep(steps=0, cutoff=1.0)
    machine = BornMachine.create(jax.random.key(0), 3, 2, Embedding("onehot", 2), 2)
    x, labels = np.zeros((4, 3), np.float32), np.zeros(4, np.int32)

    def train(model, batch, where=None):
        learner = et.Learner(TwoSiteSweep(), where=where)
        phase = et.Phase("sweep", learner, et.ArrayData(batch, 4), et.Steps(1))
        et.Trainer(model, phase, progress=False).fit()

    # The trainer finds them before any work starts.
    with pytest.raises(et.ConfigurationError, match=r"Pass \(x, labels\)"):
        train(machine, x)
    with pytest.raises(et.ConfigurationError, match="Leave `where` out"):
        train(machine, (x, labels), where=lambda m: m.left)
    with pytest.raises(et.ConfigurationError, match="trains a BornMachine; got dict"):
        train({"machine": jnp.zeros(2)}, x)
