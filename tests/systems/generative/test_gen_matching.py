"""Flow matching against flows between normal distributions, whose velocity is linear."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import multivariate_normal, norm

import etude as et
from etude.systems.generative import ContinuousFlow, FlowMatching, NegativeLogLikelihood
from etude.systems.generative.matching import SOLVERS, assignment

KEY = jax.random.key(0)
CONTEXT = et.Context.at(KEY)


class Exact(eqx.Module):
    """The mean velocity of lines from normal noise to normal data."""

    mean: jax.Array
    scale: jax.Array

    def __call__(self, x, time, labels):
        t = time[:, None]
        variance = (1 - t) ** 2 + (t * self.scale) ** 2
        slope = (t * self.scale**2 - (1 - t)) / variance
        return self.mean + slope * (x - t * self.mean)


class Linear(eqx.Module):
    """dx/dt = A x."""

    matrix: jax.Array

    def __call__(self, x, time, labels):
        return (x.reshape(len(x), -1) @ self.matrix.T).reshape(x.shape)


MEAN, SCALE = jnp.array([0.3, -0.2]), jnp.array([0.5, 1.2])


def exact(mean=MEAN, scale=SCALE):
    return ContinuousFlow.create(KEY, mean.shape, net=Exact(mean, scale))


def test_the_exact_velocity_reaches_the_floor():
    for scale in (0.5, 1.0):
        model = exact(jnp.zeros(4), jnp.full(4, scale))
        x = scale * jax.random.normal(jax.random.key(1), (50_000, 4))
        loss, metrics = FlowMatching()(model, x, CONTEXT)
        assert float(loss) == pytest.approx(scale * np.pi / 2, rel=0.01)
        assert float(metrics["length"]) == pytest.approx(1 + scale**2, rel=0.01)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_find_mean_and_covariance(solver):
    x = np.asarray(exact().sample(KEY, 10_000, steps=200, solver=solver))
    np.testing.assert_allclose(x.mean(0), MEAN, atol=0.04)
    np.testing.assert_allclose(np.cov(x.T), np.diag(SCALE**2), atol=0.05)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2)])
def test_solvers_have_their_order(solver, order):
    model, start = exact(), jax.random.normal(KEY, (100, 2))
    # The flow of the exact velocity takes each noise to its quantile.
    wanted = MEAN + SCALE * start
    errors = [
        float(jnp.abs(model.sample(KEY, 100, steps=steps, solver=solver) - wanted).max())
        for steps in (20, 40)
    ]
    assert np.log2(errors[0] / errors[1]) > order - 0.25


@pytest.mark.parametrize("estimated", [False, True], ids=["exact", "estimated"])
def test_the_likelihood_is_that_of_the_data(estimated):
    pytest.importorskip("diffrax")
    x = MEAN + SCALE * jax.random.normal(jax.random.key(1), (50, 2))
    # Each value moves for itself: one probe is exact.
    found = eqx.filter_jit(exact().log_prob)(x, KEY if estimated else None)
    wanted = norm.logpdf(np.asarray(x), MEAN, SCALE).sum(1)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_the_likelihood_of_a_linear_field_and_its_gradient():
    pytest.importorskip("diffrax")
    matrix = np.random.default_rng(0).normal(size=(4, 4)) * 0.5
    model = ContinuousFlow.create(KEY, (2, 2), net=Linear(jnp.asarray(matrix, jnp.float32)))
    x = jax.random.normal(jax.random.key(1), (20, 2, 2))
    flat = np.asarray(x.reshape(20, 4), np.float64)

    def closed(matrix):
        # x = expm(A) z, and log det expm(A) = tr A: the change of variables in one step.
        z = jax.scipy.linalg.expm(-matrix) @ flat.T
        return -0.5 * (z**2).sum(0) - 2 * np.log(2 * np.pi) - jnp.trace(matrix)

    whole = jax.scipy.linalg.expm(jnp.asarray(matrix, jnp.float32))
    truth = multivariate_normal(np.zeros(4), np.asarray(whole @ whole.T, np.float64))
    found = eqx.filter_jit(model.log_prob)(x)
    np.testing.assert_allclose(found, truth.logpdf(flat), atol=1e-3)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        wanted = eqx.filter_jit(jax.grad(lambda a: closed(a).mean()))(jnp.asarray(matrix))
    grad = eqx.filter_jit(eqx.filter_grad(lambda m: m.log_prob(x).mean()))(model)
    np.testing.assert_allclose(grad.net.matrix, wanted, atol=2e-3)
    # The estimate of the divergence has no bias: here of one example, many times.
    many = eqx.filter_jit(model.log_prob)(jnp.tile(x[:1], (1000, 1, 1)), KEY)
    error = float(many.std()) / np.sqrt(1000)
    assert error > 0.01
    assert float(many.mean()) == pytest.approx(truth.logpdf(flat[0]), abs=4 * error)


def test_the_likelihood_is_in_the_units_of_the_data():
    pytest.importorskip("diffrax")
    model = ContinuousFlow.create(KEY, (2,), net=Exact(MEAN, SCALE / 4), bounds=(0.0, 5.0))
    x = jnp.array([[2.0, 2.5], [3.0, 1.0]])
    seen = 2 * np.asarray(x) / 5 - 1
    wanted = norm.logpdf(seen, MEAN, SCALE / 4).sum(1) + 2 * np.log(2 / 5)
    np.testing.assert_allclose(eqx.filter_jit(model.log_prob)(x), wanted, atol=1e-3)


def test_a_likelihood_that_cannot_be_found_is_nan_and_alone():
    pytest.importorskip("diffrax")
    model = ContinuousFlow.create(KEY, (2,), net=Exact(MEAN, SCALE / 4), bounds=(0.0, 5.0))
    good, bad = jnp.array([[2.0, 2.5], [3.0, 1.0]]), [[6.0, 1.0], [jnp.inf, 1.0], [1.0, jnp.nan]]
    found = np.asarray(model.log_prob(jnp.concatenate([good, jnp.array(bad)])))
    np.testing.assert_array_equal(found[:2], model.log_prob(good))
    assert np.isnan(found[2:]).all()
    # The solver gives up: float32 has no such digits.
    assert np.isnan(exact().log_prob(jnp.array([[0.3, 0.4]]), tolerance=1e-30)).all()


def test_likelihood_leaves_out_no_labels():
    x = (jnp.zeros((4, 2)), jnp.arange(4) % 3)
    model = ContinuousFlow.create(KEY, (2,), hidden=(4,), classes=3)
    with pytest.raises(et.ConfigurationError, match=r"has drop=0.1.*drop=0.0"):
        NegativeLogLikelihood()(model, x, CONTEXT)
    pytest.importorskip("diffrax")
    model = ContinuousFlow.create(KEY, (2,), hidden=(4,), classes=3, drop=0.0)
    loss, _ = NegativeLogLikelihood()(model, x, CONTEXT)
    assert float(loss) == pytest.approx(-float(model.log_prob(x).mean()))


@pytest.mark.slow
def test_likelihood_alone_trains_a_flow():
    pytest.importorskip("diffrax")
    x = 0.5 * np.random.default_rng(0).normal(size=(2000, 1)).astype(np.float32)
    model = ContinuousFlow.create(KEY, (1,), net=Linear(jnp.zeros((1, 1))))
    learner = et.Learner(et.Gradient(NegativeLogLikelihood()), optax.adam(0.05))
    phase = et.Phase("fit", learner, et.ArrayData(x, 200), et.Steps(60))
    model = et.Trainer(model, phase, progress=False).fit().model
    # exp(A) is the standard deviation.
    assert float(jnp.exp(model.net.matrix[0, 0])) == pytest.approx(x.std(), rel=0.05)


def test_training_finds_the_floor():
    model = ContinuousFlow.create(KEY, (2,), hidden=(64, 64))
    x = np.random.default_rng(0).normal(size=(20_000, 2)).astype(np.float32)
    learner = et.Learner(
        et.Gradient(FlowMatching()), optax.adam(optax.cosine_decay_schedule(3e-3, 2000))
    )
    phase = et.Phase("fit", learner, et.ArrayData(x, 256), et.Steps(2000))
    model = et.Trainer(model, phase, progress=False).fit().model
    fresh = jax.random.normal(jax.random.key(1), (50_000, 2))
    loss, _ = eqx.filter_jit(FlowMatching())(model, fresh, CONTEXT)
    assert float(loss) == pytest.approx(np.pi / 2, rel=0.02)


def test_the_assignment_is_the_shortest():
    noise, x = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)
    found = np.asarray(assignment(jnp.asarray(noise), jnp.asarray(x)))
    assert sorted(found.tolist()) == list(range(40))
    costs = ((x[:, None] - noise) ** 2).sum(-1)
    rows, columns = linear_sum_assignment(costs)
    assert costs[np.arange(40), found].sum() == pytest.approx(costs[rows, columns].sum(), rel=1e-5)


def test_within_classes_noise_stays_with_its_label():
    noise, x = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)
    labels = np.arange(40) % 3
    rows = jax.nn.one_hot(labels, 3)
    found = np.asarray(assignment(jnp.asarray(noise), jnp.asarray(x), rows))
    np.testing.assert_array_equal(labels[found], labels)
    for label in range(3):
        mine = np.flatnonzero(labels == label)
        costs = ((x[mine][:, None] - noise[mine]) ** 2).sum(-1)
        best = costs[linear_sum_assignment(costs)].sum()
        assert ((x[mine] - noise[found[mine]]) ** 2).sum() == pytest.approx(best, rel=1e-5)


def test_across_classes_noise_would_know_the_label():
    # Two classes, side by side. Within a class noise is standard normal, as samples begin; across
    # classes each class takes the half that is near it, which samples of a class never know.
    first, second = jax.random.split(KEY)
    labels = jnp.arange(200) % 2
    side = jnp.where(labels == 1, 4.0, -4.0)[:, None]
    x = jax.random.normal(first, (200, 2)) + side * jnp.array([1.0, 0.0])
    noise = jax.random.normal(second, (200, 2))
    within = noise[assignment(noise, x, jax.nn.one_hot(labels, 2))]
    across = noise[assignment(noise, x)]
    right = labels == 1
    assert abs(float(within[right, 0].mean())) < 0.25
    assert float(across[right, 0].mean()) > 0.6
    assert float(within[right, 0].std()) == pytest.approx(1.0, abs=0.15)
    assert float(across[right, 0].std()) < 0.75


def test_optimal_coupling_straightens_the_lines():
    x = 3.0 + jax.random.normal(jax.random.key(1), (128, 2))
    model = ContinuousFlow.create(KEY, (2,), hidden=(8,))
    independent, optimal = (
        FlowMatching(kind)(model, x, CONTEXT)[1]["length"] for kind in ("independent", "optimal")
    )
    # Of two normal distributions of one covariance the best lines are all the shift: 9 per value,
    # and 2 more where noise and example know nothing of each other.
    assert float(independent - optimal) == pytest.approx(2, abs=1)


def test_guidance_mixes_velocities():
    model = ContinuousFlow.create(KEY, (2,), hidden=(8,), classes=3)
    free, given = model.sample(KEY, 6, guidance=0.0), model.sample(KEY, 6, 1)
    np.testing.assert_array_equal(free, model.sample(KEY, 6, 2, guidance=0.0))
    velocity = [
        model.velocity(jnp.eye(3), weight)(jnp.ones((3, 2)), jnp.full(3, 0.5))
        for weight in (0.0, 1.0, jnp.float32(3.0))
    ]
    np.testing.assert_allclose(
        velocity[2], velocity[0] + 3 * (velocity[1] - velocity[0]), rtol=1e-4, atol=1e-5
    )
    assert not np.allclose(free, given)
    assert not np.allclose(given, model.sample(KEY, 6, 1, guidance=2.0))


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FlowMatching("sinkhorn"), "coupling is one of independent, optimal"),
        (lambda: exact().sample(KEY, 2, steps=0), "steps must be at least 1"),
        (lambda: exact().sample(KEY, 2, steps=2.5), "steps must be a whole number; got 2.5"),
        (lambda: exact().sample(KEY, True), "count must be a whole number; got True"),
        (lambda: exact().log_prob(jnp.zeros((3, 2)), tolerance=np.inf), "tolerance must be a fin"),
        (lambda: exact().sample(KEY, 2, solver="rk4"), "solver is one of euler, midpoint, heun"),
        (lambda: exact().sample(KEY, 2, guidance=2.0), "both with labels and without"),
        (lambda: exact().log_prob(jnp.zeros((3, 2)), tolerance=0.0), "tolerance must be positive"),
    ],
    ids=["coupling", "steps", "half", "count", "loose", "solver", "guidance", "tolerance"],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(et.ConfigurationError, match=words):
        make()


def test_bad_data_are_refused():
    model = ContinuousFlow.create(KEY, (2,), hidden=(8,), classes=3)
    for batch, words in [
        (np.zeros((3, 2), np.float32), "the batch no labels"),
        ((np.zeros((3, 2), np.int32), np.zeros(3, int)), "got int32"),
    ]:
        with pytest.raises(et.DataError, match=words):
            FlowMatching()(model, batch, CONTEXT)
        with pytest.raises(et.DataError, match=words):
            model.log_prob(batch)
