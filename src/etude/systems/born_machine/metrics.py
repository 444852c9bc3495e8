"""How good: likelihoods of a machine in nats, and distances between two sets of samples.

Two sets can share mean and covariance and yet look nothing alike, so that the Frechet distance
does not tell concentric circles from a blob; the maximum mean discrepancy and the sliced
Wasserstein distance do.

>>> a, b = np.zeros((3, 1)), np.array([[1.0], [1.0], [1.0]])
>>> frechet_distance(Moments.of(a), Moments.of(b))
1.0
>>> float(sliced_wasserstein(jnp.asarray(a), jnp.asarray(b), jax.random.key(0)))
1.0
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key, Real

from etude.systems.born_machine.labels import allowed, checked, of_label

Points = Float[Array, "samples sites"]
Others = Float[Array, "others sites"]

#: Widths of the kernels in units of the bandwidth. The usual single one, the median distance, is
#: nearly as blind to what happens within a cloud of points as two moments are.
WIDTHS = (1.0, 0.5, 0.25, 0.125)


def likelihoods(
    machine: Any, x: Real[Array, "batch sites"], labels: Integer[Array, " batch"]
) -> dict[str, Float[Array, " batch"]]:
    """What the machine says of each sample, from one contraction.

    Args:
        machine: a `BornMachine`, or what has its `log_weights` and `class_log_partition`.
        x: samples in the domain of the embedding.
        labels: the class of each sample.

    Returns:
        "acc": 1 where the most probable class is the label; "clsloss": -log p(c|x); "nll":
        -log p(x|c); "genloss": -log p(x,c). Densities are with respect to dx in the domain's
        coordinates and may be above one, so that their -log is negative.

    Raises:
        ValueError: a class that is not there; compiled, all values of its sample are NaN.
    """
    weights, partition = machine.log_weights(x), machine.class_log_partition()
    labels = checked("likelihoods", labels, weights.shape[1])
    right = (jnp.argmax(weights, axis=1) == labels).astype(weights.dtype)
    mine = partial(of_label, labels=labels, owner="likelihoods")
    return {
        "acc": jnp.where(allowed(labels, weights.shape[1]), right, jnp.nan),
        "clsloss": -mine(jax.nn.log_softmax(weights, axis=1)),
        "nll": -mine(weights - partition),
        "genloss": -mine(weights - jax.nn.logsumexp(partition)),
    }


class SampleMean(eqx.Module):
    """A mean over samples for `etude.evaluate`, summed on the host in double precision.

    >>> parts = SampleMean.of(jnp.ones(2)).merge(SampleMean.of(jnp.zeros(2)))
    >>> parts.compute()
    0.5
    """

    parts: tuple[Float[Array, " _"], ...]

    @classmethod
    def of(cls, values: Float[Array, " batch"]) -> "SampleMean":
        """The values of the samples of a batch."""
        return cls((values,))

    def merge(self, other: "SampleMean") -> "SampleMean":
        """Batches of different sizes stand side by side."""
        return SampleMean(self.parts + other.parts)

    def compute(self) -> float:
        """The mean over all samples."""
        total = sum(float(np.sum(np.asarray(part), dtype=float)) for part in self.parts)
        return total / sum(map(len, self.parts))


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of samples.

    >>> Moments.of(np.array([[0.0], [2.0]])).covariance.tolist()
    [[2.0]]
    """

    mean: Float[np.ndarray, " sites"]
    covariance: Float[np.ndarray, "sites sites"]

    @classmethod
    def of(cls, x: Float[np.ndarray | Array, "samples sites"]) -> "Moments":
        """Mean and unbiased covariance of samples. Raises ValueError for fewer than two samples."""
        if len(x) < 2:
            raise ValueError(f"Moments: got {len(x)} samples; a covariance needs two or more.")
        wide = np.asarray(x, np.float64)
        return cls(wide.mean(axis=0), np.atleast_2d(np.cov(wide, rowvar=False)))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mu_a - mu_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)), zero for equal moments.

    The square of the Wasserstein-2 distance of two normal distributions (Dowson and Landau 1982;
    as a score of samples: Heusel et al. 2017). In float64, by symmetric matrices only, so that
    singular covariances are no problem.
    """
    root = _root(a.covariance)
    eigenvalues = np.linalg.eigvalsh(root @ b.covariance @ root)
    cross = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    apart = np.sum((a.mean - b.mean) ** 2)
    return float(apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross)


def median_distance(x: Points, y: Others) -> Float[Array, ""]:
    """The median distance between two points of the union: the usual bandwidth of a kernel.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> float(median_distance(x, x[:1] + 3.0))
    2.0
    """
    both = jnp.concatenate([x, y])
    others = jnp.where(jnp.eye(len(both), dtype=bool), jnp.nan, _squares(both, both))
    return jnp.sqrt(jnp.nanmedian(others))


def maximum_mean_discrepancy(
    x: Points,
    y: Others,
    bandwidth: float | Float[Array, ""] | None = None,
    widths: Sequence[float] = WIDTHS,
) -> Float[Array, ""]:
    """The squared maximum mean discrepancy, unbiased: zero on average for equal distributions.

    Gretton et al. (2012), equation 3, with the mean over `widths` w of the kernels
    exp(-|x - y|^2 / (2 (w bandwidth)^2)). It may be slightly negative, and is differentiable in
    both sets.

    Args:
        x: two or more samples.
        y: two or more samples of the other set.
        bandwidth: width of the widest kernel; None: `median_distance`, a constant to derivatives.
        widths: widths of the kernels in units of the bandwidth.

    Raises:
        ValueError: fewer than two samples of a set.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"mmd: got {n} and {m} samples; expected two or more of each.")
    if bandwidth is None:
        bandwidth = jax.lax.stop_gradient(median_distance(x, y))
    unit = jnp.maximum(jnp.asarray(bandwidth, x.dtype), jnp.finfo(x.dtype).eps)

    def kernel(a: Array, b: Array) -> Array:
        exponents = -_squares(a, b) / (2 * unit**2)
        return sum(jnp.exp(exponents / width**2) for width in widths) / jnp.asarray(
            len(widths), x.dtype
        )

    def off_diagonal(a: Array) -> Array:
        k = kernel(a, a)
        return (jnp.sum(k) - jnp.trace(k)) / (len(a) * (len(a) - 1))

    return off_diagonal(x) + off_diagonal(y) - 2 * jnp.mean(kernel(x, y))


