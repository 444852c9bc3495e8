"""The recipe of the run in `data/first_version`, which etude 0.1 of commit 6ae033e has made.

    etude train first_recipe:recipe --run data/first_version --broken true

Of its `environment.json`, what tells about the machine was left out afterwards.
"""

import jax.numpy as jnp
import optax
from pydantic import Field

import etude as et
from etude.recipe import Configuration, Recipe, Trial

X = jnp.arange(24.0).reshape(8, 3) / 10
DATA = et.ArrayData((X, X @ jnp.array([1.0, -2.0, 0.5])), batch_size=4)


class Lines(Configuration, frozen=True):
    """Fits three numbers."""

    epochs: int = Field(20, gt=0, description="passes over the data")
    broken: bool = Field(False, description="end in epoch 10, as by an error")


class Broken(et.Callback):
    """The error."""

    def on_validation_end(self, event, metrics):
        if event.epoch == 10:
            raise RuntimeError("no power")


def loss(w, batch, context):
    """Squared error."""
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def trials(config):
    """One training; its loss swings, so that step 4 is the best of the first 16."""

    def build(**options):
        learner = et.Learner(et.Gradient(loss), optax.adam(0.3))
        phase = et.Phase(
            "fit", learner, DATA, et.Epochs(config.epochs),
            et.Validation(DATA), keep=et.Best("valid/loss"),
        )  # fmt: skip
        callbacks = [et.ModelCheckpoint(et.Steps(8)), *([Broken()] if config.broken else [])]
        return et.Trainer(jnp.zeros(3), phase, seed=config.seed, callbacks=callbacks, **options)

    def evaluate(model, split):
        return {"error": loss(model, (X, X @ jnp.array([1.0, -2.0, 0.5])), None)}

    return [Trial("line", config.seed, build, evaluate, skeleton=lambda: jnp.zeros(3))]


recipe = Recipe("lines", "Fits a line.", Lines, trials, {"test error": "error"})
