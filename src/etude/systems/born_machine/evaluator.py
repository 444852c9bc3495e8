"""`PerformanceEvaluator`: all numbers about a Born machine, each with its own frequency.

Every number is a function of the machine alone: samples and random starts of attacks are drawn
from the same random numbers each time, so that epochs are compared by what was learned. Every
split has random numbers of its own, so that a choice made in validation is not fitted to those of
the test.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Key

import etude as et
from etude.config import refuse
from etude.systems.born_machine.attacks import evade
from etude.systems.born_machine.config import Config, GANStyleConfig
from etude.systems.born_machine.config_methods import (
    CriterionConfig,
    MetricsConfig,
    SamplingConfig,
)
from etude.systems.born_machine.criteria import AbstractCriterion
from etude.systems.born_machine.data import SPLITS, DataHandler
from etude.systems.born_machine.metrics import (
    Moments,
    SampleMean,
    frechet_distance,
    likelihoods,
    maximum_mean_discrepancy,
    median_distance,
    sliced_wasserstein,
)
from etude.systems.born_machine.plots import plot_samples
from etude.systems.born_machine.sampling import sample

#: Draws samples of one class: `sampler(machine, key, label, count) -> (count, sites)`.
Sampler = Callable[[Any, Array, int, int], Array]

LIKELIHOODS = ("loss", "acc", "clsloss", "nll", "genloss")
DISTANCES = ("fid", "mmd", "swd")
#: How many samples go through the machine at once.
BATCH = 512


@final
class PerformanceEvaluator:
    """Measures a Born machine on a split.

    | key | what |
    |---|---|
    | loss | the criterion of `train_cfg` (or `criterion`), nats |
    | acc | fraction of samples whose class is predicted |
    | clsloss, nll, genloss | -log p(c\\|x), -log p(x\\|c), -log p(x,c), nats in the domain |
    | rob/S, rob | accuracy under `cfg.tracking.evasion` at strength S; the mean over S |
    | fid | Frechet distance of samples and the *training* data, mean over the classes |
    | mmd, swd | distances of samples and the split that is asked for, mean over the classes |
    | viz | samples in raw coordinates, (classes, n, sites); with a folder, the path of a figure |

    Every sample of the split counts once, whatever the batches.

    Args:
        cfg: the whole configuration, whose `tracking` says how samples and attacks are made.
        datahandler: the data, in the domain of the machine's embedding.
        train_cfg: configuration of a trainer, whose `metrics` and criterion are taken.
        sampler: draws samples of one class; None: `sample`, as `cfg.tracking.sampling` says.
        criterion: a criterion of the user's own, reported as "loss".

    Raises:
        ValueError: metrics that these data or arguments do not allow.
    """

    def __init__(
        self,
        cfg: Config,
        datahandler: DataHandler,
        train_cfg: Any,
        *,
        sampler: Sampler | None = None,
        criterion: AbstractCriterion | None = None,
    ):
        self.tracking, self.data = cfg.tracking, datahandler
        self.metrics: MetricsConfig = train_cfg.metrics
        self.sampler, self.own = sampler, criterion
        # In the game of generator and critic, what shall not be lost is the classification.
        game = isinstance(train_cfg, GANStyleConfig)
        self.criterion = CriterionConfig() if game else train_cfg.criterion
        refuse("PerformanceEvaluator", self._problems(cfg))

    def evaluate(
        self,
        bornmachine: Any,
        split: str = "valid",
        epoch: int | None = None,
        *,
        folder: Path | None = None,
    ) -> dict[str, Any]:
        """The metrics of a machine, by the names of the table.

        Args:
            bornmachine: a `BornMachine`, or what has its `log_weights` and `class_log_partition`.
            split: "train", "valid" or "test".
            epoch: an epoch, counted from 1, of which the metrics that are due are measured; None:
                all of them.
            folder: where the figure of `viz` goes; None: `viz` is an array.
        """
        due = self.metrics.due(epoch)
        found: dict[str, Any] = {}
        if set(due) & set(LIKELIHOODS):
            means = et.evaluate(bornmachine, self.indexed(split), _exact(self.likelihoods))
            found |= {name: value for name, value in means.items() if name in due}
        if "rob" in due:
            resisted = partial(self.resisted, split)
            found |= et.evaluate(bornmachine, self.indexed(split), _exact(resisted))
        if set(due) & {*DISTANCES, "viz"}:
            samples = self.samples(bornmachine, split)
            for name in (name for name in DISTANCES if name in due):
                found[name] = self.distance(name, split)(samples)
            if "viz" in due:
                found["viz"] = self._shown(samples, split, folder, epoch)
        return found

    def indexed(self, split: str) -> et.ArrayData:
        """A split in order, as batches (samples, labels, positions in the split)."""
        x, y = self.data.splits[split]
        return et.ArrayData((x, y, np.arange(len(y))), min(BATCH, len(y)), shuffle=False)

    def likelihoods(
        self, machine: Any, x: Array, labels: Integer[Array, " batch"], indices: Array
    ) -> dict[str, Array]:
        """Likelihoods and loss of each sample; may be compiled. The indices are not used."""
        del indices
        found = likelihoods(machine, x, labels)
        if self.own is not None:
            return {**found, "loss": self.own.each(machine, x, labels)}
        return {**found, "loss": self._loss(found)}

    def resisted(
        self, split: str, machine: Any, x: Array, labels: Integer[Array, " batch"], indices: Array
    ) -> dict[str, Array]:
        """Whether each sample is classified rightly under attack, at every strength, and the mean.

        May be compiled. `indices` are the positions in the split: the attack on a sample does not
        depend on the batch it is in.
        """
        evasion, found = self.tracking.evasion, {}
        keys = jax.vmap(partial(jax.random.fold_in, self._key(0, split)))(indices)
        for strength in evasion.strengths:
            moved = evade(
                evasion, machine.log_weights, x, labels, keys,
                strength=strength, domain=self.data.domain,
            )  # fmt: skip
            right = jnp.argmax(machine.log_weights(moved), axis=1) == labels
            found[f"rob/{strength:g}"] = right.astype(x.dtype)
        return {**found, "rob": jnp.mean(jnp.stack([*found.values()]), axis=0)}

    def samples(self, machine: Any, split: str) -> Float[Array, "classes n sites"]:
        """Samples of every class to be compared with a split; may be compiled.

        They are drawn in parts, so that memory is bounded.
        """
        key, config = self._key(1, split), self.tracking.sampling
        return _drawn(machine, key, self.data.classes, config, self.sampler)

    def distance(self, name: str, split: str) -> Callable[[Array], float]:
        """A distance of samples (classes, n, sites) to a split, as a function of the samples."""
        return partial(self._distance, name, split)

    def picture(
        self, machine: Any, split: str, folder: Path | None, epoch: int | None = None
    ) -> Path | Float[np.ndarray, "classes n sites"]:
        """What `evaluate` has as viz."""
        return self._shown(self.samples(machine, split), split, folder, epoch)

    def _loss(self, found: Mapping[str, Array]) -> Array:
        names = {
            "negative log-likelihood": "clsloss", "generative-nll": "nll", "joint-nll": "genloss",
        }  # fmt: skip
        if self.criterion.name in names:
            return found[names[self.criterion.name]]
        alpha = self.criterion.kwargs.alpha or 0.0
        return (1 - alpha) * found["clsloss"] + alpha * found["genloss"]

    def _distance(self, name: str, split: str, samples: Array) -> float:
        found = []
        for label, drawn in enumerate(samples):
            train = self._real("train", label)
            real = train if name == "fid" else self._real(split, label)
            if name == "fid":
                value = frechet_distance(Moments.of(real), Moments.of(drawn))
            elif name == "mmd":
                # The same kernel in every epoch, or values could not be compared.
                width = median_distance(train[: len(train) // 2], train[len(train) // 2 :])
                value = maximum_mean_discrepancy(real, drawn, width)
            else:
                value = sliced_wasserstein(real, drawn, self._key(2, split))
            found.append(float(value))
        return float(np.mean(found))

    def _real(self, split: str, label: int) -> Array:
        return jnp.asarray(self.data.of_class(split, label)[: self.tracking.distances])

    def _shown(
        self, samples: Array, split: str, folder: Path | None, epoch: int | None
    ) -> Path | Float[np.ndarray, "classes n sites"]:
        raw = np.stack([self.data.scaling.inverse(np.asarray(drawn)) for drawn in samples])
        if folder is None:
            return raw
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"samples-{split}-{'end' if epoch is None else epoch}.png"
        plot_samples(list(samples), self.data).savefig(path, dpi=140)
        return path

    def _key(self, purpose: int, split: str) -> Key[Array, ""]:
        key = jax.random.fold_in(jax.random.key(self.tracking.seed), purpose)
        return jax.random.fold_in(key, SPLITS.index(split))

    def _problems(self, cfg: Config) -> list[str]:
        problems = []
        if "rob" in self.metrics.names and cfg.born.embedding == "onehot":
            problems.append(
                "rob needs inputs that can change a little, and those of a one-hot embedding are "
                "whole numbers: leave rob out of metrics, or choose another embedding"
            )
        return problems


def _exact(each: Callable[..., Mapping[str, Array]]) -> Callable[..., dict[str, SampleMean]]:
    """Values of each sample as a measure, whose means are exact whatever the batches."""

    def measure(machine: Any, batch: tuple[Array, ...], context: et.Context) -> dict[str, Any]:
        return {name: SampleMean.of(values) for name, values in each(machine, *batch).items()}

    return measure


# Whatever differs between two evaluators of one experiment is an argument, so that the second
# finds the program of the first.
@eqx.filter_jit
def _drawn(
    machine: Any,
    key: Key[Array, ""],
    classes: int,
    config: SamplingConfig,
    sampler: Sampler | None,
) -> Float[Array, "classes n sites"]:
    def draw(key: Key[Array, ""], label: int) -> Array:
        if sampler is not None:
            return sampler(machine, key, label, config.batch_spc)
        return sample(
            machine, key, label, config.batch_spc, method=config.method, bins=config.num_bins
        )

    groups, parts = [], -(-config.num_spc // config.batch_spc)
    for label in range(classes):
        keys = jax.random.split(jax.random.fold_in(key, label), parts)
        drawn = jax.lax.map(partial(draw, label=label), keys)
        groups.append(drawn.reshape(-1, drawn.shape[-1])[: config.num_spc])
    return jnp.stack(groups)
