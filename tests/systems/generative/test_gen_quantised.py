"""Vector quantisation against sums over all codes, and gradients written by hand."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.generative import VQVAE, CodePrior, Gaussian, Quantisation

KEY = jax.random.key(0)
CONTEXT = et.Context.at(KEY)


def small(**options):
    return VQVAE.create(
        KEY,
        (5,),
        positions=2,
        codes=3,
        width=2,
        hidden=(6,),
        **{"likelihood": Gaussian(), **options},
    )


def examples(count=7):
    return jax.random.normal(jax.random.key(1), (count, 5))


def test_codes_are_the_nearest_vectors():
    model, x = small(), examples()
    z = np.asarray(model.encode(x))
    wanted = [
        [
            min(range(3), key=lambda c, v=v: np.sum((v - np.asarray(model.vectors)[c]) ** 2))
            for v in row
        ]
        for row in z
    ]
    assert model.codes(x).tolist() == wanted


def test_the_prior_is_a_distribution_and_the_bound_is_below_the_evidence():
    model, x = small(), examples()
    every = jnp.array(list(itertools.product(range(3), repeat=2)))
    logs = model.log_prior(every)
    assert float(jnp.exp(logs).sum()) == pytest.approx(1.0, rel=1e-5)
    given = jax.vmap(
        lambda c: model.likelihood.log_prob(
            model.decode(jnp.tile(model.vectors[c], (len(x), 1, 1))), x
        )
    )
    evidence = jax.nn.logsumexp(given(every) + logs[:, None], axis=0)
    assert np.all(model.log_bound(x) <= evidence)
    # The bound is the term of the example's own codes.
    codes = model.codes(x)
    for row, code, bound in zip(range(len(x)), codes.tolist(), model.log_bound(x), strict=True):
        number = every.tolist().index(code)
        assert float(bound) == pytest.approx(float((given(every) + logs[:, None])[number, row]))


def test_codes_are_drawn_from_the_prior():
    model = small()
    every = np.array(list(itertools.product(range(3), repeat=2)))
    share = np.exp(np.asarray(model.log_prior(jnp.asarray(every))))
    outputs = np.asarray(model.decode(model.vectors[jnp.asarray(every)]))
    found = np.asarray(model.sample(KEY, 20_000, noise=False))
    which = np.argmin(((found[:, None] - outputs) ** 2).sum(-1), axis=1)
    counts = np.bincount(which, minlength=9) / 20_000
    np.testing.assert_allclose(counts, share, atol=4 * np.sqrt(0.25 / 20_000))


def test_encoder_decoder_and_codebook_have_the_gradients_of_the_paper():
    model, x = small(), examples()
    grads = eqx.filter_jit(eqx.filter_grad(lambda m: Quantisation(0.25)(m, x, CONTEXT)[0]))(model)
    z, codes = np.asarray(model.encode(x)), np.asarray(model.codes(x))
    e = np.asarray(model.vectors)[codes]
    wanted = np.zeros((3, 2))
    np.add.at(wanted, codes.ravel(), (2 * (e - z) / len(x)).reshape(-1, 2))
    # The codebook hears its own distance alone, not the decoder.
    np.testing.assert_allclose(grads.codebook, wanted, rtol=1e-4, atol=1e-6)

    def by_hand(z):  # what the encoder's outputs hear: the decoder's gradient at e, and the charge
        at = eqx.filter_jit(
            jax.grad(lambda e: -model.likelihood.log_prob(model.decode(e), x).mean())
        )(jnp.asarray(e))
        return at + 0.25 * 2 * (z - e) / len(x)

    last = grads.encoder.layers[-1].bias
    np.testing.assert_allclose(last, np.asarray(by_hand(z)).reshape(len(x), -1).sum(0), rtol=1e-4)
    assert all(np.any(np.asarray(g)) for g in jax.tree.leaves(grads.decoder))
    assert not any(np.any(np.asarray(g)) for g in jax.tree.leaves(grads.prior))


def test_the_prior_alone_learns_from_its_loss():
    grads = eqx.filter_jit(eqx.filter_grad(lambda m: CodePrior()(m, examples(), CONTEXT)[0]))(
        small()
    )
    for part in (grads.encoder, grads.decoder, grads.codebook):
        assert not any(np.any(np.asarray(g)) for g in jax.tree.leaves(part))
    assert np.any(np.asarray(grads.prior.layers[0].weight))


def test_an_averaged_codebook_is_the_running_mean():
    model, x = small(average=True), examples()
    before = model.average.value
    _, _, moved = Quantisation(decay=0.9)(model, x, CONTEXT)
    z, codes = np.asarray(model.encode(x)).reshape(-1, 2), np.asarray(model.codes(x)).ravel()
    counts = 0.9 * np.asarray(before["counts"]) + 0.1 * np.bincount(codes, minlength=3)
    sums = 0.9 * np.asarray(before["sums"])
    np.add.at(sums, codes, 0.1 * z)
    np.testing.assert_allclose(moved.average.value["counts"], counts, rtol=1e-5)
    np.testing.assert_allclose(moved.average.value["sums"], sums, rtol=1e-5)
    np.testing.assert_allclose(moved.vectors, sums / counts[:, None], rtol=1e-3)
    still = eqx.nn.inference_mode(model)
    same = Quantisation(decay=0.9)(still, x, CONTEXT)[2]
    np.testing.assert_array_equal(same.average.value["sums"], before["sums"])


@pytest.mark.parametrize("average", [False, True], ids=["gradient", "average"])
def test_two_phases_learn_codes_and_then_their_prior(average, tmp_path):
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((4, 5)) > 0.5, 64, axis=0).astype(np.float32)
    model = VQVAE.create(KEY, (5,), positions=1, codes=8, width=2, hidden=(16,), average=average)
    data = et.ArrayData(x, 32)
    adam = optax.adam(1e-2)

    def where(model):
        return model.encoder, model.decoder, model.codebook

    phases = [
        et.Phase(
            "codes",
            et.Learner(et.Gradient(Quantisation()), adam, where=where),
            data,
            et.Epochs(150),
        ),
        et.Phase(
            "prior",
            et.Learner(et.Gradient(CodePrior()), adam, where=lambda m: m.prior),
            data,
            et.Epochs(30),
        ),
    ]
    trainer = et.Trainer(model, phases, run=tmp_path / "run", progress=False)
    found = trainer.fit().model
    # Four pictures, equally often: the evidence is log(1/4) for each where every one has its code.
    pictures = len(np.unique(x, axis=0))
    assert float(found.log_bound(x).mean()) == pytest.approx(-np.log(pictures), abs=0.15)
    drawn = np.asarray(found.sample(KEY, 200))
    known = {tuple(row) for row in np.unique(x, axis=0)}
    assert np.mean([tuple(row) in known for row in drawn]) > 0.95


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"codes": 1}, "codes must be at least 2; got 1"),
        ({"positions": 0}, "positions must be at least 1"),
        ({"hidden": (0,)}, r"hidden\[0\] must be at least 1"),
    ],
    ids=["codes", "positions", "hidden"],
)
def test_sizes_that_cannot_be_are_refused(settings, words):
    with pytest.raises(et.ConfigurationError, match=words):
        VQVAE.create(KEY, (5,), **settings)
    with pytest.raises(et.ConfigurationError, match="commitment must not be negative"):
        Quantisation(commitment=-1.0)
    with pytest.raises(et.ConfigurationError, match="temperature must be above 0; got 0"):
        small().sample(KEY, 2, temperature=0.0)
