"""Chains of hundreds of sites learn by gradients: with an identity for every class they did not."""

import jax
import jax.numpy as jnp

import etude as et
from etude.systems.born_machine import BornMachine, Embedding
from etude.systems.born_machine.config_methods import OptimizerSpec
from etude.systems.born_machine.criteria import ClassificationNLL

SITES, CLASSES, STEPS = 400, 5, 100


def pictures(n: int, seed: int):
    """Patterns of bright pixels on a dark ground, 15 % of them the wrong way round."""
    patterns = jax.random.bernoulli(jax.random.key(0), 0.3, (CLASSES, SITES))
    of_labels, of_noise, of_light = jax.random.split(jax.random.key(seed), 3)
    labels = jax.random.randint(of_labels, (n,), 0, CLASSES)
    bright = patterns[labels] ^ jax.random.bernoulli(of_noise, 0.15, (n, SITES))
    return jnp.where(bright, jax.random.uniform(of_light, (n, SITES)), -1.0), labels


def test_a_classifier_of_400_sites_learns_in_100_steps():
    kwargs = {"lr": 1e-4, "gradient_clip_norm": 3.0}
    spec = OptimizerSpec.model_validate({"kwargs": kwargs, "schedule": "cosine"})
    learner = et.Learner(et.Gradient(ClassificationNLL()), spec.build(STEPS))
    phase = et.Phase("pre", learner, et.ArrayData(pictures(800, 1), 32), et.Steps(STEPS))
    machine = BornMachine.create(jax.random.key(2), SITES, CLASSES, Embedding("legendre", 2), 6)
    learnt = et.Trainer(machine, phase, progress=False).fit().model
    x, labels = pictures(400, 3)
    assert float(jnp.mean(learnt.predict(x) == labels)) > 0.95
