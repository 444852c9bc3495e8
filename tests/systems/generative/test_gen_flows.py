"""Normalising flows: log-determinants by autodiff, inverses, densities that integrate to 1."""

from dataclasses import replace

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.generative import (
    Affine,
    Autoregressive,
    Coupling,
    Flow,
    MaskedPerceptron,
    NegativeLogLikelihood,
    Spline,
    bits_per_dim,
    dequantised,
)

KEY = jax.random.key(0)
#: RealNVP, MAF, and both with splines.
KINDS = {
    "realnvp": {"elementwise": Affine()},
    "maf": {"elementwise": Affine(), "autoregressive": True},
    "spline": {"elementwise": Spline(5, 2.0)},
    "autoregressive-spline": {"elementwise": Spline(5, 2.0), "autoregressive": True},
}


def rough(model, key=KEY, scale=0.7):
    """The model with other weights everywhere, for one that was just made is the identity."""
    arrays, rest = eqx.partition(model.layers, eqx.is_inexact_array)
    leaves, treedef = jax.tree.flatten(arrays)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + scale * jax.random.normal(k, leaf.shape) / np.sqrt(leaf.shape[-1])
        for leaf, k in zip(leaves, keys, strict=True)
    ]
    return replace(model, layers=eqx.combine(treedef.unflatten(moved), rest))


def flow(kind, values=3, **settings):
    model = Flow.create(KEY, (values,), layers=2, hidden=(8,), **KINDS[kind], **settings)
    return rough(model)


@eqx.filter_jit
def jacobian(model, x):
    """Of one example at a time, by autodiff."""
    return jax.vmap(jax.jacfwd(lambda x: model.forward(x[None])[0][0]))(x)


@eqx.filter_jit
def there_and_back(model, x):
    """The noise, log |det|, and the data of the noise."""
    z, log_det = model.forward(x)
    return z, log_det, model.inverse(z)


def double(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, tree)


#: Inside and outside of the interval of the splines, at its ends and at 0.
POINTS = st.lists(
    st.sampled_from([-2.0, 0.0, 2.0, 2.0000005, 50.0]) | st.floats(-4, 4, width=32),
    min_size=12,
    max_size=12,
)


