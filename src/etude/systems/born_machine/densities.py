"""Densities in the plane whose differential entropy is known: what a likelihood is worth.

No model can have a smaller expected -log p(x|c) than the entropy, and -log p(x|c) minus the
entropy is the Kullback-Leibler divergence from the truth.

>>> [round(density.entropy, 4) for density in DENSITIES["checkerboard"]]
[0.6931, 0.6931]
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

Points = Float[np.ndarray, "samples 2"]

#: Lowest and highest coordinate of all densities, on both axes.
SUPPORT = (-1.0, 1.0)


class AbstractDensity:
    """A density on the square `SUPPORT`."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """The differential entropy -E log p in nats."""

    @abstractmethod
    def sample(self, random: np.random.Generator, count: int) -> Points:
        """Independent samples."""

    @abstractmethod
    def log_density(self, x: Points) -> Float[np.ndarray, " samples"]:
        """log p in nats; minus infinity outside the support."""


@dataclass(frozen=True)
class Cells(AbstractDensity):
    """Uniform on equal squares that do not overlap; `corners` are their lowest points.

    >>> Cells(((0.0, 0.0),), side=1.0).entropy
    0.0
    """

    corners: tuple[tuple[float, float], ...]
    side: float

    @property
    def entropy(self) -> float:
        """The logarithm of the area."""
        return float(np.log(len(self.corners) * self.side**2))

    def sample(self, random: np.random.Generator, count: int) -> Points:
        """A cell, then a point of it."""
        cell = random.integers(len(self.corners), size=count)
        return np.asarray(self.corners)[cell] + self.side * random.random((count, 2))

    def log_density(self, x: Points) -> Float[np.ndarray, " samples"]:
        """Minus the entropy, within."""
        place = (x[:, None] - np.asarray(self.corners)) / self.side
        within = np.any(np.all((place >= 0) & (place < 1), axis=2), axis=1)
        return np.where(within, -self.entropy, -np.inf)


@dataclass(frozen=True)
class Annulus(AbstractDensity):
    """Uniform between two circles around the origin.

    >>> round(Annulus(0.0, 1.0).entropy, 4)
    1.1447
    """

    inner: float
    outer: float

    @property
    def entropy(self) -> float:
        """The logarithm of the area."""
        return float(np.log(np.pi * (self.outer**2 - self.inner**2)))

    def sample(self, random: np.random.Generator, count: int) -> Points:
        """An angle, and a radius whose square is uniform."""
        angle = random.uniform(0, 2 * np.pi, count)
        radius = np.sqrt(random.uniform(self.inner**2, self.outer**2, count))
        return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def log_density(self, x: Points) -> Float[np.ndarray, " samples"]:
        """Minus the entropy, within."""
        radius = np.linalg.norm(x, axis=1)
        within = (radius >= self.inner) & (radius <= self.outer)
        return np.where(within, -self.entropy, -np.inf)


@dataclass(frozen=True)
class TruncatedGaussian(AbstractDensity):
    """Two independent normal coordinates, cut to the support.

    Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, section 13.10.1.
    """

    mean: tuple[float, float]
    std: tuple[float, float]

    @property
    def entropy(self) -> float:
        """The sum of the entropies of the coordinates."""
        low, high, mass = self._cut()
        edges = low * _bell(low) - high * _bell(high)
        whole = np.log(np.sqrt(2 * np.pi * np.e) * np.asarray(self.std) * mass)
        return float(np.sum(whole + edges / (2 * mass)))

    def sample(self, random: np.random.Generator, count: int) -> Points:
        """By the inverse of the distribution function."""
        low, _, mass = self._cut()
        standard = ndtri(ndtr(low) + mass * random.random((count, 2)))
        return np.asarray(self.mean) + np.asarray(self.std) * standard

    def log_density(self, x: Points) -> Float[np.ndarray, " samples"]:
        """Log-density in nats of the normal, cut off and renormalised; minus infinity outside."""
        std, mass = np.asarray(self.std), self._cut()[2]
        standard = (x - np.asarray(self.mean)) / std
        found = -0.5 * standard**2 - np.log(np.sqrt(2 * np.pi) * std * mass)
        within = np.all((x >= SUPPORT[0]) & (x <= SUPPORT[1]), axis=1)
        return np.where(within, found.sum(axis=1), -np.inf)

    def _cut(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The ends of the support in standard units, and the mass between them."""
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        low, high = (SUPPORT[0] - mean) / std, (SUPPORT[1] - mean) / std
        return low, high, ndtr(high) - ndtr(low)


def _bell(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def _board(colour: int, cells: int = 4) -> Cells:
    side = (SUPPORT[1] - SUPPORT[0]) / cells
    grid = [(i, j) for i in range(cells) for j in range(cells) if (i + j) % 2 == colour]
    return Cells(tuple((SUPPORT[0] + side * i, SUPPORT[0] + side * j) for i, j in grid), side)


#: The density of each class, by the name of the data set.
DENSITIES: dict[str, tuple[AbstractDensity, ...]] = {
    "squares": (Cells(((-0.8, -0.8),), 0.6), Cells(((0.2, 0.2),), 0.6)),
    "checkerboard": (_board(0), _board(1)),
    "annuli": (Annulus(0.2, 0.45), Annulus(0.7, 0.95)),
    "gaussians": (
        TruncatedGaussian((-0.4, 0.3), (0.3, 0.25)),
        TruncatedGaussian((0.4, -0.3), (0.25, 0.4)),
    ),
}
