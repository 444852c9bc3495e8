"""Convolutional networks, and networks of a user's own, in autoencoders and adversarial models."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.cli.main import main
from etude.systems.generative import (
    GAN,
    VAE,
    Adversarial,
    Bound,
    PictureDecoder,
    PictureEncoder,
    SpectralNorm,
)
from etude.systems.generative.convolutional import Convolution, doubled, halved
from etude.systems.generative.recipes import gan_pictures, gan_pictures_recipe, judged
from etude.systems.generative.recipes.gan_pictures import GANPicturesConfig
from etude.systems.generative.recipes.recognition import pictures
from etude.systems.generative.recipes.vae import VAEConfig, build, objective, untrained

KEY = jax.random.key(0)
CONTEXT = et.Context.at(jax.random.key(1))
SIZES = {"widths": (4, 6), "hidden": (5,)}


def gan(shape=(4, 4), classes=0, **options):
    sizes = {**SIZES, "classes": classes}
    return GAN.create(
        KEY,
        shape,
        latent=3,
        generator=PictureDecoder.create(KEY, shape, 3, **sizes),
        critic=PictureEncoder.create(KEY, shape, 1, **sizes),
        classes=classes,
        **options,
    )


def test_the_product_of_patches_is_a_convolution():
    layer, x = Convolution(3, 4, key=KEY), jax.random.normal(KEY, (2, 5, 6, 3))
    kernel = layer.weight.reshape(3, 3, 3, 4)
    names = ("NHWC", "HWIO", "NHWC")
    wanted = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=names)
    np.testing.assert_allclose(layer(x), wanted, atol=1e-5)
    np.testing.assert_allclose(halved(doubled(x)), x, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 4), (4, 8, 3)], ids=["grey", "colours"])
@pytest.mark.parametrize("classes", [0, 2], ids=["plain", "conditional"])
def test_every_place_and_label_reaches_and_is_reached(shape, classes):
    labels = jnp.eye(2)[:1] if classes else None
    encoder = PictureEncoder.create(KEY, shape, 2, classes=classes, **SIZES)
    x = jax.random.normal(KEY, (1, *shape))
    seen = eqx.filter_jit(jax.jacobian(lambda x: encoder(x, labels)))(x)
    assert seen.shape == (1, 2, 1, *shape)
    assert np.all(np.asarray(seen) != 0)
    decoder = PictureDecoder.create(KEY, shape, 2, classes=classes, **SIZES)
    shown = eqx.filter_jit(jax.jacobian(lambda z: decoder(z, labels)))(jnp.ones((1, 2)))
    assert shown.shape == (1, *shape, 1, 2)
    assert np.all(np.asarray(shown) != 0)
    if labels is not None:
        other = labels[:, ::-1]
        # More than a constant: the slope of the score depends on the class.
        slopes = [
            eqx.filter_jit(jax.grad(lambda x, rows=rows: encoder(x, rows)[0, 0]))(x)
            for rows in (labels, other)
        ]
        assert not np.allclose(*slopes)
        z = jnp.ones((1, 2))
        assert not np.allclose(decoder(z, labels), decoder(z, other))


@pytest.mark.parametrize("classes", [0, 2], ids=["plain", "conditional"])
def test_a_function_of_pictures_is_what_the_perceptron_in_it_is(classes):
    own = VAE.create(KEY, (3, 4), latent=2, hidden=(5,), classes=classes)

    def encode(x, labels):
        assert x.shape[1:] == (3, 4)
        return own.encoder(x.reshape(len(x), -1), labels)

    def decode(z, labels):
        assert z.ndim == 2
        return own.decoder(z, labels).reshape(-1, 3, 4)

    model = VAE.create(KEY, (3, 4), latent=2, encoder=encode, decoder=decode, classes=classes)
    batch = {"images": jnp.ones((5, 3, 4)), "labels": jnp.array([0, 1, 1, 0, 1])}
    np.testing.assert_allclose(
        model.log_weights(batch, KEY, 7), own.log_weights(batch, KEY, 7), rtol=1e-5
    )
    labels = 1 if classes else None
    found = model.sample(KEY, 6, labels, noise=False)
    np.testing.assert_allclose(found, own.sample(KEY, 6, labels, noise=False), rtol=1e-5)
    # Widths are of the network that is not given.
    mixed = VAE.create(KEY, (3, 4), latent=2, hidden=(7,), decoder=decode, classes=classes)
    assert mixed.encoder.layers[0].out_features == 7


@pytest.mark.slow
def test_a_convolutional_autoencoder_and_its_bounds_are_trained():
    config = VAEConfig(methods=("conditional",), widths=(4, 6), hidden=(8,), latent=2)
    model = untrained(config, "conditional", 0)
    x = jax.random.bernoulli(KEY, 0.3, (20, 8, 8)).astype(jnp.float32)
    batch = (x, jnp.arange(20) % 10)
    for loss in (Bound(), Bound(draws=3, groups=2, partial=True)):
        grads = eqx.filter_jit(eqx.filter_grad(lambda m, loss=loss: loss(m, batch, CONTEXT)[0]))(
            model
        )
        leaves = jax.tree.leaves(eqx.filter(grads, eqx.is_array))
        assert all(np.any(np.asarray(leaf)) for leaf in leaves)
    learner = et.Learner(et.Gradient(Bound()), optax.adam(1e-2))
    phase = et.Phase("fit", learner, et.ArrayData(batch, 10), et.Epochs(20))
    result = et.Trainer(model, phase, progress=False).fit()
    loss = result.history["train/loss"].value
    assert np.mean(loss[-4:]) < np.mean(loss[:4]) - 2


def test_the_weight_of_the_divergence_rises_in_training_alone():
    config = VAEConfig(methods=("elbo",), warm_up=0.5, repeats=1, hidden=(4,), epochs=5)
    model, x = untrained(config, "elbo", 0), jnp.ones((4, 8, 8))
    loss, metrics = objective(config, "elbo")(model, x, CONTEXT)
    assert float(loss) == pytest.approx(float(metrics["reconstruction"]))
    (validation,) = build(config, "elbo", 0, progress=False).settings.phases[0].validations
    loss, metrics = validation.measure(model, x, CONTEXT)
    assert float(loss) == pytest.approx(-float(metrics["elbo"]))


@pytest.mark.parametrize("spectral", [False, True], ids=["free", "spectral"])
def test_neither_convolutional_player_moves_the_other(spectral):
    model = gan(classes=2, spectral=spectral, bounds=(0.0, 1.0))
    game = Adversarial(r1=1.0)
    batch = (jax.random.uniform(KEY, (6, 4, 4)), jnp.arange(6) % 2)

    def moved(part):
        leaves = jax.tree.leaves(eqx.filter(part, eqx.is_array))
        return [bool(np.any(np.asarray(leaf))) for leaf in leaves]

    critic = eqx.filter_jit(eqx.filter_grad(lambda m: game.critic(m, batch, CONTEXT)[0]))(model)
    assert sum(moved(critic.critic)) >= len(moved(critic.critic)) - 1  # a bias of all cancels
    assert not any(moved(critic.generator))
    generator = eqx.filter_jit(eqx.filter_grad(lambda m: game.generator(m, batch, CONTEXT)[0]))(
        model
    )
    assert all(moved(generator.generator))
    assert not any(moved(generator.critic))
    assert model.sample(KEY, 3, 1).shape == (3, 4, 4)
    assert model.score(batch).shape == (6,)


def test_weights_of_any_network_get_the_spectral_norm_1_and_constants_stay():
    net = {
        "a": gan(classes=2).critic,
        "b": eqx.nn.Conv2d(2, 3, 3, key=KEY),
        "c": et.Fixed(jnp.eye(2)),
    }
    norm = SpectralNorm.create(jax.random.key(3), net)
    for _ in range(300):
        divided, norm = norm(net)
    old, new = (jax.tree.leaves(eqx.filter(each, eqx.is_array)) for each in (net, divided))
    weights = 0
    for before, after in zip(old[:-1], new[:-1], strict=True):
        largest = 1.0
        if before.ndim > 1 and before.shape != (3, 1, 1):  # the bias of Equinox's convolution
            weights += 1
            largest = np.linalg.svd(np.asarray(before).reshape(len(before), -1))[1][0]
        np.testing.assert_allclose(after, before / largest, rtol=1e-3)
    assert weights == 6  # labels, two convolutions, two layers, and the convolution of Equinox
    np.testing.assert_array_equal(new[-1], np.eye(2))


def wide(z, labels):
    return jnp.zeros((len(z), 4, 5))


def score(x, labels):
    return x.mean((1, 2))[:, None]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: VAE.create(KEY, (4, 4), latent=2, decoder=wide),
            r"VAE: decoder.* shape \(2, 4, 5\)",
        ),
        (
            lambda: VAE.create(KEY, (4, 4), encoder=PictureEncoder.create(KEY, (4, 4), 20)),
            r"encoder: .*\(2, 20\), expected real values of shape \(2, 40\)",
        ),
        (lambda: VAE.create(KEY, (4, 4), encoder=7), r"encoder is a function \(x, labels\) -> y"),
        (
            lambda: VAE.create(KEY, (4, 4), hidden=(3,), encoder=score, decoder=wide),
            "both networks are given",
        ),
        (lambda: GAN.create(KEY, (4, 4), latent=2, generator=wide), "GAN: generator: of a batch"),
        (
            lambda: GAN.create(KEY, (4, 4), critic=lambda x, labels: x.mean((1, 2))),
            r"critic: .*shape \(2,\), expected real values of shape \(2, 1\)",
        ),
        (lambda: GAN.create(KEY, (4, 4), critic=score, spectral=True), "the network has none"),
        (
            lambda: GAN.create(
                KEY, (4, 4), classes=3, critic=PictureEncoder.create(KEY, (4, 4), 1, classes=2)
            ),
            "created with classes=2, and the model has 3",
        ),
        (
            lambda: GAN.create(KEY, (8, 8), critic=PictureEncoder.create(KEY, (4, 4), 1)),
            "created with shape=.4, 4., and got pictures of shape .8, 8.",
        ),
        (
            lambda: PictureEncoder.create(KEY, (6, 6), 1, widths=(2, 2, 2)),
            "multiples of 4; got 6 x 6",
        ),
        (lambda: PictureDecoder.create(KEY, (6, 6), 1, widths=()), "and widths; got"),
        (lambda: PictureDecoder.create(KEY, (6,), 1), r"a shape \(height, width\)"),
        (lambda: PictureDecoder.create(KEY, (4, 4), 0), "inputs must be at least 1"),
    ],
    ids=[
        *("outputs", "features", "number", "hidden", "generator", "scores", "weightless"),
        *("classes", "pictures", "halved", "widths", "rank", "inputs"),
    ],
)
def test_networks_that_do_not_fit_are_refused(make, words):
    with pytest.raises(et.ConfigurationError, match=f"(?s){words}"):
        make()


@pytest.mark.slow
def test_pictures_of_a_class_are_drawn_by_an_adversarial_network(tmp_path, capsys, monkeypatch):
    found = pictures("digits", None)
    flat = eqx.nn.Linear(64, 10, key=KEY)
    monkeypatch.setattr(gan_pictures, "COUNT", 500)
    monkeypatch.setattr(judged, "recogniser", lambda *_: flat)
    monkeypatch.setattr(judged, "features", lambda net, x: np.asarray(x).reshape(len(x), -1))
    monkeypatch.setattr(judged, "recognised", lambda net, x, labels: float(np.mean(labels == 3)))
    config = GANPicturesConfig(repeats=1, widths=(4, 6), hidden=(8,), latent=3, epochs=2)
    run = tmp_path / "run"
    table = gan_pictures_recipe.run(config, run, progress=False, say=lambda line: None)
    measures = dict(zip(table.head[1:], map(float, table.rows[0][1:]), strict=True))
    assert measures["recognised"] == pytest.approx(0.1)  # each class as often
    real = np.mean(found.test.y == 3)
    assert measures["of test pictures"] == pytest.approx(real, abs=6e-3)
    assert measures["Frechet distance"] > measures["of data"]
    assert (run / "figures/samples-non-saturating-r1.png").exists()
    words = ("--count", "6", "--label", "3", "--temperature", "0.5")
    assert main(["sample", str(run), *words]) == 0
    model = gan_pictures_recipe.load(config, run)
    wanted = model.sample(jax.random.key(0), 6, 3, temperature=0.5)
    np.testing.assert_allclose(np.load(run / "samples/samples.npy"), wanted, atol=1e-5)
    assert wanted.shape == (6, 8, 8)
    assert (run / "samples/samples.csv").read_text().splitlines()[1] == "0,3"
    assert main(["sample", str(run), "--overwrite", "--label", "10"]) != 0
    assert "--label 10: the model has 10 classes" in capsys.readouterr().err
    with pytest.raises(ValueError, match="penalty is for methods that end with -penalty"):
        GANPicturesConfig(penalty=3.0)