def sliced_wasserstein(
    x: Points, y: Others, key: Key[Array, ""], projections: int = 128
) -> Float[Array, ""]:
    """The Wasserstein-1 distance of projections on random directions, averaged over these.

    Rabin et al. (2011). Exact on each line for sets of any size, and differentiable in both; in
    one dimension it is the Wasserstein distance itself.

    Args:
        x: samples of one set.
        y: samples of the other set.
        key: seed of the random directions.
        projections: number of directions.
    """
    directions = jax.random.normal(key, (x.shape[1], projections), x.dtype)
    directions = directions / jnp.linalg.norm(directions, axis=0)
    along_x, along_y = (jnp.sort(points @ directions, axis=0) for points in (x, y))
    # The two quantile functions are steps: between two jumps of either, both are constant.
    n, m = len(x), len(y)
    jumps = np.unique(np.concatenate([np.arange(n + 1) * m, np.arange(m + 1) * n]))
    widths = jnp.asarray(np.diff(jumps) / (n * m), x.dtype)
    apart = jnp.abs(along_x[jumps[:-1] // m] - along_y[jumps[:-1] // n])
    return jnp.mean(widths @ apart)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _squares(a: Array, b: Array) -> Array:
    """Squared distances; the products in full precision, since they nearly cancel."""
    norms = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)
    return jnp.maximum(norms - 2 * jnp.matmul(a, b.T, precision="highest"), 0)
