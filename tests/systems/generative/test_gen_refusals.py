"""Data out of range and models of other families are refused before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems import generative as g
from etude.systems.generative.recipes.diffusion import DiffusionConfig
from etude.systems.generative.recipes.energy import EnergyConfig
from etude.systems.generative.recipes.gan import GANConfig

KEY = jax.random.key(0)
X = np.random.default_rng(0).random((20, 4)).astype(np.float32)
BINARY = (X > 0.5).astype(np.float32)
LABELS = np.arange(20, dtype=np.int32) % 3
SIZES = {"hidden": (3,), "classes": 3}
ADAM = optax.adam(1e-3)


def learner(loss):
    return et.Learner(et.Gradient(loss), ADAM)


FAMILIES = {
    "vae": (lambda: g.VAE.create(KEY, (4,), latent=2, **SIZES), learner(g.Bound()), X),
    "wae": (lambda: g.VAE.create(KEY, (4,), latent=2, **SIZES), learner(g.WassersteinMMD()), X),
    "gan": (
        lambda: g.GAN.create(KEY, (4,), latent=2, bounds=(0.0, 1.0), **SIZES),
        g.Adversarial().learners(ADAM, ADAM),
        X,
    ),
    "diffusion": (
        lambda: g.Diffusion.create(KEY, (4,), bounds=(0.0, 1.0), **SIZES),
        learner(g.Denoising()),
        X,
    ),
    "matching": (
        lambda: g.ContinuousFlow.create(KEY, (4,), bounds=(0.0, 1.0), **SIZES),
        learner(g.FlowMatching()),
        X,
    ),
    "flow": (
        lambda: g.Flow.create(KEY, (4,), layers=1, **SIZES),
        learner(g.NegativeLogLikelihood()),
        X,
    ),
    "made": (lambda: g.MADE.create(KEY, (4,), **SIZES), learner(g.NegativeLogLikelihood()), BINARY),
    "transformer": (
        lambda: g.CausalTransformer.create(KEY, (4,), width=4, heads=2, layers=1, classes=3),
        learner(g.NegativeLogLikelihood()),
        BINARY,
    ),
}


def trainer(model, learners, data, run=None, valid=None):
    validation = () if valid is None else et.Validation(et.ArrayData(valid, 5))
    phase = et.Phase("fit", learners, et.ArrayData(data, 5), et.Steps(1), validation)
    return et.Trainer(model, phase, run=run, progress=False)


@pytest.mark.parametrize("name", FAMILIES)
def test_labels_of_no_class_and_values_out_of_range_are_refused_first(name, tmp_path):
    create, learners, x = FAMILIES[name]
    model = create()
    assert trainer(model, learners, (x, LABELS))
    cases = [((x, LABELS + 1), r"labels from 1 to 3, expected 0 to 2 for 3 classes")]
    if name != "flow":
        cases.append(((5 * x - 2, LABELS), r"values from -\d.* to \d.*, expected 0 to 1"))
    for data, words in cases:
        with pytest.raises(et.DataError, match=words):
            trainer(model, learners, data, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_data_of_a_validation_are_seen_too():
    model, loss = g.VAE.create(KEY, (4,), latent=2, **SIZES), learner(g.Bound())
    with pytest.raises(et.DataError, match="labels from -1 to 1"):
        trainer(model, loss, (X, LABELS), valid=(X, LABELS - 1))


def test_codes_chains_and_levels_are_seen():
    vq = g.VQVAE.create(KEY, (4,), positions=2, codes=3, hidden=(3,))
    for loss in (g.Quantisation(), g.CodePrior()):
        with pytest.raises(et.DataError, match=r"values from .*expected 0 to 1"):
            trainer(vq, learner(loss), 3 * X)
    flow, levels = g.Flow.create(KEY, (4,), layers=1, hidden=(3,)), (4 * X).astype(np.uint8)
    assert trainer(flow, learner(g.NegativeLogLikelihood(levels=4)), levels)
    with pytest.raises(et.DataError, match="values from 0 to 3, expected 0 to 2"):
        trainer(flow, learner(g.NegativeLogLikelihood(levels=3)), levels)


OTHERS = {
    "diffusion": (g.NegativeLogLikelihood(), "one with an exact log_prob.*trained with Denoising"),
    "gan": (g.Bound(draws=2), "Bound: got a model of GAN, expected VAE.*learners of Adversarial"),
    "vae": (g.Denoising(), "expected Diffusion.*A VAE is trained with Bound"),
    "flow": (g.FlowMatching(), "expected ContinuousFlow"),
    "made": (g.Contrastive(), "expected EnergyModel"),
    "matching": (g.WassersteinMMD(), "expected VAE"),
    "transformer": (g.Quantisation(), "expected VQVAE"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_loss_of_another_family_is_refused_by_name(name):
    model, (loss, words) = FAMILIES[name][0](), OTHERS[name]
    with pytest.raises(et.ConfigurationError, match=words):
        trainer(model, learner(loss), (X, LABELS))


def test_a_game_needs_a_gan_and_a_loss_a_model():
    model = FAMILIES["vae"][0]()
    with pytest.raises(et.ConfigurationError, match="got a model of VAE, expected GAN"):
        trainer(model, g.Adversarial().learners(ADAM, ADAM), (X, LABELS))
    with pytest.raises(et.ConfigurationError, match="Bound: got a model of array, expected VAE"):
        trainer(jnp.ones(3), learner(g.Bound()), X)


@pytest.mark.parametrize("given", ["gaussian", g.Gaussian, 3], ids=["name", "class", "number"])
@pytest.mark.parametrize("model", [g.VAE, g.VQVAE], ids=["vae", "vq"])
def test_what_is_no_likelihood_is_refused(model, given):
    with pytest.raises(et.ConfigurationError, match=r"likelihood is Bernoulli\(\), Gaussian\(\)"):
        model.create(KEY, (4,), likelihood=given)


@pytest.mark.parametrize("config", [DiffusionConfig, EnergyConfig, GANConfig])
def test_fewer_points_than_a_step_takes_are_refused(config):
    with pytest.raises(ValueError, match="points=100 are fewer than those of a step, batch=256"):
        config(points=100)
