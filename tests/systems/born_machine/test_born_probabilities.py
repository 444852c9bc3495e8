"""Probabilities of the Born machine against enumeration and quadrature."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.systems.born_machine import EMBEDDINGS, BornMachine, Embedding


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


def waves(*shape: int) -> np.ndarray:
    """Tensors of a formula, so that another program can build the same."""
    return np.sin(1.0 + 1.7 * np.arange(np.prod(shape))).reshape(shape)


def test_amplitudes_are_those_of_tensorkrowch_on_the_same_tensors():
    # tensorkrowch 1.1.6, torch 2.13, float64: MPSLayer(tensors, out_position=3)(phi), boundaries
    # folded in; and 2 log |psi| of MPS(tensors).norm(log_scale=True).
    psi = [
        [28.07617009401079, 30.023095210724016, -5.380046579998138],
        [-4.677060343255006, 0.10482607715993852, 4.756304191299743],
    ]
    log_norm = 3.34282131594118
    x = jnp.asarray([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.05, 0.7, 0.33, 0.21, 0.48]])
    left, centre, right = waves(3, 3, 2, 3), waves(3, 3, 3), np.cos(waves(3, 3, 2, 3) * 3)
    machine = BornMachine(*map(jnp.asarray, (left, centre, right)), Embedding("fourier", 2))
    np.testing.assert_allclose(np.exp(machine.log_weights(x) / 2), np.abs(psi), rtol=1e-10)
    assert float(machine.log_partition()) == pytest.approx(log_norm * 2, rel=1e-10)


@pytest.mark.parametrize("name", ["fourier", "legendre", "hermite", "chebyshev2"])
def test_densities_integrate_to_one_and_match_log_z(name):
    # The original's log Z was not that of its model: losses below any possible one.
    embedding = Embedding(name, 4)
    machine = BornMachine.create(
        jax.random.key(1), 2, 2, embedding, 3, init="gaussian", dtype=jnp.complex128
    )
    angle = (np.arange(600) + 0.5) * np.pi / 600  # midpoints in the angle: smooth at the ends
    half = (embedding.high - embedding.low) / 2
    grid = embedding.low + half * (1 - np.cos(angle))
    weight = half * np.sin(angle) * np.pi / 600
    x = jnp.asarray(np.stack(np.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2))
    joint = np.exp(machine.log_joint(x))
    area = np.outer(weight, weight).ravel()
    assert (area @ joint).sum() == pytest.approx(1, abs=1e-4)
    marginal = np.exp(machine.log_marginal(x))
    np.testing.assert_allclose(marginal, joint.sum(1), rtol=1e-9)
    for label in (0, 1):
        conditional = np.exp(machine.log_conditional(x, jnp.full(len(x), label)))
        assert area @ conditional == pytest.approx(1, abs=1e-4)
    # No density of these functions exceeds |phi|^2 per site, so no loss is below the bound.
    bound = np.log((np.asarray(embedding(x)) ** 2).sum(-1)).sum(-1)
    assert (machine.log_joint(x).max(-1) <= bound + 1e-9).all()


def test_complex_log_z_is_the_same_on_every_call_and_conjugation():
    # The original: 9.9005 on the first call, 5.6538 afterwards.
    machine = BornMachine.create(
        jax.random.key(2), 5, 2, Embedding("onehot", 2), 3, init="gaussian", dtype=jnp.complex128
    )
    expected = np.log((np.abs(by_hand(machine, states(machine))) ** 2).sum())
    conjugate = jax.tree.map(jnp.conj, machine)
    for each in (machine, machine, conjugate):
        assert float(each.log_partition()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.complex128])
def test_gradients_agree_with_finite_differences(dtype):
    machine = BornMachine.create(
        jax.random.key(4), 4, 2, Embedding("legendre", 3), 3, init="gaussian", dtype=dtype
    )
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-1, 1, (3, 4)))
    arrays, rest = eqx.partition(machine, eqx.is_inexact_array)

    @jax.jit
    def loss(arrays, x):
        machine = eqx.combine(arrays, rest)
        return machine.log_joint(x)[:, 0].sum() + machine.class_log_probabilities(x)[:, 1].sum()

    def noise(a):
        return jnp.asarray(rng.normal(size=a.shape).astype(a.dtype))

    step, move = jax.tree.map(noise, arrays), noise(x)
    gradient, slope_x = eqx.filter_jit(jax.grad(loss, (0, 1)))(arrays, x)
    slope = sum(
        (g * s).sum().real
        for g, s in zip(jax.tree.leaves(gradient), jax.tree.leaves(step), strict=True)
    )
    ahead, behind = (
        loss(jax.tree.map(lambda a, s, h=h: a + h * s, arrays, step), x + h * move)
        for h in (1e-6, -1e-6)
    )
    expected = float(ahead - behind) / 2e-6
    assert float(slope + (slope_x * move).sum()) == pytest.approx(expected, rel=1e-6)


QUICK = {
    2: EMBEDDINGS,
    64: ("onehot",),
    784: ("fourier", "hermite"),
    2000: ("legendre", "chebyshev1"),
}
ALIVE = [
    pytest.param(sites, name, marks=[] if name in quick else pytest.mark.slow)
    for sites, quick in QUICK.items()
    for name in EMBEDDINGS
]


@eqx.filter_jit
def value_and_gradient(machine: BornMachine, x):
    """Of a discriminative and a generative loss at once."""

    def loss(machine):
        log_joint = machine.log_joint(x)
        return -jax.nn.log_softmax(log_joint)[:, 0].mean() - log_joint.mean() / machine.sites

    return eqx.filter_jit(eqx.filter_value_and_grad(loss))(machine)


@pytest.mark.parametrize(("sites", "name"), ALIVE)
def test_every_start_is_alive_in_single_precision(sites, name):
    # Plain float32 contraction is dead or NaN from 64 sites on.
    embedding = Embedding(name, 2)
    share = jax.random.uniform(jax.random.key(1), (4, sites), jnp.float32)
    x = embedding.low + share * (embedding.high - embedding.low)
    for init in ("identity", "gaussian", "isometry"):
        machine = BornMachine.create(jax.random.key(0), sites, 3, embedding, 4, init=init)
        value, gradient = value_and_gradient(machine, x)
        assert np.isfinite(value)
        for leaf in jax.tree.leaves(gradient):
            assert np.isfinite(leaf).all()
            assert np.abs(leaf).max() > 0


def test_log_z_needs_no_transfer_matrices():
    """The original's had D^4 entries a site: 8.8 GB for value and gradient at D=30."""
    shapes = eqx.filter_eval_shape(
        BornMachine.create, jax.random.key(0), 784, 10, Embedding("legendre", 2), 30
    )
    gradient = jax.jit(jax.value_and_grad(lambda machine: machine.log_partition()))
    memory = gradient.lower(shapes).compile().memory_analysis()
    tensors = 4 * sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert memory.temp_size_in_bytes < 8 * tensors


