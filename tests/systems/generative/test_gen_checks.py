"""Settings and batches that cannot be meant, refused by name in every family alike."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import etude as et
from etude.systems.generative.adversarial import Adversarial
from etude.systems.generative.bounds import Bound, log_likelihood
from etude.systems.generative.energy import Contrastive, EnergyModel
from etude.systems.generative.exact import NegativeLogLikelihood
from etude.systems.generative.flows import Flow, Spline
from etude.systems.generative.gan import GAN
from etude.systems.generative.likelihoods import Gaussian
from etude.systems.generative.made import MADE
from etude.systems.generative.quantised import VQVAE, Quantisation
from etude.systems.generative.transformer import CausalTransformer
from etude.systems.generative.vae import VAE

KEY = jax.random.key(0)
CONTEXT = et.Context.at(KEY)
INF, NAN = math.inf, math.nan
X = np.zeros((3, 2), np.float32)

#: Of each family: how it is made, and whether it can have classes.
FAMILIES = {
    "vae": (VAE, {"latent": 1, "hidden": (2,)}, True),
    "gan": (GAN, {"latent": 1, "hidden": (2,)}, True),
    "flow": (Flow, {"layers": 1, "hidden": (2,)}, True),
    "made": (MADE, {"hidden": (2,)}, True),
    "transformer": (CausalTransformer, {"width": 2, "heads": 1, "layers": 1}, True),
    "vqvae": (VQVAE, {"positions": 1, "codes": 2, "width": 1, "hidden": (2,)}, False),
    "energy": (EnergyModel, {"hidden": (2,)}, False),
}
EVERY = pytest.mark.parametrize("family", FAMILIES)
CONDITIONAL = pytest.mark.parametrize("family", [n for n, one in FAMILIES.items() if one[2]])


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def made(family, **settings):
    kind, usual, _ = FAMILIES[family]
    return kind.create(KEY, **{"shape": (2,), **usual, **settings})


@EVERY
def test_batches_that_cannot_be_are_refused(family):
    model = made(family)
    for batch, words in [
        (None, "examples are an array; got NoneType"),
        (X.tolist(), r"a batch has 3 parts|got list"),
        (X[:2].tolist(), "got list"),
        ("pictures", "examples are an array; got str"),
        ((), "a batch has 0 parts"),
        ((X, np.zeros(3, int), X), "a batch has 3 parts"),
        (X[:0], r"shape \(0, 2\) has no examples"),
        (np.float32(1.0), "examples are an array"),
        (jnp.ones(()), "has no examples"),
        (X.astype(np.complex64), "complex64"),
        (X.astype(str), "expected real numbers"),
        ({1: X, "x": X}, "but no 'images'"),
    ]:
        with pytest.raises(et.DataError, match=words):
            model.read(batch)


@CONDITIONAL
def test_as_many_labels_as_examples(family):
    model = made(family, classes=2)
    for labels in (np.zeros(2, int), np.zeros(1, int), np.full((4, 2), 0.5, np.float32)):
        with pytest.raises(et.DataError, match=r"3 examples and . labels"):
            model.read((X, labels))
    with pytest.raises(et.DataError, match="labels"):
        model.read((X, 1))
    # As everywhere: NaN in, NaN out.
    x, rows = model.read((X, np.array([[NAN, 1.0], [0.0, 1.0], [1.0, 0.0]], np.float32)))
    assert np.isnan(rows).any(1).tolist() == [True, False, False]
    assert len(x) == 3


@EVERY
@pytest.mark.parametrize("count", [-1, 0, 2.5, True, "3", None], ids=repr)
def test_a_count_of_samples_is_a_whole_number_from_1(family, count):
    with pytest.raises(et.ConfigurationError, match=r"sample: count must be"):
        made(family).sample(KEY, count)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "energy"])
@pytest.mark.parametrize("temperature", [NAN, INF, -1.0, "1", True], ids=repr)
def test_a_temperature_is_finite(family, temperature):
    with pytest.raises(et.ConfigurationError, match=r"sample: temperature"):
        made(family).sample(KEY, 2, temperature=temperature)


@CONDITIONAL
def test_labels_of_samples_are_numbers(family):
    for labels in ("1", ["0", "1"], 1.0, 1j):
        with pytest.raises(et.DataError, match="labels"):
            made(family, classes=2).sample(KEY, 2, labels)


@EVERY
def test_sizes_are_whole_numbers(family):
    _, usual, conditional = FAMILIES[family]
    with pytest.raises(et.ConfigurationError, match=r"sequence of sizes; got 16. Give \(16,\)"):
        made(family, shape=16)
    for name in [*usual, *["classes"] * conditional]:
        for bad in (2.5, True, "3", None):
            wrong = (bad,) if name == "hidden" else bad
            with pytest.raises(et.ConfigurationError, match=f"{name}.*must be a whole number"):
                made(family, **{name: wrong})
    if "hidden" in usual:
        with pytest.raises(et.ConfigurationError, match="hidden must be a sequence"):
            made(family, hidden=8)


@pytest.mark.parametrize(
    ("make", "settings", "words"),
    [
        (Gaussian, {"scale": INF}, "scale must be a finite"),
        (Bound, {"kl_weight": INF}, "kl_weight must be a finite"),
        (Bound, {"kl_weight": NAN}, "kl_weight must be a finite"),
        (Bound, {"warm_up": "1"}, "warm_up must be a finite"),
        (Bound, {"draws": 2.5}, "draws must be a whole"),
        (Quantisation, {"commitment": NAN}, "commitment must be a finite"),
        (Quantisation, {"commitment": INF}, "commitment must be a finite"),
        (Quantisation, {"decay": 1.0}, "decay is below 1"),
        (Adversarial, {"r1": INF}, "r1 must be a finite"),
        (Contrastive, {"decay": INF}, "decay must be a finite"),
        (NegativeLogLikelihood, {"levels": 2.5}, "levels must be a whole"),
        (Spline, {"bins": 2.5}, "bins must be a whole"),
        (Spline, {"reach": INF}, "reach must be a finite"),
    ],
)
def test_numbers_of_settings_are_finite(make, settings, words):
    with pytest.raises(et.ConfigurationError, match=words):
        make(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale": INF}, "scale must be finite"),
        ({"location": NAN}, "location must be finite"),
        ({"location": np.zeros(3)}, "location has 3 numbers for 2 values"),
        ({"scale": np.ones((1, 3))}, "scale has 3 numbers for 2 values"),
    ],
    ids=["infinite", "nan", "location", "scale"],
)
def test_a_flow_has_a_number_for_each_value(settings, words):
    with pytest.raises(et.ConfigurationError, match=words):
        made("flow", **settings)


def test_draws_of_a_likelihood_are_whole_numbers():
    settings: list[dict[str, Any]] = [{"draws": 0}, {"draws": 2.5}, {"at_once": 0}, {"at_once": -5}]
    for wrong in settings:
        with pytest.raises(et.ConfigurationError, match=f"{next(iter(wrong))} must be"):
            log_likelihood(made("vae"), X, KEY, **wrong)


def test_a_decay_of_averages_needs_averages():
    with pytest.raises(et.ConfigurationError, match=r"decay=0.5 .* average=True"):
        Quantisation(decay=0.5)(made("vqvae"), X, CONTEXT)
    Quantisation(decay=0.5)(made("vqvae", average=True), X, CONTEXT)


class Slope(eqx.Module):
    """A linear energy of one value: beside a normal density, it moves the mean."""

    weight: float

    def __call__(self, x):
        return self.weight * x[..., :1]


def sloped(weight: float, values: int = 1) -> EnergyModel:
    model = EnergyModel.create(KEY, (values,), hidden=(), width=2.0)
    return eqx.tree_at(lambda m: m.net, model, Slope(weight))


@pytest.mark.parametrize("values", [1, 2])
def test_a_quadrature_that_misses_the_density_says_so(values):
    # exp(6 x - x^2 / 8): a normal density around 24, whose logarithmic constant is
    # 72 + log(2 sqrt(2 pi)), beyond the usual edge of 12.
    model, x = sloped(-6.0, values), jnp.full((1, values), 1.0)
    for ask in (model.log_partition, lambda: model.log_prob(x)):
        with pytest.raises(et.ConfigurationError, match=r"from -12 to 12 .* a larger edge"):
            ask()
    assert jnp.isnan(eqx.filter_jit(EnergyModel.log_partition)(model))
    assert jnp.isnan(eqx.filter_jit(EnergyModel.log_prob)(model, x)).all()
    wanted = 72 + values * math.log(2 * math.sqrt(2 * math.pi))
    assert float(model.log_partition(edge=40.0)) == pytest.approx(wanted, abs=1e-3)
    energy = float(model.energy(x)[0])
    assert float(model.log_prob(x, edge=40.0)[0]) == pytest.approx(-energy - wanted, abs=1e-3)


def test_a_quadrature_needs_points_enough():
    model = sloped(0.0)
    for settings, words in [
        ({"points": 2}, "points must be at least 3"),
        ({"points": 2.5}, "points must be a whole"),
        ({"points": 3}, "larger number of points"),
        ({"points": 5}, "larger number of points"),
        ({"edge": -1.0}, "edge must be positive"),
        ({"edge": NAN}, "edge must be a finite"),
        ({"edge": 3.0}, "larger edge"),
    ]:
        with pytest.raises(et.ConfigurationError, match=words):
            model.log_partition(**settings)
    wanted = math.log(2 * math.sqrt(2 * math.pi))
    assert float(model.log_partition(points=13)) == pytest.approx(wanted, abs=1e-3)
