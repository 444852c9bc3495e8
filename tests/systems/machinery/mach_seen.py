"""What a user sees of a configuration of the recipes on windows, without training anything."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from etude.systems.machinery.recipes.networks import READ_BY
from fields import Change


def seen_of(recipe):
    """`seen(config)` for `fields.Change`: the trials, and how the first of them is trained."""

    def seen(config):
        trials = recipe.trials(config)
        trainer = trials[0].build(progress=False)
        phase = trainer.settings.phases[0]
        batch = next(iter(phase.data.sequential()))[0]
        return {
            "trials": [trial.name for trial in trials],
            "model": str(trainer.settings.model),
            "weights": float(sum(jnp.abs(x).sum() for x in floats(trainer.settings.model))),
            "epochs": phase.length.count,
            "batch": len(batch["signal"]),
            "length": batch["signal"].shape[1],
            "windows": len(phase.data),
            "data": float(np.abs(np.asarray(batch["signal"])).sum()),
            "rate": first_update(phase.learners.optimizer),
        }

    return seen


def floats(model):
    return [x for x in jax.tree.leaves(model) if eqx.is_inexact_array(x)]


def first_update(optimizer):
    """The first two of an optimizer, which tell its rate and how that falls."""
    ones = jnp.ones(1)
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes counts with floats
        first, state = optimizer.update(ones, optimizer.init(ones), ones)
        return [float(first[0]), float(optimizer.update(ones, state, ones)[0][0])]


def training(recipe, **beside):
    """The changes of the fields that all of these recipes have."""
    seen = seen_of(recipe)
    envelope = {**beside, "networks": ("envelope",)}
    either = {name: one for name, one in beside.items() if name not in READ_BY["envelope"]}
    cnn = {**either, "networks": ("CNN",)}
    return {
        "seed": Change(0, 1, seen, beside),
        "repeats": Change(1, 2, seen, beside),
        "window": Change(512, 256, seen, cnn),
        "bands": Change(1, 2, seen, envelope),
        "lines": Change(5, 6, seen, envelope),
        "width": Change(3, 4, seen, envelope),
        "channels": Change((2,), (2, 3), seen, cnn),
        "dropout": Change(0.1, 0.2, seen, beside),
        "epochs": Change(2, 3, seen, beside),
        "rate": Change(0.1, 0.2, seen, beside),
        "batch": Change(8, 9, seen, beside),
        # Long enough for the envelope network as it is by default.
        "networks": Change(("CNN",), ("envelope",), seen, {**either, "window": 1024}),
    }
