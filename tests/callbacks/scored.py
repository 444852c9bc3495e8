"""A phase that counts its steps, and whose validations report numbers of the test's choice."""

import jax.numpy as jnp
import optax

import etude as et

DATA = jnp.arange(12, dtype=jnp.float32)


def counter(trainable, rest, batch, context):
    """A rule that counts the steps."""
    return et.Proposal(jnp.array(-1.0), {})


def phase(name="fit", steps=40, scores=None, **options):
    """One number that counts its steps; a validation every two steps looks it up in `scores`."""
    if scores is not None:
        values = jnp.asarray(scores, jnp.float32)

        def measure(model, batch, context):
            return {"score": values[context.step // 2 - 1]}

        options["validation"] = et.Validation(et.ArrayData(DATA, 12), measure, et.Steps(2))
    learner = et.Learner(counter, optax.sgd(1.0))
    return et.Phase(name, learner, et.ArrayData(DATA, 3), et.Steps(steps), **options)


def trainer(*phases, **options):
    return et.Trainer(jnp.zeros(()), phases, progress=False, **options)
