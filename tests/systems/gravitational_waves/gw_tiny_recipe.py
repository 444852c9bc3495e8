"""A recipe that trains nothing worth it, but whose model can search."""

import equinox as eqx
import jax.numpy as jnp
import optax
from pydantic import Field

import etude as et
from etude.recipe import Configuration, Recipe, Trial


class Power(eqx.Module):
    """Loud in both detectors within a few milliseconds: enough for a click."""

    scale: jnp.ndarray

    def statistic(self, windows):
        blocks = jnp.square(windows).reshape(len(windows), -1, 64, 2).mean(axis=2)
        return self.scale * jnp.minimum(blocks[..., 0], blocks[..., 1]).max(axis=1)

    def spikes(self, window):
        return (jnp.abs(window) > 3).astype(jnp.float32)


class TinySearch(Configuration):
    sample_rate: float = Field(2048.0, description="Hz")
    window: float = Field(0.5, description="seconds")
    band: tuple[float, float] = Field((20.0, 1024.0), description="Hz")
    merger: tuple[float, float] = Field((0.2, 0.4), description="seconds")


def trials(config):
    def build(**options):
        def loss(model, batch, context):
            return jnp.mean((model.scale - batch) ** 2)

        data = et.ArrayData(jnp.ones(8), batch_size=8)
        phase = et.Phase("fit", et.Learner(et.Gradient(loss), optax.sgd(0.5)), data, et.Steps(5))
        return et.Trainer(Power(jnp.zeros(())), phase, seed=config.seed, **options)

    return [Trial("tiny", config.seed, build, lambda model, split: {"scale": float(model.scale)})]


recipe = Recipe("tiny-search", "A tiny search.", TinySearch, trials, {"scale": "scale"})
