"""`Learner(project=...)`: what is applied to the part after every update."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import blobs, fit, mlp, same

import etude as et

BOUND = 0.1


def clipped(part):
    return jax.tree.map(lambda w: jnp.clip(w, -BOUND, BOUND), part)


def largest(model):
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(model) if eqx.is_array(x))


def game(critic_options):
    """A Wasserstein GAN with clipped weights (Arjovsky et al., 2017)."""

    def critic_loss(model, batch, context):
        noise = jax.random.normal(context.key, batch.shape)
        fake = jax.lax.stop_gradient(jax.vmap(model["generator"])(noise))
        critic = jax.vmap(model["critic"])
        return critic(fake).mean() - critic(batch).mean()

    def generator_loss(model, batch, context):
        noise = jax.random.normal(context.key, batch.shape)
        return -jax.vmap(model["critic"])(jax.vmap(model["generator"])(noise)).mean()

    return [
        et.Learner(
            et.Gradient(critic_loss), optax.rmsprop(5e-2), lambda m: m["critic"], "critic",
            **critic_options,
        ),
        et.Learner(
            et.Gradient(generator_loss), optax.rmsprop(1e-2), lambda m: m["generator"], "generator"
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "repeat": 2}], ids=["", "parts"])
def test_a_critic_with_clipped_weights_stays_within_bounds(options):
    model = {"critic": mlp(0), "generator": mlp(1)}
    model = eqx.tree_at(lambda m: m["critic"].layers[-1].weight, model, jnp.full((2, 8), 0.05))
    data = et.ArrayData(blobs(64)[0], 16)
    learners = game({"project": clipped, "ema": 0.9, **options})
    valid = et.Validation(
        data, lambda m, b, c: {"largest": largest_traced(m["critic"])}, et.Steps(4), ema=True
    )
    result = fit(model, et.Phase("gan", learners, data, et.Steps(12), valid))
    assert largest(result.model["critic"]) == pytest.approx(BOUND), "the clipping is at work"
    assert largest(result.model["generator"]) > BOUND, "and reaches the critic alone"
    # Bounds are convex: an average of what is within them is.
    assert result.metrics["valid/largest"] <= 0.6
    free = fit(model, et.Phase("gan", game(options), data, et.Steps(12)))
    assert largest(free.model["critic"]) > BOUND


def largest_traced(model):
    return jnp.stack(
        [jnp.abs(x).max() for x in jax.tree.leaves(eqx.filter(model, eqx.is_array))]
    ).max()


def norm_phase(project, where=None, **options):
    def loss(model, batch, context):
        return jnp.mean((batch @ model["w"]) ** 2) + jnp.sum(model["b"])

    learner = et.Learner(et.Gradient(loss), optax.sgd(0.5), where, project=project, **options)
    data = et.ArrayData(np.random.default_rng(0).normal(size=(8, 3)), 4, shuffle=False)
    return et.Phase("fit", learner, data, et.Steps(5))


MODEL = {"w": jnp.ones(3), "b": jnp.zeros(2), "fixed": et.Fixed(jnp.ones(2)), "n": jnp.int32(3)}


def test_it_gets_what_where_selects_and_equals_a_numpy_loop():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    w = np.ones(3)
    for step in range(5):
        batch = x[step % 2 * 4 :][:4]
        w = w - 0.5 * 2 * batch.T @ (batch @ w) / 4
        w = w / np.linalg.norm(w)
    result = fit(MODEL, norm_phase(lambda w: w / jnp.linalg.norm(w), lambda m: m["w"]))
    np.testing.assert_allclose(result.model["w"], w, rtol=1e-4)
    assert same(result.model["b"], MODEL["b"])
    several = norm_phase(
        lambda part: (part[0] + 1, part[1] / jnp.linalg.norm(part[1])), lambda m: (m["b"], m["w"])
    )
    result = fit(MODEL, several)
    np.testing.assert_allclose(result.model["w"], w, rtol=1e-4)
    np.testing.assert_allclose(result.model["b"], 5 * (1 - 0.5), rtol=1e-6)


def test_the_whole_model_comes_with_none_for_what_is_not_trained():
    seen = []

    def project(model):
        seen.append(model)
        return {**model, "w": model["w"] * 0}

    result = fit(MODEL, norm_phase(project))
    assert (seen[0]["fixed"].value, seen[0]["n"]) == (None, None)
    assert (result.model["w"] == 0).all()


def test_a_skipped_step_projects_nothing():
    phase = norm_phase(lambda w: w + jnp.nan * 0 + 1, lambda m: m["w"])
    bad = {**MODEL, "w": jnp.full(3, jnp.inf)}
    result = fit(bad, phase, nonfinite="skip")
    assert same(result.model["w"], bad["w"])


@pytest.mark.parametrize(
    ("project", "match"),
    [
        (lambda m: {"w": m["w"]}, r"must return the part that it got.*got 1 arrays"),
        (lambda m: {**m, "w": m["w"][:2]}, r"\(2,\)"),
        (lambda m: None, "got 0 arrays"),
    ],
)
def test_another_part_is_refused(project, match):
    with pytest.raises(et.ConfigurationError, match=match):
        fit(MODEL, norm_phase(project))
