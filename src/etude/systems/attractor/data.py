"""Samples for attractor networks: of one's own, and noisy prototypes with a known optimum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Real

import etude as et
from etude.data import check_labels


@dataclass(frozen=True)
class Standard:
    """What makes flat samples of mean zero at each site and of mean square one over all.

    Attributes:
        mean: mean of each site over the training samples.
        scale: what all sites are divided by.

    >>> standard = Standard.fit(np.array([[[0.0, 4.0]], [[2.0, 4.0]]]))
    >>> [[round(v, 3) for v in row] for row in standard(np.array([[[1.0, 4.0]]])).tolist()]
    [[0.0, 0.0]]
    """

    mean: Float[np.ndarray, " sites"]
    scale: float

    @classmethod
    def fit(cls, x: Real[np.ndarray, "samples ..."]) -> Standard:
        """The standard of training samples. Raises `ValueError` if they are all alike."""
        flat = x.reshape(len(x), -1)
        mean = flat.mean(0)
        scale = np.sqrt(((flat - mean) ** 2).mean())
        if not scale > 0:
            raise ValueError(
                "standardised: all samples of 'train' are alike, so they teach nothing."
            )
        return cls(mean, float(scale))

    def __call__(self, x: Real[np.ndarray, "samples ..."]) -> Float[Array, "samples sites"]:
        """Samples of any shape after the first axis."""
        return jnp.asarray((x.reshape(len(x), -1) - self.mean) / self.scale, jnp.float32)


def standardised(
    parts: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, tuple[Float[Array, "samples sites"], Float[Array, "samples classes"]]]:
    """Labelled samples in the terms of a network: flat, of mean zero and mean square one; ±1.

    Mean (of each site) and scale (one for all) are those of the part "train". Labels become one
    against all.

    Args:
        parts: samples of any shape after the first axis, and classes counted from 0.

    Raises:
        DataError: labels that are not classes.
        ValueError: training samples that are all alike.

    >>> x, y = np.array([[[0.0, 4.0]], [[2.0, 4.0]]]), np.array([0, 1])
    >>> x, y = standardised({"train": (x, y)})["train"]
    >>> [[round(v, 3) for v in row] for row in x.tolist()], y.tolist()
    ([[-1.414, 0.0], [1.414, 0.0]], [[1.0, -1.0], [-1.0, 1.0]])
    """
    classes = max(int(np.max(y)) for _, y in parts.values()) + 1
    for _, y in parts.values():
        check_labels(y, classes)
    standard = Standard.fit(np.asarray(parts["train"][0]))
    one_hot = np.eye(classes, dtype=np.float32)
    return {
        name: (standard(np.asarray(x)), jnp.asarray(2 * one_hot[y] - 1))
        for name, (x, y) in parts.items()
    }


class PrototypeData:
    """Copies of random ±1 prototypes, every entry flipped with probability `p_noise`.

    Labels are ±1, one against all. Iterating yields batches ``(x, y)`` in a fixed order, all of
    `batch_size` or one less (N is split as evenly as it can be).

    Args:
        key: random key of the prototypes and of the data.
        batch_size: samples per batch, two or more.
        num_prototypes: K, the number of classes.
        dim_prototypes: D, the number of entries.
        num_data: N, the number of samples.
        p_noise: probability of a flip, in ``[0, 0.5)``.

    Raises:
        ValueError: an argument out of range.

    >>> data = PrototypeData(jax.random.key(0), num_prototypes=3, dim_prototypes=20, num_data=50)
    >>> data.x.shape, data.y.shape, data.prototypes.shape, [len(x) for x, _ in data]
    ((50, 20), (50, 3), (3, 20), [13, 13, 12, 12])
    """

    def __init__(
        self,
        key: PRNGKeyArray,
        batch_size: int = 16,
        num_prototypes: int = 10,
        dim_prototypes: int = 100,
        num_data: int = 1000,
        p_noise: float = 0.3,
    ):
        if not 0 <= p_noise < 0.5:
            raise ValueError(f"PrototypeData: p_noise={p_noise}; expected 0 <= p_noise < 0.5.")
        if not 1 <= num_prototypes <= num_data:
            raise ValueError(
                f"PrototypeData: num_prototypes={num_prototypes}, num_data={num_data}; expected "
                "at least one prototype and at least one sample of each."
            )
        if batch_size < 2:
            raise ValueError(f"PrototypeData: batch_size={batch_size}; expected two or more.")
        self.batch_size = batch_size
        self.p_noise = p_noise
        self.num_batches = -(-num_data // batch_size)
        prototype_key, data_key = jax.random.split(key)
        self.prototypes: Float[Array, "K D"] = jax.random.rademacher(
            prototype_key, (num_prototypes, dim_prototypes), jnp.float32
        )
        self.x, self.y = self.sample(data_key, num_data)

    def sample(
        self, key: PRNGKeyArray, num_data: int
    ) -> tuple[Float[Array, "N D"], Float[Array, "N K"]]:
        """Fresh samples of the same prototypes, shuffled: held-out data.

        Every class has ``num_data // K + 1`` samples, the last classes what is left.

        >>> data = PrototypeData(jax.random.key(0), p_noise=0.0)
        >>> x, y = data.sample(jax.random.key(1), 200)
        >>> bool(jnp.all(data.nearest_prototype(x) == y))
        True
        """
        classes = len(self.prototypes)
        shuffle_key, noise_key = jax.random.split(key)
        labels = jnp.repeat(
            jnp.arange(classes), num_data // classes + 1, total_repeat_length=num_data
        )
        kept = jax.random.bernoulli(
            noise_key, 1 - self.p_noise, (num_data, self.prototypes.shape[1])
        )
        clean = self.prototypes[labels]
        order = jax.random.permutation(shuffle_key, num_data)
        return jnp.where(kept, clean, -clean)[order], self._one_against_all(labels[order])

    def source(self) -> et.ArrayData:
        """The same batches in the same order, as (x, y, weight), for `etude.Trainer`.

        Batches that are one short end in a sample of weight zero, so that all have one shape.

        >>> PrototypeData(jax.random.key(0)).source().steps_per_epoch
        63
        """
        parts = np.array_split(np.arange(len(self.x)), self.num_batches)
        rows = np.concatenate([np.resize(part, self.batch_size) for part in parts])
        real = np.concatenate([np.arange(self.batch_size) < len(part) for part in parts])
        arrays = (self.x[rows], self.y[rows], jnp.asarray(real, self.x.dtype))
        return et.ArrayData(arrays, self.batch_size, shuffle=False)

    def nearest_prototype(self, x: Float[Array, "N D"]) -> Float[Array, "N K"]:
        """The Bayes rule of this task: ±1 labels of the prototype with the largest overlap."""
        return self._one_against_all(jnp.argmax(x @ self.prototypes.T, axis=-1))

    def _one_against_all(self, labels: Array) -> Array:
        return 2 * jax.nn.one_hot(labels, len(self.prototypes)) - 1

    def __iter__(self) -> Iterator[tuple[Float[Array, "batch D"], Float[Array, "batch K"]]]:
        return zip(
            jnp.array_split(self.x, self.num_batches),
            jnp.array_split(self.y, self.num_batches),
            strict=True,
        )
