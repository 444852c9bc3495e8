"""A problem so small that it trains in no time: a plane fitted to four points."""

import jax.numpy as jnp
import numpy as np
import optax

import etude as et

X = jnp.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [2.0, 1.0]])
Y = jnp.array([1.0, -1.0, 0.5, 2.0])


def loss(model, batch, context):
    """Mean squared error of `head . (body @ x)`."""
    x, y = batch
    error = jnp.mean((x @ model["body"].T @ model["head"] - y) ** 2)
    return error, {"twice": 2 * error}


def model():
    """A linear model of two modules."""
    return {"body": jnp.array([[0.3, -0.2], [0.1, 0.4]]), "head": jnp.array([0.5, -0.5])}


def phase(name="fit", steps=40, validate=20, **options) -> et.Phase:
    """Gradient descent on all points, with validation."""
    data = et.ArrayData((X, Y), batch_size=4)
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.05))
    validation = et.Validation(data, every=et.Steps(validate))
    return et.Phase(name, learner, data, et.Steps(steps), validation=validation, **options)


def fit(phases, callbacks, **options) -> et.Result:
    """Trains quietly."""
    trainer = et.Trainer(model(), phases, callbacks=callbacks, progress=False, **options)
    return trainer.fit()


def recorded(history, phase, name) -> list[tuple[int, float]]:
    """`(global step, value)` of a metric in the history: what every logger must have written."""
    # A run directory writes float32 in decimal; back to float32, they are the same bits.
    kind = np.float32 if name.startswith("train/") else np.float64
    found = [(r["global_step"], r[name]) for r in history if r["phase"] == phase and name in r]
    return [(step, float(kind(value))) for step, value in found]


class Kill(et.Callback):
    """Ends the training as an interruption would, once, after so many steps."""

    def __init__(self, at):
        self.at = at

    def next_step(self, event):
        return self.at if event.step < self.at else None

    def on_steps_end(self, event, metrics):
        if event.step == self.at:
            raise RuntimeError("killed")
