"""Variational autoencoders against linear models whose log p(x) is known in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal

import etude as et
from etude.systems.generative import VAE, Bernoulli, Bound, Gaussian, log_likelihood

KEY = jax.random.key(0)
SCALE = 0.7


def linear(exact=True):
    """x = W z + b + noise, with its posterior as encoder; W has orthogonal columns."""
    rng = np.random.default_rng(3)
    columns = np.linalg.qr(rng.normal(size=(5, 2)))[0] * [1.5, 0.8]
    offset = rng.normal(size=5)
    model = VAE.create(KEY, (5,), latent=2, hidden=(), likelihood=Gaussian(SCALE))
    precision = 1 + (columns**2).sum(0) / SCALE**2
    gain = columns.T / SCALE**2 / precision[:, None]
    scale = -0.5 * np.log(precision) + (0 if exact else 0.3)
    encoder = np.concatenate([gain, np.zeros((2, 5))]), np.concatenate([-gain @ offset, scale])
    leaves = [
        *(jnp.asarray(a, jnp.float32) for a in encoder),
        jnp.asarray(columns, jnp.float32),
        jnp.asarray(offset, jnp.float32),
    ]
    model = eqx.tree_at(
        lambda m: [
            m.encoder.layers[0].weight, m.encoder.layers[0].bias,
            m.decoder.layers[0].weight, m.decoder.layers[0].bias,
        ],
        model,
        leaves,
    )  # fmt: skip
    covariance = columns @ columns.T + SCALE**2 * np.eye(5)
    return model, multivariate_normal(offset, covariance)


def test_with_the_exact_posterior_every_draw_is_the_evidence():
    model, truth = linear()
    x = truth.rvs(20, random_state=1).astype(np.float32)
    weights = model.log_weights(jnp.asarray(x), KEY, 8)
    np.testing.assert_allclose(weights, np.tile(truth.logpdf(x), (8, 1)), rtol=2e-5, atol=2e-5)


def test_elbo_then_importance_weights_then_evidence():
    model, truth = linear(exact=False)
    x = jnp.asarray(truth.rvs(50, random_state=1), jnp.float32)
    weights = model.log_weights(x, KEY, 4000)
    elbo = float(weights.mean())
    few = float(jax.nn.logsumexp(weights.reshape(400, 10, 50), axis=1).mean() - np.log(10))
    many = float(log_likelihood(model, x, KEY, 4000, at_once=500).mean())
    evidence = float(truth.logpdf(np.asarray(x)).mean())
    # The gap of the ELBO is KL(q || posterior), of two normal distributions that differ in scale.
    gap = 2 * 0.5 * (np.exp(0.6) - 1 - 0.6)
    assert elbo == pytest.approx(evidence - gap, abs=0.02)
    assert elbo < few < many
    assert many == pytest.approx(evidence, abs=0.02)


def test_the_elbo_in_closed_form_is_the_mean_of_the_weights():
    model, truth = linear(exact=False)
    x = jnp.asarray(truth.rvs(30, random_state=2), jnp.float32)
    keys = jax.random.split(KEY, 2000)
    contexts = jax.vmap(lambda key: Bound()(model, x, et.Context.at(key))[0])(keys)
    weights = model.log_weights(x, KEY, 4000)
    assert -float(contexts.mean()) == pytest.approx(float(weights.mean()), abs=0.01)


def gradients(bound, model, x, key=KEY):
    def loss(model):
        return bound(model, x, et.Context.at(key))[0]

    return eqx.filter_jit(eqx.filter_grad(loss))(model)


def test_each_part_of_piwae_follows_its_own_bound():
    model, truth = linear(exact=False)
    x = jnp.asarray(truth.rvs(6, random_state=3), jnp.float32)
    partial = gradients(Bound(draws=3, groups=4, partial=True), model, x)
    grouped = gradients(Bound(draws=3, groups=4), model, x)
    whole = gradients(Bound(draws=12), model, x)
    for found, wanted, other in [
        (partial.encoder, grouped.encoder, whole.encoder),
        (partial.decoder, whole.decoder, grouped.decoder),
    ]:
        for a, b, c in zip(*map(jax.tree.leaves, (found, wanted, other)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
            assert not np.allclose(a, c, rtol=1e-3)
    value = Bound(draws=3, groups=4, partial=True)(model, x, et.Context.at(KEY))[0]
    assert float(value) == pytest.approx(float(Bound(draws=12)(model, x, et.Context.at(KEY))[0]))


def test_mixtures_are_mixtures():
    model, truth = linear(exact=False)
    x = jnp.asarray(truth.rvs(6, random_state=3), jnp.float32)
    context = et.Context.at(KEY)
    iwae, metrics = Bound(draws=6)(model, x, context)
    ciwae, _ = Bound(draws=6, beta=0.25)(model, x, context)
    assert float(ciwae) == pytest.approx(-0.25 * float(metrics["elbo"]) + 0.75 * float(iwae))
    weights = np.asarray(model.log_weights(x, KEY, 6)).reshape(2, 3, -1)
    miwae = np.log(np.exp(weights).mean(1)).mean()
    assert float(Bound(draws=3, groups=2)(model, x, context)[0]) == pytest.approx(-miwae, rel=1e-5)


def test_the_weight_of_the_divergence_rises_and_stays():
    model, truth = linear(exact=False)
    x = jnp.asarray(truth.rvs(6, random_state=3), jnp.float32)

    def loss(progress):
        context = et.Context.at(KEY, 0, progress)
        return Bound(kl_weight=4.0, warm_up=0.5)(model, x, context)

    _, metrics = loss(0.0)
    for progress, weight in [(0.0, 0.0), (0.25, 2.0), (0.5, 4.0), (1.0, 4.0)]:
        wanted = float(metrics["reconstruction"] + weight * metrics["kl"])
        assert float(loss(progress)[0]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"draws": 0}, "draws must be at least 1; got 0"),
        ({"groups": 0}, "groups must be"),
        ({"beta": 0.5}, "give draws"),
        ({"beta": -1.0, "draws": 2}, "beta is a share"),
        ({"partial": True, "draws": 4}, "partial needs groups and draws"),
        ({"partial": True, "draws": 4, "groups": 2, "beta": 0.1}, "give one"),
        ({"kl_weight": 2.0, "draws": 2}, "for one draw"),
        ({"kl_weight": -1.0}, "must not be negative"),
        ({"warm_up": 2.0}, "warm_up is a share"),
    ],
)
def test_what_would_have_no_effect_is_refused(settings, words):
    with pytest.raises(et.ConfigurationError, match=words):
        Bound(**settings)


def test_logits_far_on_the_wrong_side_still_have_a_gradient():
    grad = jax.grad(lambda logits: Bernoulli().log_prob(logits, jnp.array([1.0, 0.0])))
    np.testing.assert_allclose(grad(jnp.array([-80.0, 80.0])), [1.0, -1.0])
    value = Bernoulli().log_prob(jnp.array([-80.0, 80.0]), jnp.array([1.0, 0.0]))
    assert float(value) == pytest.approx(-160.0)


def test_pictures_out_of_range_or_of_bytes_are_refused():
    model = VAE.create(KEY, (2,), latent=1, hidden=())
    with pytest.raises(et.DataError, match=r"values from 0 to 1; got uint8. Give zeros and ones"):
        model.read(np.zeros((3, 2), np.uint8))
    beyond = Bernoulli().log_prob(jnp.zeros((2, 2)), jnp.array([[0.0, 255.0], [0.0, 1.0]]))
    assert np.isnan(beyond).tolist() == [True, False]
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(Bound()), optax.sgd(0.1)),
        et.ArrayData(np.full((8, 2), 3.0, np.float32), 4),
        et.Steps(4),
    )
    with pytest.raises(et.DataError, match="values from 3 to 3, expected 0 to 1"):
        et.Trainer(model, phase, progress=False)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"pictures": np.zeros((3, 4), np.float32)}, "no 'images'"),
        (np.zeros((3, 5), np.float32), r"has the shape \(5,\), expected \(2, 2\)"),
        (np.zeros((3, 4), np.float32), "the batch no labels"),
        ((np.zeros((3, 4), np.float32), np.array([0, 1, 3])), "labels"),
    ],
)
def test_batches_that_do_not_fit_are_refused(batch, words):
    model = VAE.create(KEY, (2, 2), latent=1, hidden=(), classes=3)
    with pytest.raises(et.DataError, match=words):
        model.read(batch)


def test_labels_reach_encoder_and_decoder():
    model = VAE.create(KEY, (2, 2), latent=2, hidden=(4,), classes=3)
    x = jnp.ones((2, 2, 2))
    zero, one = ({"images": x, "labels": jnp.full(2, label)} for label in (0, 1))
    (x0, first), (_, second) = model.read(zero), model.read(one)
    assert not np.allclose(model.encode(x0, first).mean, model.encode(x0, second).mean)
    z = jnp.ones((2, 2))
    assert not np.allclose(model.decode(z, first), model.decode(z, second))
    same = [model.sample(KEY, 3, label, noise=False) for label in (1, np.array([1, 1, 1]))]
    np.testing.assert_array_equal(*same)
    with pytest.raises(et.DataError, match="has 3 classes"):
        model.sample(KEY, 3)
    with pytest.raises(et.DataError, match="was not trained with labels"):
        VAE.create(KEY, (2,), latent=1).sample(KEY, 3, 1)


def test_samples_have_the_mean_and_covariance_of_the_model():
    model, truth = linear()
    found = np.asarray(model.sample(KEY, 40_000), np.float64)
    np.testing.assert_allclose(found.mean(0), truth.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(found.T), truth.cov, atol=0.06)
    cold = np.asarray(model.sample(KEY, 100, temperature=0.0, noise=False))
    np.testing.assert_allclose(cold, np.tile(truth.mean, (100, 1)), rtol=1e-5)


def test_training_finds_the_evidence_of_a_linear_model():
    truth = linear()[1]
    x = truth.rvs(4000, random_state=5).astype(np.float32)
    fresh = jnp.asarray(truth.rvs(4000, random_state=6), jnp.float32)
    model = VAE.create(jax.random.key(1), (5,), latent=2, hidden=(), likelihood=Gaussian(SCALE))
    learner = et.Learner(et.Gradient(Bound()), optax.adam(optax.cosine_decay_schedule(0.02, 1500)))
    phase = et.Phase("fit", learner, et.ArrayData(x, 200), et.Steps(1500))
    model = et.Trainer(model, phase, progress=False).fit().model
    found = float(log_likelihood(model, fresh, KEY, 200).mean())
    entropy = float(truth.logpdf(np.asarray(fresh)).mean())
    assert found <= entropy + 0.02
    assert found == pytest.approx(entropy, abs=0.03)