def test_a_sample_of_probability_zero_keeps_loss_and_gradient_finite():
    machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 2), 3)
    never = eqx.tree_at(lambda m: m.left, machine, machine.left.at[0, :, 1].set(0))
    x = jnp.asarray([[1, 0, 0, 0]])
    value, gradient = eqx.filter_jit(
        jax.value_and_grad(
            lambda left: eqx.tree_at(lambda m: m.left, never, left).log_weights(x).sum()
        )
    )(never.left)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert (never.log_weights(x) < never.log_weights(1 - x)).all()


def test_classifier_and_generator_are_one():
    machine = BornMachine.create(jax.random.key(0), 4, 2, Embedding("onehot", 2), 3)
    x = jnp.asarray(states(machine))
    changed = eqx.tree_at(lambda m: m.centre, machine, machine.centre.at[0, 1, 0].add(1.0))
    for each in (machine, changed, changed.sync_tensors(after="generation")):
        joint = each.generator(x, jnp.zeros(16, int)) + each.class_log_partition()[0]
        other = each.generator(x, jnp.ones(16, int)) + each.class_log_partition()[1]
        np.testing.assert_allclose(
            each.classifier.log_probabilities(x)[:, 0],
            joint - np.logaddexp(joint, other),
            atol=1e-5,
        )
        np.testing.assert_array_equal(each.classifier.predict(x), each.classifier(x).argmax(1))
    assert not np.allclose(machine.classifier(x), changed.classifier(x))
    with pytest.raises(ValueError, match="'classification' or 'generation'"):
        machine.sync_tensors("training")


def test_wrong_arguments_are_refused():
    create, embedding = BornMachine.create, Embedding("fourier", 2)
    with pytest.raises(ValueError, match="bond_dim"):
        create(jax.random.key(0), 4, 2, embedding, 0)
    with pytest.raises(ValueError, match="out_position"):
        create(jax.random.key(0), 4, 2, embedding, 3, out_position=5)
    with pytest.raises(ValueError, match="Did you mean 'isometry'"):
        create(jax.random.key(0), 4, 2, embedding, 3, init="isometries")
    with pytest.raises(ValueError, match="float or complex"):
        create(jax.random.key(0), 4, 2, embedding, 3, dtype=jnp.int32)
    with pytest.raises(ValueError, match=r"expected \(batch, 4\)"):
        create(jax.random.key(0), 4, 2, embedding, 3).log_weights(jnp.zeros((2, 3)))
