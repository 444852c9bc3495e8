"""The recipe of the run in `data/second_version`, which etude 0.1 of commit b0d712d has made.

    etude train second_recipe:recipe --run data/second_version --broken true

Its steps are lines of `history.jsonl`, and its checkpoints have format 2. Of its
`environment.json` and `commit_success.txt`, what tells about the machine was left out afterwards.
"""

import jax.numpy as jnp
import optax
from first_recipe import Broken, Lines, X, loss

import etude as et
from etude.recipe import Recipe, Trial

DATA = (X, X @ jnp.array([1.0, -2.0, 0.5]))


def trials(config):
    """One training, on samples in their order."""

    def build(**options):
        learner = et.Learner(et.Gradient(loss), optax.adam(0.3))
        data = et.ArrayData(DATA, batch_size=4, shuffle=False)
        phase = et.Phase(
            "fit", learner, data, et.Epochs(config.epochs),
            et.Validation(data), keep=et.Best("valid/loss"),
        )  # fmt: skip
        callbacks = [et.ModelCheckpoint(et.Steps(8)), *([Broken()] if config.broken else [])]
        return et.Trainer(jnp.zeros(3), phase, seed=config.seed, callbacks=callbacks, **options)

    return [
        Trial("line", config.seed, build, lambda model, split: {"error": loss(model, DATA, None)},
              skeleton=lambda: jnp.zeros(3))
    ]  # fmt: skip


recipe = Recipe("lines", "Fits a line.", Lines, trials, {"test error": "error"})
