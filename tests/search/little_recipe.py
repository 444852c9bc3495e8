"""A recipe that trains in a moment, and a slow one that can be killed meanwhile."""

import time

import jax
import jax.numpy as jnp
import optax
from pydantic import Field

import etude as et
from etude.recipe import Configuration, Recipe, Trial


class Little(Configuration):
    rate: float = Field(0.1, gt=0, description="learning rate")
    steps: int = Field(20, ge=1, le=1000, description="steps")
    kind: str = Field("plain", description="anything")
    widths: tuple[int, ...] = Field((4, 4), description="anything")
    pause: float = Field(0.0, ge=0, description="seconds after each chunk of steps")


class Pause(et.Callback):
    def __init__(self, seconds):
        self.seconds = seconds

    def on_steps_end(self, event, metrics):
        time.sleep(self.seconds)


def loss(model, batch, context):
    noise = 0.1 * jax.random.normal(context.key, batch.shape)
    return jnp.mean((model - batch - noise) ** 2)


def trials(config):
    x = jax.random.normal(jax.random.key(3), (32,))
    data = et.ArrayData(x, 8)

    def build(**options):
        start = jax.random.normal(jax.random.key(config.seed), ())
        learner = et.Learner(et.Gradient(loss), optax.adam(config.rate))
        validation = et.Validation(data, every=et.Steps(5))
        phase = et.Phase("fit", learner, data, et.Steps(config.steps), validation)
        callbacks = [et.ModelCheckpoint(every=et.Steps(5))]
        if config.pause:
            callbacks.append(Pause(config.pause))
        return et.Trainer(start, phase, seed=config.seed, callbacks=callbacks, **options)

    def evaluate(model, split):
        return {"distance": float(abs(model - 1.0)), "split": float(split == "valid")}

    return [Trial("little", config.seed, build, evaluate)]


recipe = Recipe("little", "A little recipe.", Little, trials, {"test distance": "distance"})
