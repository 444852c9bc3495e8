"""Densities in the plane whose differential entropy is known: what a likelihood is worth.

No model has a smaller expected -log p(x) than the entropy; what is above it is the Kullback-Leibler
divergence from the truth, in nats.

>>> {name: round(density.entropy, 3) for name, density in DENSITIES.items()}
{'moons': 1.008, 'eight-gaussians': 1.698, 'checkerboard': 2.079, 'ring': 1.647, 'gaussian': 2.615}
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.special import ive, logsumexp

import etude as et

Points = Float[np.ndarray, "n 2"]


@runtime_checkable
class Density(Protocol):
    """A density in the plane, in nats."""

    @property
    def entropy(self) -> float:
        """The differential entropy -E log p."""
        ...

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "count 2"]:
        """Independent points."""
        ...

    def log_density(self, x: Points) -> Float[np.ndarray, " n"]:
        """log p in float64; minus infinity where there is nothing."""
        ...


@final
@dataclass(frozen=True)
class Moons:
    """Two half circles of radius 1 that reach into each other, with normal noise.

    The curves are those of scikit-learn's `make_moons`.

    Attributes:
        noise: standard deviation of each coordinate.

    >>> Moons(0.05).sample(jax.random.key(0), 3).shape
    (3, 2)
    """

    noise: float = 0.1

    def __post_init__(self):
        _positive("Moons", noise=self.noise)

    @property
    def entropy(self) -> float:
        """By quadrature on a grid that the noise makes smooth: right to 1e-6."""
        margin = 7 * self.noise
        low, high = (-1 - margin, -0.5 - margin), (2 + margin, 1 + margin)
        return _entropy(self, low, high, self.noise / 3)

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "count 2"]:
        """A moon, a place on it, noise."""
        which, where, noise = jax.random.split(key, 3)
        angle = jax.random.uniform(where, (count,), maxval=math.pi)
        upper = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        lower = jnp.stack([1 - jnp.cos(angle), 0.5 - jnp.sin(angle)], axis=1)
        first = jax.random.bernoulli(which, shape=(count, 1))
        return jnp.where(first, upper, lower) + self.noise * jax.random.normal(noise, (count, 2))

    def log_density(self, x: Points) -> Float[np.ndarray, " n"]:
        """The noise around each place, summed over the curves by Gauss and Legendre's rule."""
        nodes, weights = np.polynomial.legendre.leggauss(math.ceil(20 / self.noise) + 20)
        angle = 0.5 * np.pi * (nodes + 1)
        upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
        return _mixture(x, np.concatenate([upper, lower]), np.tile(weights, 2), self.noise)


@final
@dataclass(frozen=True)
class Gaussians:
    """Normal densities of one width on a circle, each as likely.

    >>> Gaussians(4, 1.0, 0.1).centres.round(6).tolist()
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-0.0, -1.0]]
    """

    count: int = 8
    radius: float = 2.0
    scale: float = 0.2

    def __post_init__(self):
        _positive("Gaussians", count=self.count, radius=self.radius, scale=self.scale)

    @property
    def centres(self) -> Float[np.ndarray, "count 2"]:
        """Their means."""
        angle = 2 * np.pi * np.arange(self.count) / self.count
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    @property
    def entropy(self) -> float:
        """By quadrature, right to 1e-6."""
        edge = self.radius + 7 * self.scale
        return _entropy(self, (-edge, -edge), (edge, edge), self.scale / 3)

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "count 2"]:
        """One of them, then a point of it."""
        which, noise = jax.random.split(key)
        centres = jnp.asarray(self.centres, jnp.float32)
        chosen = centres[jax.random.randint(which, (count,), 0, self.count)]
        return chosen + self.scale * jax.random.normal(noise, (count, 2))

    def log_density(self, x: Points) -> Float[np.ndarray, " n"]:
        """The logarithm of the mean of their densities."""
        return _mixture(x, self.centres, np.ones(self.count), self.scale)


@final
@dataclass(frozen=True)
class Checkerboard:
    """Uniform on the eight black unit squares of a board from -2 to 2; it has edges.

    >>> Checkerboard().log_density(np.array([[-1.5, -1.5], [-1.5, -0.5]])).round(3).tolist()
    [-2.079, -inf]
    """

    @property
    def entropy(self) -> float:
        """The logarithm of the area."""
        return math.log(8)

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "count 2"]:
        """A square, then a place on it."""
        which, where = jax.random.split(key)
        row, half = jnp.divmod(jax.random.randint(which, (count,), 0, 8), 2)
        corner = jnp.stack([2 * half + row % 2, row], axis=1).astype(jnp.float32) - 2
        return corner + jax.random.uniform(where, (count, 2))

    def log_density(self, x: Points) -> Float[np.ndarray, " n"]:
        """Minus the entropy on black squares."""
        black = np.floor(x).sum(1) % 2 == 0
        inside = np.all((x >= -2) & (x < 2), axis=1)
        return np.where(black & inside, -self.entropy, -np.inf)