@pytest.mark.parametrize("kind", KINDS)
@hypothesis.given(points=POINTS)
def test_determinants_are_those_of_autodiff_and_inverses_give_back(kind, points):
    # In double precision, for a spline may be steep by a factor of thousands.
    with jax.enable_x64(True):
        model = double(flow(kind, location=0.3, scale=1.5))
        x = jnp.asarray(points, jnp.float64).reshape(4, 3)
        _, log_det, back = there_and_back(model, x)
        sign, wanted = np.linalg.slogdet(np.asarray(jacobian(model, x)))
        assert set(np.abs(sign)) == {1.0}
        np.testing.assert_allclose(log_det, wanted, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(back, x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_data_of_a_double_model(kind):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
        model = flow(kind)
        assert {a.dtype for a in jax.tree.leaves(model.layers)} >= {np.dtype("float64")}
        z, _, back = there_and_back(model, x)
        np.testing.assert_allclose(back, x, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(model.inverse(z), back)
        assert np.isfinite(model.log_prob(x)).all()


def test_the_spline_is_smooth_at_its_knots_and_continuous_at_its_ends():
    with jax.enable_x64(True):
        spline = Spline(4, 2.0)
        raw = 2 * jax.random.normal(KEY, (3, 1, spline.numbers), jnp.float64)
        raw = jnp.broadcast_to(raw[:1], raw.shape)
        shares = 1e-3 + (1 - 4e-3) * jax.nn.softmax(raw[0, 0, :4])
        knots = np.cumsum(4.0 * np.asarray(shares)) - 2.0
        for knot in [-2.0, *knots]:
            near = knot + jnp.asarray([[-1e-6], [0.0], [1e-6]])
            y, logs = spline.forward(raw, near)
            np.testing.assert_allclose(logs, np.full((3, 1), logs[1, 0]), atol=3e-3)
            slopes = np.diff(np.asarray(y[:, 0])) / 1e-6
            np.testing.assert_allclose(np.log(slopes), logs[1, 0], atol=3e-3)
            np.testing.assert_allclose(spline.inverse(raw, y), near, atol=1e-9)


@pytest.mark.parametrize("elementwise", [Affine(), Spline(4, 2.0)], ids=["affine", "spline"])
def test_numbers_of_zero_are_the_identity(elementwise):
    x = jnp.linspace(-3, 3, 31)[:, None]
    values, logs = elementwise.forward(jnp.zeros((31, 1, elementwise.numbers)), x)
    np.testing.assert_allclose(values, x, atol=1e-6)
    np.testing.assert_allclose(logs, 0, atol=1e-6)


def test_gradients_outside_of_the_interval_are_finite():
    model = flow("spline")
    x = jnp.asarray([[-1e4, 0.5, 1e4], [2.0, -2.0, 2.0]])
    grads = eqx.filter_jit(eqx.filter_grad(lambda m: m.log_prob(x).mean()))(model)
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("kind", KINDS)
def test_densities_integrate_to_one(kind):
    model = flow(kind, values=2, classes=2)
    axis = np.arange(-12, 12, 0.04, np.float32)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    log_prob = jax.jit(lambda m, x, y: m.log_prob((x, y)))
    masses = []
    for label in (0, 1):
        logs = np.asarray(log_prob(model, grid, np.full(len(grid), label)), np.float64)
        masses.append(np.exp(logs).sum() * 0.04**2)
        first = logs if label == 0 else first
    np.testing.assert_allclose(masses, 1, atol=5e-3)
    assert not np.allclose(first, logs, atol=0.1)  # labels reach the layers


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
@pytest.mark.parametrize("hidden", [(), (12,), (9, 7)], ids=["none", "one", "two"])
def test_outputs_see_the_values_before_theirs_and_the_context(order, hidden):
    net = MaskedPerceptron(order, hidden, 2, context=3, key=KEY)
    x, context = jax.random.normal(KEY, (4,)), jnp.ones(3)
    by_value, by_context = jax.jacobian(net, argnums=(0, 1))(x, context)
    seen = np.abs(np.asarray(by_value)).sum(1) > 0
    place = np.asarray(order)
    np.testing.assert_array_equal(seen, place[:, None] > place[None])
    # The first in the order, which sees no value, still sees the context.
    assert (np.abs(np.asarray(by_context)).sum(-1) > 0).all()
    with pytest.raises(et.ConfigurationError, match="each once"):
        MaskedPerceptron((0, 2), (), 1, key=KEY)


def test_a_layer_of_maf_is_triangular():
    layer = flow("maf", values=4).layers
    assert isinstance(layer, Autoregressive)
    layer = jax.tree.map(lambda a: a[0], layer)  # the first of a stack
    matrix = jacobian(layer, jnp.array([[0.3, -1.0, 2.0, 0.1]]))[0]
    assert np.allclose(np.triu(matrix, 1), 0)
    assert (np.abs(np.tril(matrix)[np.tril_indices(4)]) > 0).all()


@pytest.mark.parametrize("kind", ["realnvp", "autoregressive-spline"])
def test_an_untrained_flow_is_a_normal_density_of_the_data(kind):
    mean, scale = np.array([1.0, -2.0, 0.5]), np.array([0.5, 2.0, 1.0])
    model = Flow.create(KEY, (3,), layers=3, location=mean, scale=scale, **KINDS[kind])
    x = np.asarray(model.sample(KEY, 40_000), np.float64)
    np.testing.assert_allclose(x.mean(0), mean, atol=0.04)
    np.testing.assert_allclose(np.cov(x.T), np.diag(scale**2), atol=0.08)
    logs = -0.5 * ((x[:9] - mean) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi))
    found = model.log_prob(jnp.asarray(x[:9], jnp.float32))
    np.testing.assert_allclose(found, logs.sum(1), rtol=1e-4)
    assert np.allclose(model.sample(KEY, 3, temperature=0.0), mean, atol=1e-5)


@pytest.mark.parametrize("kind", ["maf", "spline"])
def test_training_finds_mean_and_covariance_of_each_class(kind):
    factor = jnp.array([[1.0, 0.0], [0.8, 0.6]])
    means = jnp.array([[2.0, 0.0], [-1.0, 1.0]])
    labels = jnp.arange(2000) % 2
    x = means[labels] + jax.random.normal(KEY, (2000, 2)) @ factor.T
    wide = {**KINDS[kind], "elementwise": Affine() if kind == "maf" else Spline(5, 6.0)}
    model = Flow.create(KEY, (2,), layers=2, hidden=(16,), classes=2, **wide)
    learner = et.Learner(
        et.Gradient(NegativeLogLikelihood()), optax.adam(optax.cosine_decay_schedule(0.01, 400))
    )
    phase = et.Phase("fit", learner, et.ArrayData((x, labels), 200), et.Steps(400))
    model = et.Trainer(model, phase, progress=False).fit().model
    assert np.array_equal(model.location.value, np.zeros(2))  # standardisation is not trained
    for label in (0, 1):
        found = np.asarray(model.sample(KEY, 20_000, label), np.float64)
        np.testing.assert_allclose(found.mean(0), means[label], atol=0.15)
        np.testing.assert_allclose(np.cov(found.T), factor @ factor.T, atol=0.2)


def test_what_cannot_be_is_refused():
    for settings, words in [
        ({"layers": 0}, "layers must be"),
        ({"hidden": (0,)}, r"hidden\[0\]"),
        ({"shape": (0,)}, r"shape\[0\]"),
        ({"shape": (1,)}, "set autoregressive"),
        ({"classes": -1}, "counts from 0"),
        ({"scale": np.array([1.0, 0.0])}, "scale must be positive"),
    ]:
        with pytest.raises(et.ConfigurationError, match=words):
            Flow.create(KEY, **{"shape": (2,), **settings})
    for settings in ({"bins": 1}, {"reach": 0.0}, {"bins": 1000}):
        with pytest.raises(et.ConfigurationError, match=r"Spline: (bins|reach) must"):
            Spline(**settings)
    model = Flow.create(KEY, (2,), layers=1)
    with pytest.raises(et.DataError, match="real values; got uint8"):
        model.log_prob(np.zeros((3, 2), np.uint8))
    with pytest.raises(et.DataError, match="not trained with labels"):
        model.sample(KEY, 2, 1)
    with pytest.raises(et.ConfigurationError, match="below 0"):
        model.sample(KEY, 2, temperature=-1.0)
    with pytest.raises(et.ConfigurationError, match="at least 2; got 1"):
        NegativeLogLikelihood(levels=1)
    with pytest.raises(et.DataError, match="levels are integers"):
        NegativeLogLikelihood(levels=4)(model, jnp.zeros((3, 2)), et.Context.at(KEY))


def test_bits_of_a_uniform_density_are_those_of_the_levels():
    assert bits_per_dim(0.0, 12, 256) == pytest.approx(8.0)
    assert bits_per_dim(12 * np.log(2), 12) == pytest.approx(1.0)
    # A density that is twice as high in its half of the cube saves a bit for each dimension.
    assert bits_per_dim(-12 * np.log(2), 12, 256) == pytest.approx(7.0)


def test_integers_become_uniform_within_their_level():
    x = np.arange(4, dtype=np.uint8).repeat(20_000)
    found = np.asarray(dequantised(KEY, x, 4))
    assert found.min() >= 0
    assert found.max() < 1
    np.testing.assert_array_equal(np.floor(found * 4), x)
    np.testing.assert_allclose(np.histogram(found, 16, (0, 1))[0], 5000, atol=300)
    beyond = np.array([-1, 0, 3, 4], np.int32)
    found = jax.jit(lambda x: dequantised(KEY, x, 4))(beyond)
    assert np.isnan(found).tolist() == [True, False, False, True]
    with pytest.raises(et.DataError, match="values from -1 to 4, expected 0 to 3"):
        dequantised(KEY, beyond, 4)
    model = Flow.create(KEY, (2,), layers=1, location=0.5, scale=0.3)
    batch = {"images": np.array([[0, 255], [3, 128]], np.uint8)}
    loss, metrics = NegativeLogLikelihood(256)(model, batch, et.Context.at(KEY))
    wanted = (float(loss) / 2 + np.log(256)) / np.log(2)
    assert float(metrics["bits_per_dim"]) == pytest.approx(wanted, rel=1e-5)


def test_halves_take_turns():
    def others(layers):
        """How many values each output depends on beside one."""
        model = rough(Flow.create(KEY, (5,), layers=layers, hidden=(8,), elementwise=Affine()))
        assert isinstance(model.layers, Coupling)
        return sorted((np.abs(np.asarray(jacobian(model, jnp.ones((1, 5)))[0])) > 1e-6).sum(1) - 1)

    # A layer leaves two values alone; the next changes them.
    assert others(1) == [0, 0, 2, 2, 2]
    assert min(others(2)) > 0
