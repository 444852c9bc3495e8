"""`generative/vae` from its table to its samples, and Wasserstein autoencoders."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.cli.main import main
from etude.systems.generative import VAE, WassersteinMMD, squared_mmd
from etude.systems.generative.recipes import vae_recipe, vq_recipe
from etude.systems.generative.recipes.pictures import data
from etude.systems.generative.recipes.vae import METHODS, VAEConfig, build, evaluate, objective
from etude.systems.generative.recipes.vq import VQConfig

CONFIG = VAEConfig(methods=("conditional",), repeats=1, epochs=60, hidden=(32,))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, its table and its model."""
    run = tmp_path_factory.mktemp("generative") / "run"
    table = vae_recipe.run(CONFIG, run, progress=False, say=lambda line: None)
    return run, table, vae_recipe.load(CONFIG, run)


def test_the_table_is_of_bounds_and_figures_are_drawn(trained):
    run, table, model = trained
    elbo, bound, independent = map(float, table.rows[0][1:])
    # Tighter with more draws; and sixty epochs beat pixels that know nothing of each other.
    assert bound < elbo < independent
    assert (run / "figures/samples-conditional.png").exists()
    assert evaluate(CONFIG, 0, model, "test")["elbo"] == pytest.approx(elbo, abs=6e-3)


def test_independent_pixels_are_their_frequencies():
    found = data("digits", None)
    share = (found.train.x.reshape(-1, 64).sum(0) + 0.5) / (len(found.train.y) + 1)
    logs = np.where(found.test.x.reshape(-1, 64) == 1, np.log(share), np.log(1 - share))
    model = VAE.create(jax.random.key(0), (8, 8), latent=2, hidden=())
    wanted = -logs.sum(1).mean()
    assert evaluate(CONFIG, 0, model, "test")["independent"] == pytest.approx(wanted, rel=1e-5)


def use(capsys, *arguments):
    code = main([str(word) for word in arguments])
    return code, *capsys.readouterr()


def test_samples_are_those_of_the_model(trained, capsys):
    run, _, model = trained
    code, _, _ = use(
        capsys, "sample", run, "--count", 5, "--label", 3, "--seed", 4, "--temperature", 0.5
    )
    assert code == 0
    assert (run / "samples/samples.csv").read_text().splitlines()[1] == "0,3"
    found = np.load(run / "samples/samples.npy")
    wanted = model.sample(jax.random.key(4), 5, 3, temperature=0.5, noise=False)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert (run / "samples/samples.png").exists()
    assert use(capsys, "sample", run, "--noise", "--overwrite", "--count", 12)[0] == 0
    found = np.load(run / "samples/samples.npy")
    assert set(np.unique(found)) == {0.0, 1.0}
    code, _, said = use(capsys, "sample", run, "--label", 10, "--overwrite")
    assert code != 0
    assert "--label 10: the model has 10 classes" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"methods": ("elbo",), "draws": 9}, "draws is for iwae, miwae, piwae, ciwae"),
        ({"kl_weight": 2.0}, "kl_weight is for beta"),
        ({"methods": ("elbo",), "mmd_weight": 2.0, "mix": 0.1}, "mix is for ciwae.*mmd_weight"),
        ({"methods": ()}, "methods"),
        ({"batch": 1}, "batch"),
    ],
    ids=["draws", "weight", "two", "none", "batch"],
)
def test_choices_that_no_method_reads_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        VAEConfig(**settings)


@pytest.mark.slow
def test_every_method_minimises_something_else():
    model = VAE.create(jax.random.key(0), (4,), latent=2, hidden=(4,))
    x = jax.random.bernoulli(jax.random.key(1), 0.3, (8, 4)).astype(jnp.float32)
    context = et.Context.at(jax.random.key(2))
    config = VAEConfig(methods=METHODS)
    found = {
        name: eqx.filter_jit(
            jax.grad(lambda m, name=name: objective(config, name)(m, x, context)[0])
        )(model)
        for name in METHODS
        if name != "conditional"
    }
    gradients = [np.concatenate([g.ravel() for g in jax.tree.leaves(g)]) for g in found.values()]
    for number, one in enumerate(gradients):
        assert all(not np.allclose(one, other, rtol=1e-3) for other in gradients[:number])


def test_a_second_seed_redraws_the_weights_and_the_order():
    first, second = (build(CONFIG, "conditional", seed, progress=False) for seed in (0, 1))
    leaves = [t.settings.model.encoder.layers[0].weight for t in (first, second)]
    assert not np.allclose(*leaves)
    assert first.settings.seed != second.settings.seed


def test_discrepancy_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7, 3)).astype(np.float32)

    def kernel(x, y):
        squares = float(np.sum((x - y) ** 2))
        return sum(6 * s / (6 * s + squares) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    pairs = [(i, j) for i in range(7) for j in range(7)]
    within = sum(kernel(z[i], z[j]) for z in (a, b) for i, j in pairs if i != j) / 42
    between = sum(kernel(a[i], b[j]) for i, j in pairs) / 49
    found = float(squared_mmd(jnp.asarray(a), jnp.asarray(b)))
    assert found == pytest.approx(within - 2 * between, abs=1e-5)
    with pytest.raises(et.DataError, match="at least two samples"):
        squared_mmd(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    with pytest.raises(et.ConfigurationError, match="weight must be positive"):
        WassersteinMMD(0.0)


@pytest.mark.slow
def test_codes_are_learnt_then_their_prior_and_samples_are_drawn(tmp_path, capsys):
    config = VQConfig(methods=("average",), repeats=1, epochs=60, hidden=(64,), codes=8)
    table = vq_recipe.run(config, tmp_path / "run", progress=False, say=lambda line: None)
    bound, prior, used, independent = map(float, table.rows[0][1:])
    assert bound < independent
    # Four positions of at most log 8 nats, less what the prior knows of them.
    assert 0 < prior < 4 * np.log(8)
    assert 1 < used <= 8
    code, _, _ = use(capsys, "sample", tmp_path / "run", "--count", 5, "--temperature", 0.7)
    assert code == 0
    model = vq_recipe.load(config, tmp_path / "run")
    wanted = model.sample(jax.random.key(0), 5, temperature=0.7, noise=False)
    found = np.load(tmp_path / "run/samples/samples.npy")
    np.testing.assert_allclose(found, wanted, atol=1e-6)
