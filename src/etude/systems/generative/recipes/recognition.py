"""A classifier of real pictures: it recognises samples of a class, and has features of them."""

from functools import cache
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Float, Integer

import etude as et
from etude.recipe import DataConfiguration
from etude.systems.generative.perceptron import Perceptron

#: Widths, steps and pictures per step of the classifier.
HIDDEN, STEPS, BATCH = (256, 64), 4000, 64


@cache
def pictures(name: str, root: str | None) -> Any:
    """The pictures, grey from 0 to 1; a tenth of the training ones are for validation."""
    return DataConfiguration.model_validate({"data": name, "root": root}).load(valid=0.1)


@cache
def recogniser(name: str, root: str | None) -> Perceptron:
    """A perceptron that is trained on the real pictures."""
    found = pictures(name, root)
    x = found.train.x.reshape(len(found.train.y), -1)
    net = Perceptron(x.shape[1], HIDDEN, len(found.classes), key=jax.random.key(0))
    data = et.ArrayData((x, found.train.y), BATCH)
    rate = optax.cosine_decay_schedule(1e-3, STEPS)

    def loss(net: Perceptron, batch: Any, context: et.Context) -> jax.Array:
        x, labels = batch
        return optax.softmax_cross_entropy_with_integer_labels(net(x), labels).mean()

    phase = et.Phase("fit", et.Learner(et.Gradient(loss), optax.adamw(rate)), data, et.Steps(STEPS))
    return et.Trainer(net, phase, progress=False).fit().model


def recognised(
    net: Perceptron, x: Float[np.ndarray, "n ..."], labels: Integer[np.ndarray, " n"]
) -> float:
    """The share of pictures whose class the classifier finds."""
    scores = np.asarray(_seen(net, x.reshape(len(x), -1))[1])
    return float((scores.argmax(-1) == labels).mean())


def features(net: Perceptron, x: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n features"]:
    """What the last layer of the classifier sees of pictures."""
    return np.asarray(_seen(net, x.reshape(len(x), -1))[0])


@jax.jit
def _seen(net: Perceptron, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    inner = jax.nn.gelu(eqx.tree_at(lambda n: n.layers, net, net.layers[:-1])(x))
    return inner, eqx.tree_at(lambda n: n.layers, net, net.layers[-1:])(inner)
