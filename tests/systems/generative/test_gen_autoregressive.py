"""MADE and the causal transformer: exact probabilities, order, cache, samples."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.generative import MADE, CausalTransformer, NegativeLogLikelihood

KEY = jax.random.key(0)
#: All pictures of two by three pixels.
ALL = np.asarray(list(product((0.0, 1.0), repeat=6)), np.float32)
KINDS = ("made", "transformer")


def rough(model, scale=1.0):
    """The model with larger weights, so that probabilities are far from a half."""
    leaves, treedef = jax.tree.flatten(model)
    keys = jax.random.split(KEY, len(leaves))
    moved = [x + scale * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return treedef.unflatten(moved)


def made(**settings):
    return rough(MADE.create(KEY, (2, 3), hidden=(12,), **settings))


def transformer(**settings):
    shape = {"shape": (2, 3), "width": 8, "layers": 2, "heads": 2, **settings}
    return rough(CausalTransformer.create(KEY, **shape), 0.3)


def create(kind, **settings):
    return (made if kind == "made" else transformer)(**settings)


@eqx.filter_jit
def log_prob(model, batch):
    return model.log_prob(batch)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_pictures_sum_to_one_for_each_class(kind):
    model = create(kind, classes=2)
    logs = [log_prob(model, (ALL, np.full(64, label))) for label in (0, 1)]
    np.testing.assert_allclose(np.exp(np.asarray(logs, np.float64)).sum(1), 1, rtol=1e-5)
    assert not np.allclose(*logs, atol=0.1)  # labels reach the model
    plain = np.asarray(log_prob(create(kind), ALL), np.float64)
    assert np.exp(plain).sum() == pytest.approx(1, rel=1e-5)
    assert plain.std() > 0.5


def test_probabilities_of_tokens_sum_to_one():
    model = transformer(shape=(3,), tokens=4)
    every = np.asarray(list(product(range(4), repeat=3)))
    logs = np.asarray(log_prob(model, every), np.float64)
    assert np.exp(logs).sum() == pytest.approx(1, rel=1e-5)
    same = [log_prob(model, every.astype(kind)) for kind in (np.uint8, np.float32)]
    np.testing.assert_array_equal(*same)


def test_each_order_sees_only_what_is_before():
    order = (3, 1, 5, 0, 2, 4)
    model = made(order=order)
    x = jax.random.normal(KEY, (6,))
    seen = eqx.filter_jit(jax.jacobian(lambda x: model.logits(x[None])[0]))(x) != 0
    place = np.asarray(order)
    np.testing.assert_array_equal(seen, place[:, None] > place[None])


def test_a_token_moves_only_the_logits_behind_it():
    model = transformer()
    logits = eqx.filter_jit(model.logits)
    tokens = jnp.asarray([[0, 1, 1, 0, 1, 0]])
    for position in range(6):
        other = tokens.at[0, position].set(1 - tokens[0, position])
        differ = np.abs(np.asarray(logits(tokens) - logits(other))).max(-1)[0] > 1e-6
        np.testing.assert_array_equal(differ, np.arange(6) > position)


@pytest.mark.parametrize("classes", [0, 3])
def test_the_cache_gives_the_logits_of_the_full_pass(classes):
    model = transformer(classes=classes)
    tokens, labels = jnp.asarray(ALL[::5], jnp.int32), None
    if classes:
        labels = jax.nn.one_hot(jnp.arange(len(tokens)) % 3, 3)
    wanted = model.logits(tokens, labels)
    step = eqx.filter_jit(model.next_logits)
    cache, before = model.empty_cache(len(tokens)), jnp.full(len(tokens), -7)
    for position in range(6):
        found, cache = step(cache, jnp.asarray(position), before, labels)
        np.testing.assert_allclose(found, wanted[:, position], rtol=1e-4, atol=1e-5)
        before = tokens[:, position]


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_sampling_with_the_cache_is_sampling_without(temperature):
    model = transformer()
    tokens = jnp.zeros((50, 6), jnp.int32)
    logits = eqx.filter_jit(model.logits)
    for position in range(6):
        key = jax.random.fold_in(KEY, position)
        drawn = jax.random.categorical(key, logits(tokens)[:, position] / temperature)
        tokens = tokens.at[:, position].set(drawn.astype(jnp.int32))
    found = model.sample(KEY, 50, temperature=temperature)
    np.testing.assert_array_equal(found.reshape(50, 6), tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_drawn_as_often_as_their_probability_says(kind):
    model = create(kind, classes=2, **({"order": (3, 1, 5, 0, 2, 4)} if kind == "made" else {}))
    x = np.asarray(model.sample(KEY, 40_000, 1)).reshape(-1, 6).astype(int)
    found = np.bincount(x @ (1 << np.arange(6))[::-1], minlength=64) / len(x)
    wanted = np.exp(np.asarray(log_prob(model, (ALL, np.ones(64, int)))))
    np.testing.assert_allclose(found, wanted, atol=5 * np.sqrt(wanted.max() / len(x)))
    cold = np.asarray(model.sample(KEY, 200, 1, temperature=1e-4)).reshape(200, 6)
    assert len(np.unique(cold, axis=0)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_training_finds_the_entropy(kind):
    """Of pictures whose pixels copy the one before with probability .9."""
    rng = np.random.default_rng(0)
    flips = rng.random((4000, 6)) < np.where(np.arange(6) == 0, 0.5, 0.1)
    x = (np.cumsum(flips, axis=1) % 2).astype(np.float32)
    entropy = np.log(2) - 5 * (0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    model = MADE.create(KEY, (6,), hidden=(32,))
    if kind == "transformer":
        model = CausalTransformer.create(KEY, (6,), width=16, layers=1, heads=2)
    rate = optax.cosine_decay_schedule(0.01, 300)
    learner = et.Learner(et.Gradient(NegativeLogLikelihood()), optax.adam(rate))
    phase = et.Phase("fit", learner, et.ArrayData(x, 200), et.Steps(300))
    model = et.Trainer(model, phase, progress=False).fit().model
    every = np.asarray(log_prob(model, ALL), np.float64)
    steps = np.abs(np.diff(ALL, axis=1)).sum(1)
    truth = np.log(0.5) + steps * np.log(0.1) + (5 - steps) * np.log(0.9)
    divergence = np.sum(np.exp(truth) * (truth - every))
    assert 0 <= divergence < 0.02
    assert np.sum(np.exp(truth) * truth) == pytest.approx(-entropy)


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_is_refused(kind):
    model = create(kind, classes=3)
    grey, plain = jnp.full((2, 6), 0.5).at[1].set(1.0), create(kind)
    assert np.isnan(eqx.filter_jit(log_prob)(plain, grey)).tolist() == [True, False]
    with pytest.raises(et.DataError, match=r"got the value 0\.5, expected whole numbers"):
        plain.log_prob(grey)
    with pytest.raises(et.DataError, match="the batch no labels"):
        model.log_prob(ALL)
    with pytest.raises(et.DataError, match="has 3 classes"):
        model.sample(KEY, 2)
    with pytest.raises(et.ConfigurationError, match="above 0; got 0"):
        model.sample(KEY, 2, 1, temperature=0.0)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (MADE, {"hidden": (0,)}, r"hidden\[0\] must"),
        (MADE, {"order": (0, 1)}, "2 places for 4 pixels"),
        (MADE, {"order": (0, 1, 2, 2)}, "each once"),
        (MADE, {"classes": -1}, "counts from 0"),
        (CausalTransformer, {"tokens": 1}, "tokens must"),
        (CausalTransformer, {"heads": 3}, "divide the width"),
        (CausalTransformer, {"layers": 0, "heads": 0}, "layers must.*\n.*heads must"),
    ],
)
def test_models_that_cannot_be_are_refused(kind, settings, words):
    with pytest.raises(et.ConfigurationError, match=words):
        kind.create(KEY, (4,), **settings)


def test_bytes_are_refused_by_made():
    with pytest.raises(et.DataError, match="MADE: a Bernoulli likelihood needs"):
        made().log_prob(np.zeros((2, 6), np.uint8))
