"""A recipe whose trials differ in nothing but the seed, and what of it does not."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field

import etude as et
from etude.recipe import Configuration, Recipe, Trial

X = np.linspace(-1, 1, 24, dtype=np.float32)[:, None]
Y = np.sin(2 * X[:, 0])


class Lines(Configuration, frozen=True):
    repeats: int = Field(2, ge=1, le=20, description="seeds of each method")
    methods: int = Field(1, ge=1, le=2, description="how many methods")
    steps: int = Field(12, ge=1, description="steps of the phase")
    shifted: bool = Field(False, description="data that depend on the seed")
    closed: bool = Field(False, description="a loss that depends on the seed")
    broken: bool = Field(False, description="one seed is not finite")


def build(config, rate, seed, /, **options):
    shift = seed if config.closed else 0

    def loss(model, batch, context):
        x, y = batch
        found = jnp.mean((jax.vmap(model)(x) - y + shift) ** 2)
        return jnp.where(config.broken & (model.bias[0] > 0), jnp.nan, found)

    data = et.ArrayData((jnp.asarray(X + seed * config.shifted), jnp.asarray(Y)), 8)
    valid = et.Validation(data, every=et.Steps(5))
    learner = et.Learner(et.Gradient(loss), optax.adam(rate))
    phase = et.Phase(
        "fit", learner, data, et.Steps(config.steps), valid, keep=et.Best("valid/loss")
    )
    stopping = et.EarlyStopping("valid/loss", patience=3)
    return et.Trainer(skeleton(seed), phase, callbacks=[stopping], seed=seed, **options)


def skeleton(seed):
    return eqx.nn.Linear(1, "scalar", key=jax.random.key(seed))


def evaluate(model, split):
    return {"error": float(jnp.mean((jax.vmap(model)(jnp.asarray(X)) - Y) ** 2))}


def trials(config):
    return [
        Trial(name, seed, partial(build, config, rate, seed), evaluate, partial(skeleton, seed))
        for name, rate in (("fast", 0.1), ("slow", 0.01))[: config.methods]
        for seed in range(config.seed, config.seed + config.repeats)
    ]


recipe = Recipe("lines", "Fits a line to a sine.", Lines, trials, {"test error": "error"})
