"""Networks of a noisy example and a time, and their guidance by labels.

A denoiser is a function `(x, time, labels) -> y` of a batch: `x` and `y` are `(n, *shape)`, `time`
is `(n,)` from 0 to 1, `labels` is `(n, classes)` with rows of zeros where there is no label, or
None for a model without classes. What `y` means is the model's choice.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import etude as et
from etude.engine.numbers import is_count
from etude.systems.generative.backbones import real_values, refuse_misfit, refuse_no_function
from etude.systems.generative.checks import positive_of, shapes_of, sizes_of
from etude.systems.generative.examples import with_labels
from etude.systems.generative.perceptron import Perceptron

Denoiser = Callable[[Array, Array, Array | None], Array]
Field = Callable[[Array, Array], Array]


def time_features(time: Float[Array, " n"], count: int, highest: float) -> Float[Array, "n count"]:
    """Sines and cosines of times, with angular frequencies from 1 to `highest`.

    >>> time_features(jnp.zeros(1), 4, 100.0).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    rates = jnp.exp(jnp.linspace(0.0, math.log(highest), count // 2))
    angles = time[:, None] * rates.astype(time.dtype)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


@final
class TimePerceptron(eqx.Module):
    """A perceptron of all values, the time and the label.

    >>> net = TimePerceptron.create(jax.random.key(0), (2,), hidden=(16,))
    >>> net(jnp.zeros((5, 2)), jnp.zeros(5), None).shape
    (5, 2)

    Attributes:
        layers: the perceptron.
        features: sines and cosines of the time.
        highest: their greatest angular frequency; 1000 tells the steps of a diffusion from each
            other, less makes a field that is smooth in time.
    """

    layers: Perceptron
    features: int = eqx.field(static=True)
    highest: float = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        hidden: Sequence[int] = (128, 128),
        classes: int = 0,
        features: int = 32,
        highest: float = 1000.0,
    ) -> "TimePerceptron":
        """An untrained network.

        Raises:
            ConfigurationError: sizes below 1, or an odd number of features.
        """
        shapes_of("TimePerceptron", hidden=hidden, shape=shape)
        sizes_of("TimePerceptron", least=0, classes=classes)
        positive_of("TimePerceptron", highest=highest)
        if not is_count(features, 2) or features % 2:
            raise et.ConfigurationError(
                f"TimePerceptron: features are pairs of a sine and a cosine; got {features}."
            )
        values = math.prod(shape)
        layers = Perceptron(values + features + classes, tuple(hidden), values, key=key)
        return cls(layers, features, highest)

    def __call__(
        self,
        x: Float[Array, "n *shape"],
        time: Float[Array, " n"],
        labels: Float[Array, "n classes"] | None,
    ) -> Float[Array, "n *shape"]:
        timed = with_labels(x.reshape(len(x), -1), time_features(time, self.features, self.highest))
        return self.layers(with_labels(timed, labels)).reshape(x.shape)


def answer(net: Denoiser, x: Array, time: Array, labels: Array | None) -> Array:
    """What a network gives of a batch.

    Raises:
        ConfigurationError: no real values, or of another shape than x: they would be broadcast.
    """
    return real_values("net", x.shape, net(x, time, labels), x.shape)


def denoiser_of(
    owner: str,
    key: Key[Array, ""],
    net: Denoiser | None,
    shape: tuple[int, ...],
    classes: int,
    hidden: Sequence[int] | None,
    highest: float,
) -> Denoiser:
    """The network that a user gives, or else a perceptron of these widths.

    Raises:
        ConfigurationError: both are given, or the network is of other examples or classes.
    """
    if net is not None:
        if hidden is not None:
            raise et.ConfigurationError(
                f"{owner}: hidden has the widths of a perceptron, and net is given. Leave one out."
            )
        refuse_no_function(owner, "net", net, "(x, time, labels) -> y")
        x, labels = (2, *shape), (2, classes) if classes else None
        told = f"net fails for x of shape {x}, time of shape (2,) and labels of shape {labels}"
        refuse_misfit(owner, told, partial(answer, net), x, (2,), labels)
        return net
    hidden = (128, 128) if hidden is None else hidden
    return TimePerceptron.create(key, shape, hidden=hidden, classes=classes, highest=highest)


def weight_of(guidance: float) -> Any:
    """Guidance for `guided`: traced in a compiled function, but for 0 and 1.

    These are programs of their own, which call the network once.
    """
    return float(guidance) if guidance in (0, 1) else jnp.asarray(guidance, jnp.float32)


def guided(net: Denoiser, labels: Array | None, weight: Any) -> Field:
    """A network under guidance, `(x, time) -> y` (Ho and Salimans 2022).

    y = y without labels + weight (y with labels - y without). 0 is the model without labels and 1
    that with them, to the bit; above 1, labels count for more than the data says.
    """
    if labels is None or (isinstance(weight, float) and weight == 1):
        return lambda x, time: answer(net, x, time, labels)
    none = jnp.zeros_like(labels)
    if isinstance(weight, float) and weight == 0:
        return lambda x, time: answer(net, x, time, none)

    def mixed(x: Array, time: Array) -> Array:
        both = answer(
            net,
            jnp.concatenate([x, x]),
            jnp.concatenate([time, time]),
            jnp.concatenate([labels, none]),
        )
        given, free = jnp.split(both, 2)
        return free + jnp.asarray(weight, free.dtype) * (given - free)

    return mixed


def spread(key: Key[Array, ""], count: int) -> Float[Array, " n"]:
    """Numbers from 0 to 1, each uniform, together as even as a grid (Kingma et al. 2021).

    A mean over them varies less than one over independent numbers.

    >>> spread(jax.random.key(0), 4).shape
    (4,)
    """
    start = jax.random.uniform(key, ())
    return (start + jnp.arange(count) / count) % 1.0
