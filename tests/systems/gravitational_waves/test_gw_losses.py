"""The contrastive losses, against a plain loop over anchors and what is known of their values."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.systems.gravitational_waves import losses
from etude.systems.gravitational_waves.losses import Predictors

# One program each: operation by operation, compilation would take several times as long.
cpc_loss = jax.jit(losses.cpc_loss, static_argnames=("temperature", "hard_negatives"))
neighbour_info_nce = jax.jit(losses.neighbour_info_nce, static_argnames="temperature")

BATCH, TIME, LATENT, CONTEXT = 5, 12, 6, 4


def drawn(seed, batch=BATCH, time=TIME, latent=LATENT, context=CONTEXT, steps=3):
    keys = jax.random.split(jax.random.key(seed), 3)
    return (
        Predictors(context, latent, steps=steps, key=keys[0]),
        jax.random.normal(keys[1], (batch, time, latent)),
        jax.random.normal(keys[2], (batch, time, context)),
    )


def by_loops(predictors, latents, context, temperature, hard=None):
    """One anchor at a time, with the candidates picked by name."""
    z = np.asarray(latents) / np.linalg.norm(latents, axis=-1, keepdims=True)
    means = []
    for k, w in enumerate(np.asarray(predictors.weights), start=1):
        values = []
        for b in range(len(z)):
            for t in range(z.shape[1] - k):
                q = np.asarray(context)[b, t] @ w
                q /= np.linalg.norm(q)
                negatives = [z[b, s] @ q for s in range(z.shape[1]) if s not in (t, t + k)]
                negatives += [z[c, t + k] @ q for c in range(len(z)) if c != b]
                negatives = sorted(negatives, reverse=True)[:hard]
                logits = np.array([z[b, t + k] @ q, *negatives]) / temperature
                values.append(np.log(np.exp(logits).sum()) - logits[0])
        means.append(np.mean(values))
    return np.mean(means)


@pytest.mark.parametrize("hard", [None, 3])
@pytest.mark.parametrize("batch", [1, BATCH])
def test_equals_a_loop_over_anchors(batch, hard):
    predictors, latents, context = drawn(0, batch)
    expected = by_loops(predictors, latents, context, 0.3, hard)
    found = cpc_loss(predictors, latents, context, temperature=0.3, hard_negatives=hard)
    assert found == pytest.approx(expected, rel=1e-5)


def test_starts_near_ln_n():
    # In many dimensions random directions have cosines near zero.
    predictors, latents, context = drawn(1, 16, 32, 512, 512, steps=1)
    candidates = 1 + (32 - 2) + 15
    loss = cpc_loss(predictors, latents, context, temperature=1.0)
    assert loss == pytest.approx(np.log(candidates), abs=0.02)


def test_collapse_gives_ln_n_and_learning_gets_below_it():
    predictors, latents, context = drawn(2, steps=1)
    constant = jnp.ones_like(latents)
    at_zero = 1 + (TIME - 2) + BATCH - 1  # at t = 0 the positive is at 1, the own step at 0
    assert cpc_loss(predictors, constant, context) == pytest.approx(np.log(at_zero), rel=1e-5)
    # Latents that the context knows: the predictor alone can tell them apart.
    loss = lambda p: cpc_loss(p, latents, jnp.roll(latents, -1, axis=1))  # noqa: E731
    predictors = Predictors(LATENT, LATENT, steps=1, key=jax.random.key(0))
    step = jax.jit(jax.value_and_grad(loss))
    for _ in range(100):
        value, gradient = step(predictors)
        predictors = jax.tree.map(lambda w, g: w - 0.5 * g, predictors, gradient)
    assert value < 0.5 * np.log(at_zero)


def test_the_step_of_the_context_is_no_candidate():
    # A query equal to its own step: were that a negative, the loss could not fall below ln 2.
    predictors = Predictors(LATENT, LATENT, steps=1, key=jax.random.key(0))
    predictors = eqx.tree_at(lambda p: p.weights, predictors, jnp.eye(LATENT)[None])
    latents = jnp.zeros((1, 3, LATENT)).at[0, [0, 1], 0].set(1.0).at[0, 2, 1].set(1.0)
    # t = 0: the positive, step 1, has cosine 1, and so has step 0, which does not count.
    queries = latents.at[0, 1].set(jnp.eye(LATENT)[1])
    assert cpc_loss(predictors, latents, queries, temperature=0.05) < 1e-6


def test_each_predictor_looks_as_far_ahead_as_its_number():
    # z_{t+2} can be told from c_t, z_{t+1} cannot: only the second predictor finds anything.
    _, latents, _ = drawn(3, 8, 24)
    identity = jnp.stack([jnp.eye(LATENT)] * 2)
    both = Predictors(LATENT, LATENT, steps=2, key=jax.random.key(0))
    both = eqx.tree_at(lambda p: p.weights, both, identity)
    ahead = jnp.roll(latents, -2, axis=1)
    loss = cpc_loss(both, latents, ahead)
    swapped = cpc_loss(both, latents, jnp.roll(latents, -3, axis=1))
    assert loss < swapped - 2.0


def test_positive_at_batch_one_and_gradient_reaches_all():
    predictors, latents, context = drawn(4, batch=1)
    both = jax.jit(jax.value_and_grad(lambda args: cpc_loss(*args)))
    value, gradients = both((predictors, latents, context))
    assert value > 0.1
    for gradient in jax.tree.leaves(gradients):
        assert jnp.abs(gradient).max() > 1e-3


def test_refuses_what_cannot_work():
    predictors, latents, context = drawn(5)
    with pytest.raises(ValueError, match="expected 5 or more"):
        cpc_loss(predictors, latents[:, :4], context[:, :4])
    with pytest.raises(ValueError, match="hard_negatives=0"):
        cpc_loss(predictors, latents, context, hard_negatives=0)
    with pytest.raises(ValueError, match="steps=0"):
        Predictors(3, 3, steps=0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="2 steps"):
        neighbour_info_nce(jnp.ones((2, 2, 3)))


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_without_predictors_never_falls_below_its_bound(seed):
    # Even for the slowest features of all that still differ between windows.
    time = 20
    directions = jnp.eye(8)[:, None] + 1e-3 * jax.random.normal(jax.random.key(seed), (8, time, 8))
    one_window = directions[:1]
    bound = (time - 2) / (time - 1) * np.log(2)
    assert losses.calculate_fixed_cpc_loss is losses.neighbour_info_nce
    for features in (directions, one_window):
        assert neighbour_info_nce(features) >= bound
    # And it is reached: orthogonal steps that repeat once, in two windows.
    steps = jnp.eye(time)[None]
    walk = jnp.sqrt(0.5) * (steps + jnp.roll(steps, 1, axis=1))
    assert neighbour_info_nce(walk, temperature=0.01) >= bound


def test_the_loss_without_predictors_prefers_slowness_to_any_content():
    content = jax.random.normal(jax.random.key(0), (4, 30, 16))
    slow = jnp.cumsum(content, axis=1) + 30.0
    constant = jnp.ones_like(content)
    ordered = [neighbour_info_nce(x) for x in (slow, constant, content)]
    assert ordered[1] == pytest.approx(np.log(4 * 29), rel=1e-5)
    assert ordered[0] < ordered[1] < ordered[2]
