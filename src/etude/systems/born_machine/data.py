"""`DataHandler`: a named data set, split once, scaled to the domain of an embedding.

>>> handler = DataHandler(DatasetConfig(name="moons_small"), domain=(-1.0, 1.0))
>>> {name: len(split.y) for name, split in handler.splits.items()}
{'train': 60, 'valid': 170, 'test': 170}
>>> batch, labels = next(handler.classification["valid"].sequential())[0]
>>> batch.shape, handler.sites
((64, 2), 2)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

import etude as et
from etude.data import check_finite, check_labels, length_of
from etude.systems.born_machine.config_model import ARRAYS, DatasetConfig
from etude.systems.born_machine.densities import DENSITIES, SUPPORT

SPLITS = ("train", "valid", "test")


#: Samples and their classes.
Arrays = tuple[Any, Any]


class Samples(NamedTuple):
    """Samples of one split, and their classes."""

    x: Float32[np.ndarray, "samples sites"]
    y: Int32[np.ndarray, " samples"]


@dataclass(frozen=True)
class Scaling:
    """The linear map, site by site, from raw coordinates to the domain of an embedding.

    Attributes:
        origin: raw coordinates of the lower end of the domain.
        factor: growth of every coordinate.
        domain: lowest and highest value after the map.

    >>> scaling = Scaling.fit(np.array([[0.0, 10.0], [4.0, 20.0]]), (-1.0, 1.0))
    >>> scaling(np.array([[2.0, 20.0], [5.0, 15.0]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    origin: Float[np.ndarray, " sites"]
    factor: Float[np.ndarray, " sites"]
    domain: tuple[float, float]

    @classmethod
    def fit(cls, x: Float[np.ndarray, "samples sites"], domain: tuple[float, float]) -> "Scaling":
        """The map that takes the range of `x` to the domain; a constant site goes to its start."""
        low, high = x.min(axis=0).astype(float), x.max(axis=0).astype(float)
        span = np.where(high > low, high - low, 1.0)
        return cls(low, (domain[1] - domain[0]) / span, domain)

    def __call__(self, x: Float[np.ndarray, "n sites"]) -> Float32[np.ndarray, "n sites"]:
        """Raw samples in the domain; what falls outside is clipped to it."""
        return np.clip(self._mapped(x), *self.domain).astype(np.float32)

    def traced(self, x: Float[Array, "n sites"]) -> Float[Array, "n sites"]:
        """As a call, within a compiled function and in its precision."""
        origin, factor = (jnp.asarray(part, x.dtype) for part in (self.origin, self.factor))
        return jnp.clip((x - origin) * factor + self.domain[0], *self.domain)

    def inverse(self, x: Float[np.ndarray, "n sites"]) -> Float[np.ndarray, "n sites"]:
        """Samples in raw coordinates."""
        return (np.asarray(x, float) - self.domain[0]) / self.factor + self.origin

    def outside(self, x: Float[np.ndarray, "n sites"]) -> float:
        """The fraction of raw samples with a coordinate that is clipped."""
        mapped, slack = self._mapped(x), 1e-6 * (self.domain[1] - self.domain[0])
        low, high = self.domain
        return float(np.mean(np.any((mapped < low - slack) | (mapped > high + slack), axis=1)))

    @property
    def log_volume(self) -> float:
        """log |d domain / d raw|: nats to add to an entropy (or -log p) in raw coordinates.

        >>> unit = Scaling(np.zeros(2), np.full(2, 2.0), (-1.0, 1.0))
        >>> round(unit.log_volume, 4)
        1.3863
        """
        return float(np.sum(np.log(self.factor)))

    def _mapped(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, float) - self.origin) * self.factor + self.domain[0]


class DataHandler:
    """A data set for the trainers of a Born machine.

    Every sample belongs to one split for good, and the scaling is fitted on the training split
    alone (for densities of known entropy: on their known support; pictures: intensities 0 to 1).

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 3)), rng.integers(2, size=100)
    >>> handler = DataHandler(DatasetConfig(name="arrays"), (-1.0, 1.0), arrays=(x, y))
    >>> handler.sites, handler.classes, len(handler.splits["train"].y)
    (3, 2, 50)

    Args:
        config: name of the data set, how it is split and scaled.
        domain: lowest and highest value of the embedding, such as `(embedding.low,
            embedding.high)`; a one-hot embedding of two states has (0, 1).
        batch_size: samples per batch of `classification` and `discrimination`; at most a split.
        arrays: the data of the name "arrays": samples (of any shape after the first axis) and
            classes counted from 0, which `config.split` divides in each class; or such a pair for
            each of "train", "valid" and "test".
        shuffle: order of the training samples in an epoch, as that of `etude.ArrayData`.

    Raises:
        DataError: pictures that cannot be read, see `etude.data.load`; too few of a class; or
            arrays that are missing, not asked for, not finite or not as many as their labels.

    Attributes:
        splits: "train", "valid" and "test", in the coordinates of the domain.
        shape: shape of a sample before it was laid in a row.
        classes: number of classes.
        scaling: the map from raw coordinates to the domain.
        clipped: fraction of the samples of each split that were clipped to the domain.
        entropy: E -log p(x|c) of the truth in nats, in the coordinates of the domain, averaged
            over the classes; None where nobody knows it.
    """

    def __init__(
        self,
        config: DatasetConfig,
        domain: tuple[float, float],
        batch_size: int = 64,
        *,
        arrays: Arrays | Mapping[str, Arrays] | None = None,
        shuffle: bool | str = True,
    ):
        self.config, self.domain, self.batch_size = config, domain, batch_size
        self._orders = {"train": shuffle, "valid": False, "test": False}
        raw, self.shape = _raw(config, arrays)
        self.classes = int(raw["train"].y.max()) + 1
        known = DENSITIES.get(config.name)
        self.scaling = Scaling.fit(_frame(config, raw["train"].x), domain)
        self.clipped = {name: self.scaling.outside(split.x) for name, split in raw.items()}
        self.splits: Mapping[str, Samples] = {
            name: Samples(self.scaling(split.x), split.y) for name, split in raw.items()
        }
        self.entropy = None
        if known:
            self.entropy = float(np.mean([d.entropy for d in known])) + self.scaling.log_volume

    @property
    def sites(self) -> int:
        """Numbers in a sample."""
        return self.splits["train"].x.shape[1]

    @cached_property
    def classification(self) -> dict[str, et.ArrayData]:
        """(samples, labels) of each split; only "train" is shuffled.

        >>> handler = DataHandler(DatasetConfig(name="test"), (0.0, 1.0), batch_size=32)
        >>> handler.classification["train"].steps_per_epoch
        10
        """
        return {name: self.batches(name, self.batch_size) for name in SPLITS}

    @cached_property
    def discrimination(self) -> dict[str, et.ArrayData]:
        """Samples side by side by class, (samples per class, classes, sites), for a critic.

        Each split consists of its own samples, as many of every class as its smallest class has.

        >>> handler = DataHandler(DatasetConfig(name="test"), (0.0, 1.0), batch_size=32)
        >>> next(handler.discrimination["train"].sequential())[0].shape
        (32, 2, 2)
        """
        return {name: self.by_class(name, self.batch_size) for name in SPLITS}

    def batches(self, split: str, batch_size: int) -> et.ArrayData:
        """A split as a source of batches (samples, labels)."""
        samples = self.splits[split]
        size = min(batch_size, len(samples.y))
        return et.ArrayData(tuple(samples), size, shuffle=self._orders[split], classes=self.classes)

    def by_class(self, split: str, batch_size: int) -> et.ArrayData:
        """A split as a source of batches (samples per class, classes, sites).

        Raises `DataError` if a class has no samples there.
        """
        groups = [self.of_class(split, label) for label in range(self.classes)]
        count = min(len(group) for group in groups)
        if not count:
            raise et.DataError(
                f"A class of {self.config.name!r} has no samples in {split!r}; a critic sees all "
                "classes side by side. Give that split a larger share, or the set a larger size."
            )
        side_by_side = np.stack([group[:count] for group in groups], axis=1)
        return et.ArrayData(side_by_side, min(batch_size, count), shuffle=self._orders[split])

    def of_class(self, split: str, label: int) -> Float32[np.ndarray, "samples sites"]:
        """The samples of one class of a split."""
        samples = self.splits[split]
        return samples.x[samples.y == label]


def _raw(
    config: DatasetConfig, arrays: Arrays | Mapping[str, Arrays] | None
) -> tuple[dict[str, Samples], tuple[int, ...]]:
    """The splits in raw coordinates, and the shape of a sample."""
    if (config.name == ARRAYS) != (arrays is not None):
        raise et.DataError(
            f"DataHandler: the data set is {config.name!r} and arrays are "
            f"{'not given' if arrays is None else 'given'}. Your own samples go with the name "
            f"{ARRAYS!r}: DataHandler(DatasetConfig(name={ARRAYS!r}), domain, arrays=(x, y))."
        )
    if arrays is not None:
        return _own(config, arrays)
    if config.pictures:
        return _pictures(config)
    assert config.size is not None  # DatasetConfig refuses it
    return _divided(config, _draw(config, config.size)), (2,)


def _divided(config: DatasetConfig, groups: list[np.ndarray]) -> dict[str, Samples]:
    """Samples of each class shuffled and split."""
    random = np.random.default_rng(config.split_seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
    for group in groups:
        ends = np.round(np.cumsum(config.split) * len(group)).astype(int)
        pieces = np.split(random.permutation(group), ends[:2])
        for name, piece in zip(SPLITS, pieces, strict=True):
            parts[name].append(piece)
    splits = {}
    for name, pieces in parts.items():
        labels = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        order = random.permutation(len(labels))
        x = np.concatenate(pieces)[order].astype(np.float32)
        if min(len(piece) for piece in pieces) == 0:
            least = min(len(group) for group in groups)
            raise et.DataError(
                f"{config.name!r}: {least} samples of a class leave {name!r} without one. Give it "
                "a larger share, or the class more samples."
            )
        splits[name] = Samples(x, labels[order].astype(np.int32))
    return splits


def _draw(config: DatasetConfig, size: int) -> list[Float[np.ndarray, "samples 2"]]:
    """`size` samples of each class, in raw coordinates."""
    kind = config.name.partition("_")[0]
    random = np.random.default_rng(config.seed)
    if kind in DENSITIES:
        return [density.sample(random, size) for density in DENSITIES[kind]]
    if kind == "spirals":
        return _spirals(random, size, config.noise)
    from sklearn.datasets import make_circles, make_moons

    both: Any = (size, size)  # a tuple is allowed, which its annotation does not say
    options = {"shuffle": False, "noise": config.noise, "random_state": config.seed}
    if kind == "circles":
        x, y = make_circles(both, factor=config.circ_factor, **options)
    else:
        x, y = make_moons(both, **options)
    return [x[y == 0], x[y == 1]]


def _spirals(
    random: np.random.Generator, size: int, noise: float
) -> list[Float[np.ndarray, "samples 2"]]:
    """Two arms, each the mirror image of the other in the origin."""
    arms = []
    for sign in (1, -1):
        angle = np.sqrt(random.random(size)) * 2 * np.pi
        radius = 2 * angle + np.pi
        arm = sign * np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        arms.append(arm + noise * random.normal(size=(size, 2)))
    return arms


def _own(
    config: DatasetConfig, arrays: Arrays | Mapping[str, Arrays]
) -> tuple[dict[str, Samples], tuple[int, ...]]:
    """Samples that are given, laid in rows."""
    given = arrays if isinstance(arrays, Mapping) else {"all": arrays}
    if isinstance(arrays, Mapping) and set(arrays) != set(SPLITS):
        raise et.DataError(
            f"DataHandler: arrays of {', '.join(map(repr, arrays))}; expected a pair (x, y), or "
            f"one for each of {', '.join(SPLITS)}."
        )
    classes = 1 + max(int(np.max(y, initial=0)) for _, y in given.values())
    found, shapes = {}, set()
    for name, (x, y) in given.items():
        x, y = np.asarray(x), np.asarray(y)
        if length_of({"x": x, "y": y}) and (x.ndim < 2 or y.ndim != 1):
            raise et.DataError(
                f"DataHandler: x of {name!r} has shape {x.shape} and y {y.shape}; expected "
                "(samples, ...) and (samples,)."
            )
        check_labels(y, classes)
        check_finite({"x": x}, f"arrays of {name!r}: ")
        shapes.add(x.shape[1:])
        x = x.reshape(len(x), -1).astype(np.float32)
        if config.scaler == "binary":
            x = (x > config.threshold).astype(np.float32)
        found[name] = Samples(x, y.astype(np.int32))
    if len(shapes) > 1:
        raise et.DataError(f"DataHandler: samples of several shapes, {shapes}; expected one.")
    if "all" in found:
        x, y = found["all"]
        found = _divided(config, [x[y == label] for label in range(classes)])
    elif len(np.unique(found["train"].y)) < classes:
        raise et.DataError(
            f"DataHandler: 'train' lacks some of {classes} classes. Give it samples of each."
        )
    return found, shapes.pop()


def _pictures(config: DatasetConfig) -> tuple[dict[str, Samples], tuple[int, ...]]:
    """Pictures with their own test split, laid in rows."""
    share = config.split[1] / (config.split[0] + config.split[1])
    found = et.load(config.name, config.root, valid=share, seed=config.split_seed)
    assert found.valid is not None  # asked for
    parts = {"train": found.train, "valid": found.valid, "test": found.test}
    splits = {}
    for name, part in parts.items():
        x = part.x.reshape(len(part.y), -1)
        if config.scaler == "binary":
            x = (x > config.threshold).astype(np.float32)
        splits[name] = Samples(x, part.y)
    if config.size is not None:
        splits["train"] = _limited(splits["train"], config.size, config)
    return splits, found.train.x.shape[1:]


def _limited(samples: Samples, size: int, config: DatasetConfig) -> Samples:
    """The first `size` samples of each class."""
    rank = np.zeros(len(samples.y), int)
    for label in np.unique(samples.y):
        mine = samples.y == label
        rank[mine] = np.arange(mine.sum())
        if mine.sum() < size:
            raise et.DataError(
                f"{config.name!r} has {mine.sum()} training samples of class {label}, not "
                f"{size}. Lower size, or leave it out to take all."
            )
    return Samples(samples.x[rank < size], samples.y[rank < size])


def _frame(config: DatasetConfig, train: np.ndarray) -> np.ndarray:
    """Samples whose range the scaling takes to the domain."""
    if config.pictures or config.scaler == "binary":
        ends = (0.0, 1.0)
    elif config.name in DENSITIES:
        ends = SUPPORT
    else:
        return train
    return np.repeat(np.asarray(ends)[:, None], train.shape[1], axis=1)
