"""The problems: the same data and the same first weights for every peer, as NumPy arrays."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Problem:
    """A classification: `x` float32, `y` int32, and the first weights of the network.

    `layers` holds (weights, bias) per layer: (outputs, inputs) of a linear one, (outputs,
    inputs, width) of a convolution with stride 2. ReLU stands between all of them.
    """

    name: str
    title: str
    batch: int
    x: np.ndarray
    y: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    learning_rate: float = 1e-3

    @property
    def steps(self) -> int:
        """Steps per epoch; no peer trains on a short last batch."""
        return len(self.x) // self.batch


def perceptron(name: str, sizes: tuple[int, ...], batch: int, samples: int) -> Problem:
    """A multilayer perceptron that learns the classes of a random teacher."""
    rng = np.random.default_rng(0)
    kept = samples - samples % batch
    x = rng.standard_normal((kept, sizes[0])).astype(np.float32)
    teacher = rng.standard_normal((sizes[0], 4 * sizes[-1]))
    y = (np.maximum(x @ teacher, 0) @ rng.standard_normal((4 * sizes[-1], sizes[-1]))).argmax(1)
    layers = tuple(_uniform(rng, (fan_out, fan_in), fan_in) for fan_in, fan_out in pairwise(sizes))
    shown = "-".join(map(str, sizes))
    title = f"MLP {shown}, batch {batch}, Adam 1e-3, {kept} of {samples} samples"
    return Problem(name, title, batch, x, y.astype(np.int32), layers)


def convolutional(name: str, steps: int, batch: int = 64, length: int = 2048) -> Problem:
    """A one-dimensional convolutional network that tells slow from fast sines in noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, steps * batch).astype(np.int32)
    phase = np.arange(length) * (0.02 * (1 + y[:, None])) + rng.uniform(0, 6, (len(y), 1))
    x = np.sin(phase) + rng.standard_normal((len(y), length))
    channels, width = (1, 32, 64, 128, 256), 7
    layers = [
        _uniform(rng, (fan_out, fan_in, width), fan_in * width)
        for fan_in, fan_out in pairwise(channels)
    ]
    layers.append(_uniform(rng, (2, channels[-1]), channels[-1]))
    title = f"CNN 1-32-64-128-256, width 7, stride 2, batch {batch} x {length}, Adam 1e-3"
    return Problem(name, title, batch, x[:, None].astype(np.float32), y, tuple(layers))


def a(samples: int = 10_000) -> Problem:
    """Large enough that arithmetic dominates."""
    return perceptron("a", (784, 256, 128, 10), 64, samples)


def b(samples: int = 10_000) -> Problem:
    """So small that everything else dominates."""
    return perceptron("b", (2, 64, 64, 2), 32, samples)


def c() -> Problem:
    """Convolutions, which XLA runs slowly inside a loop on a CPU."""
    return convolutional("c", steps=4)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int):
    bound = 1 / np.sqrt(fan_in)
    weights = rng.uniform(-bound, bound, shape).astype(np.float32)
    return weights, np.zeros(shape[0], np.float32)
