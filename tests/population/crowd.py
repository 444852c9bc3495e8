"""A small population, and its members trained alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et

X = np.random.default_rng(0).normal(size=(44, 3)).astype(np.float32)
Y = np.tanh(X @ np.array([1.0, -2.0, 0.5], np.float32))
DATA = et.ArrayData((jnp.asarray(X), jnp.asarray(Y)), 8)


def init(key, width=4):
    """A body and a head."""
    body, head = jax.random.split(key)
    return {
        "body": jax.random.normal(body, (3, width)) * 0.5,
        "head": jax.random.normal(head, (width,)) * 0.5,
    }


def loss(model, batch, context):
    """Squared error, with noise in the hidden units."""
    x, y = batch
    hidden = jnp.tanh(x @ model["body"])
    noise = 0.1 * jax.random.normal(context.key, hidden.shape)
    return jnp.mean(((hidden + noise) @ model["head"] - y) ** 2)


def error(model, batch, context):
    """What validations measure: no noise."""
    x, y = batch
    return {"error": jnp.mean((jnp.tanh(x @ model["body"]) @ model["head"] - y) ** 2)}


LEARNER = et.Learner(et.Gradient(loss), lambda hyper: optax.adam(hyper["rate"]))
VALIDATION = et.Validation(DATA, error, every=et.Steps(5))
RATES = [0.01, 0.03, 0.1]


def phase(learners=LEARNER, steps=20, validation=VALIDATION, name="fit", **options):
    return et.Phase(name, learners, DATA, et.Steps(steps), validation, **options)


def trainer(phases, vary=None, team=3, make=init, **options):
    vary = {"rate": RATES, "seed": range(len(RATES))} if vary is None else vary
    population = et.Population(make, vary=vary, team=team)
    return et.Trainer(phases=phases, population=population, progress=False, **options)


def alone(phase_of, number, vary, make=init, **options):
    """The lone training of a member; `phase_of(hyper)` makes its phases."""
    values = {name: list(column)[number] for name, column in vary.items()}
    seed = values.pop("seed", 0)
    model = make(jax.random.key(seed))
    return et.Trainer(model, phase_of(values), seed=seed, progress=False, **options).fit()


def numbers(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


def close(one, other, tolerance=1e-4):
    """Whether two models agree, relative to the largest number of each array."""
    for a, b in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def equal(one, other):
    """Whether two models have the same bits."""
    for a, b in zip(numbers(one), numbers(other), strict=True):
        np.testing.assert_array_equal(a, b)