@final
@dataclass(frozen=True)
class Ring:
    """A circle with normal noise.

    >>> Ring(1.0, 0.1).sample(jax.random.key(0), 3).shape
    (3, 2)
    """

    radius: float = 2.0
    noise: float = 0.1

    def __post_init__(self):
        _positive("Ring", radius=self.radius, noise=self.noise)

    @property
    def entropy(self) -> float:
        """By quadrature over the radius, right to 1e-6."""
        low, high = max(0.0, self.radius - 9 * self.noise), self.radius + 9 * self.noise
        nodes, weights = np.polynomial.legendre.leggauss(400)
        radius = low + 0.5 * (high - low) * (nodes + 1)
        log = self.log_density(np.stack([radius, np.zeros_like(radius)], axis=1))
        shell = 2 * np.pi * radius * 0.5 * (high - low) * weights
        return -float(np.sum(shell * np.exp(log) * log))

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "count 2"]:
        """An angle, noise."""
        where, noise = jax.random.split(key)
        angle = jax.random.uniform(where, (count,), maxval=2 * math.pi)
        circle = self.radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
        return circle + self.noise * jax.random.normal(noise, (count, 2))

    def log_density(self, x: Points) -> Float[np.ndarray, " n"]:
        """The mean over the circle of the noise around it: a Bessel function."""
        variance, distance = self.noise**2, np.linalg.norm(x.astype(np.float64), axis=1)
        bessel = np.log(ive(0, distance * self.radius / variance))
        quadratic = (distance - self.radius) ** 2 / (2 * variance)
        return bessel - quadratic - math.log(2 * math.pi * variance)


@final
@dataclass(frozen=True)
class Gaussian2D:
    """A normal density with a correlation.

    Attributes:
        mean: of the coordinates.
        scale: their standard deviations.
        correlation: between them.

    >>> round(Gaussian2D().entropy, 3)
    2.615
    """

    mean: tuple[float, float] = (0.5, -0.5)
    scale: tuple[float, float] = (1.0, 1.0)
    correlation: float = 0.6

    def __post_init__(self):
        _positive("Gaussian2D", **{f"scale[{i}]": size for i, size in enumerate(self.scale)})
        if not -1 < self.correlation < 1:
            raise et.ConfigurationError(
                f"Gaussian2D: correlation is between -1 and 1; got {self.correlation}."
            )

    @property
    def covariance(self) -> Float[np.ndarray, "2 2"]:
        """Of the coordinates."""
        (a, b), r = self.scale, self.correlation
        return np.array([[a * a, r * a * b], [r * a * b, b * b]])

    @property
    def entropy(self) -> float:
        """log(2 pi e) + log det(covariance) / 2."""
        return math.log(2 * math.pi * math.e) + 0.5 * math.log(np.linalg.det(self.covariance))

    def sample(self, key: Key[Array, ""], count: int) -> Float[Array, "count 2"]:
        """White noise, turned and scaled."""
        factor = jnp.asarray(np.linalg.cholesky(self.covariance), jnp.float32)
        return jnp.asarray(self.mean, jnp.float32) + jax.random.normal(key, (count, 2)) @ factor.T

    def log_density(self, x: Points) -> Float[np.ndarray, " n"]:
        """The normal density."""
        white = np.linalg.solve(np.linalg.cholesky(self.covariance), (x - np.asarray(self.mean)).T)
        return 1 - self.entropy - 0.5 * (white**2).sum(0)


def _mixture(
    x: Points, centres: Float[np.ndarray, "k 2"], weights: Float[np.ndarray, " k"], scale: float
) -> Float[np.ndarray, " n"]:
    """log density of normal noise around weighted centres, some points at a time."""
    normal = np.log(weights / weights.sum()) - math.log(2 * math.pi * scale**2)
    parts = [
        logsumexp(
            normal - 0.5 * ((part[:, None] - centres) ** 2).sum(-1) / scale**2,
            axis=1,
        )
        for part in np.array_split(x.astype(np.float64), len(x) // 2000 + 1)
    ]
    return np.concatenate(parts)


@cache
def _entropy(
    density: Moons | Gaussians,
    low: tuple[float, float],
    high: tuple[float, float],
    step: float,
) -> float:
    """-E log p by the trapezoid rule, which is exact for what is smooth on the scale of a step."""
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    log = density.log_density(points)
    return -float(np.sum(np.exp(log) * log)) * step**2


def _positive(owner: str, **values: float) -> None:
    problems = [f"{name} must be positive; got {v}" for name, v in values.items() if not v > 0]
    if problems:
        raise et.ConfigurationError("\n".join(f"{owner}: {problem}." for problem in problems))


DENSITIES: Mapping[str, Density] = {
    "moons": Moons(),
    "eight-gaussians": Gaussians(),
    "checkerboard": Checkerboard(),
    "ring": Ring(),
    "gaussian": Gaussian2D(),
}
