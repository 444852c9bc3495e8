"""A classifier of real pictures: it recognises samples of a class, and has features of them."""

from functools import cache
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, Key

import etude as et
from etude.recipe import DataConfiguration
from etude.systems.generative.convolutional import Convolution, GroupNorm

#: Channels of the classifier at each size, and its features.
CHANNELS, FEATURES = (32, 64), 128
#: Pictures per step and steps of its training, and how many pictures it is shown at a time.
BATCH, STEPS, AT_ONCE = 64, 4000, 1000


@final
class Classifier(eqx.Module):
    """Convolutions, the largest of each four places twice, and a layer of features."""

    convolutions: tuple[Convolution, ...]
    norms: tuple[GroupNorm, ...]
    inner: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, shape: tuple[int, ...], classes: int, *, key: Key[Array, ""]):
        keys = jax.random.split(key, len(CHANNELS) + 2)
        height, width, inputs = *shape[:2], shape[2] if len(shape) == 3 else 1
        convolutions = []
        for one, outputs in zip(keys, CHANNELS, strict=False):
            convolutions.append(Convolution(inputs, outputs, key=one, gain=2**0.5))
            height, width, inputs = -(-height // 2), -(-width // 2), outputs
        self.convolutions = tuple(convolutions)
        self.norms = tuple(map(GroupNorm, CHANNELS))
        self.inner = eqx.nn.Linear(height * width * inputs, FEATURES, key=keys[-2])
        self.head = eqx.nn.Linear(FEATURES, classes, key=keys[-1])

    def features(self, x: Float[Array, "n *shape"]) -> Float[Array, "n features"]:
        """What the last layer sees."""
        y = x[..., None] if x.ndim == 3 else x
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y = _largest(jax.nn.relu(norm(convolution(y))))
        return jax.nn.relu(jax.vmap(self.inner)(y.reshape(len(y), -1)))

    def __call__(self, x: Float[Array, "n *shape"]) -> Float[Array, "n classes"]:
        return jax.vmap(self.head)(self.features(x))


def _largest(x: Float[Array, "n height width c"]) -> Float[Array, "n rows columns c"]:
    """The largest of each square of four places; those of an odd last line by themselves."""
    count, height, width, channels = x.shape
    even = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return even.reshape(count, -(-height // 2), 2, -(-width // 2), 2, channels).max((2, 4))


@cache
def pictures(name: str, root: str | None) -> Any:
    """The pictures, grey from 0 to 1; a tenth of the training ones are for validation."""
    return DataConfiguration.model_validate({"data": name, "root": root}).load(valid=0.1)


@cache
def recogniser(name: str, root: str | None) -> Classifier:
    """A classifier that is trained on the real pictures."""
    found = pictures(name, root)
    net = Classifier(found.train.x.shape[1:], len(found.classes), key=jax.random.key(0))
    data = et.ArrayData((found.train.x, found.train.y), BATCH)
    rate = optax.cosine_decay_schedule(1e-3, STEPS)

    def loss(net: Classifier, batch: Any, context: et.Context) -> jax.Array:
        x, labels = batch
        return optax.softmax_cross_entropy_with_integer_labels(net(x), labels).mean()

    learner = et.Learner(et.Gradient(loss), optax.adamw(rate, weight_decay=1e-2))
    phase = et.Phase("fit", learner, data, et.Steps(STEPS))
    return et.Trainer(net, phase, progress=False).fit().model


def recognised(
    net: Classifier, x: Float[np.ndarray, "n ..."], labels: Integer[np.ndarray, " n"]
) -> float:
    """The share of pictures whose class the classifier finds."""
    scores = np.concatenate([np.asarray(_scores(net, jnp.asarray(part))) for part in _parts(x)])
    return float((scores.argmax(-1) == labels).mean())


def features(net: Classifier, x: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n features"]:
    """What the last layer of the classifier sees of pictures."""
    return np.concatenate([np.asarray(_features(net, jnp.asarray(part))) for part in _parts(x)])


def _parts(x: np.ndarray) -> list[np.ndarray]:
    return [x[start : start + AT_ONCE] for start in range(0, len(x), AT_ONCE)]


@eqx.filter_jit
def _scores(net: Classifier, x: jax.Array) -> jax.Array:
    return net(x)


@eqx.filter_jit
def _features(net: Classifier, x: jax.Array) -> jax.Array:
    return net.features(x)
