"""Attention among the places of a U-Net, and the classifier that judges pictures."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.special

import etude as et
from etude.systems.generative import GAN, PictureEncoder, UNet
from etude.systems.generative.recipes.recognition import Classifier
from etude.systems.generative.unet import HEAD, Attention

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.fold_in(KEY, 1), (2, 3, 2, 2 * HEAD))


def awake():
    """Attention whose last weights are no longer zeros."""
    layer = Attention(2 * HEAD, key=KEY)
    weight = jax.random.normal(KEY, layer.outward.weight.shape)
    return eqx.tree_at(lambda a: a.outward.weight, layer, weight)


def test_attention_is_that_of_the_formula():
    layer = awake()
    flat = np.asarray(layer.norm(X), float).reshape(2, 6, -1) @ np.asarray(layer.inward.weight)
    wanted = np.zeros((2, 6, 2, HEAD))
    for picture in range(2):
        for head in range(2):
            start = 3 * HEAD * head
            query, key, value = np.split(flat[picture, :, start : start + 3 * HEAD], 3, axis=-1)
            shares = scipy.special.softmax(query @ key.T / HEAD**0.5, axis=-1)
            wanted[picture, :, head] = shares @ value
    wanted = np.asarray(X) + (wanted.reshape(X.shape) @ np.asarray(layer.outward.weight))
    np.testing.assert_allclose(layer(X), wanted, rtol=1e-4, atol=1e-4)


def test_attention_begins_as_the_identity_and_does_not_change_other_weights():
    np.testing.assert_array_equal(Attention(2 * HEAD, key=KEY)(X), X)
    plain, looking = (
        UNet.create(KEY, (4, 4), widths=(4, HEAD), attention=attention)
        for attention in (False, True)
    )
    without = eqx.tree_at(lambda n: n.attention, looking, None)
    assert eqx.tree_equal(plain, without)


def test_attention_lets_every_place_see_every_other():
    net = UNet.create(KEY, (8, 8), widths=(HEAD,), attention=True)
    net = eqx.tree_at(lambda n: n.attention, net, Attention(HEAD, key=KEY))
    weights = (net.attention.outward.weight, net.end.weight)
    weights = [jax.random.normal(KEY, w.shape) for w in weights]
    net = eqx.tree_at(lambda n: [n.attention.outward.weight, n.end.weight], net, weights)
    x = jax.random.normal(KEY, (1, 8, 8))

    def corner(x):
        return net(x, jnp.zeros(1), None)[0, 0, 0]

    assert (jax.grad(corner)(x) != 0).all()


def test_channels_that_are_no_whole_number_of_heads_are_refused():
    with pytest.raises(et.ConfigurationError, match="heads of 16 channels; got a last width of 8"):
        UNet.create(KEY, (4, 4), widths=(4, 8), attention=True)


@pytest.mark.parametrize("shape", [(8, 8), (7, 5), (6, 9, 3)])
def test_the_judge_takes_pictures_of_any_size(shape):
    net = Classifier(shape, 3, key=KEY)
    x = jax.random.uniform(KEY, (4, *shape))
    y = net(x)
    assert y.shape == (4, 3)
    np.testing.assert_allclose(y[:1], net(x[:1]), rtol=1e-4, atol=1e-5)
    gradient = eqx.filter_jit(jax.grad(lambda x: net(x).sum()))(x)
    assert np.abs(gradient).reshape(4, -1).sum(1).min() > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UNet.create(KEY, (4, 4), attention="no"), "attention is True or False; got 'no'"),
        (lambda: GAN.create(KEY, (2,), spectral="false"), "spectral is True or False; got 'false'"),
        (lambda: GAN.create(KEY, (2,), bounds="01"), "a lower and a higher number.*'01'"),
        (lambda: GAN.create(KEY, (2,), bounds=3), "a lower and a higher number.*3"),
        (lambda: GAN.create(KEY, (2,), latent=10**20), "latent must be at most 2147483647"),
        (
            lambda: GAN.create(
                KEY, (2, 8, 4), critic=PictureEncoder.create(KEY, (8, 4, 2), 1, widths=(2,))
            ),
            r"created with shape=\(8, 4, 2\), and got pictures of shape \(2, 8, 4\)",
        ),
    ],
    ids=["attention", "spectral", "text", "number", "latent", "channels first"],
)
def test_settings_that_would_mean_something_else_are_refused(make, words, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(et.ConfigurationError, match=words):
        make()
