"""`MultiTFRTrainer`: one network that learns from several time-frequency representations."""

from collections.abc import Mapping
from typing import Any, Literal, final, get_args

import jax
import optax
from jaxtyping import Array, Key

import etude as et
from etude.errors import suggest
from etude.optim import OptimizerConfig
from etude.systems.machinery.training.batches import read_batch
from etude.systems.machinery.training.each import Each, Means, WeightedMean
from etude.systems.machinery.training.masking import SpecAugment
from etude.systems.machinery.training.objective import (
    Criterion,
    Loss,
    accuracy,
    check_labels,
    classification,
    criterion_of,
    forward,
)
from etude.systems.machinery.training.settings import TrainerSettings

_OWNER = "MultiTFRTrainer"
Mode = Literal["together", "turns"]


@final
class MultiTFRTrainer:
    """Trains one network on several representations, as spectrogram and scalogram.

    "together": every step draws a batch of each, and descends the weighted mean of their losses.
    "turns": every step draws a batch of one, and the weights, whole numbers, say how often each has
    its turn. Representations may differ in size.

    A validation measures the network on every representation: `valid/loss` and `valid/accuracy` are
    the weighted means, `valid/loss_of/NAME` and `valid/accuracy_of/NAME` those of each.

    Args:
        model: as for `CNNTrainer`; `SpectrogramCNN` takes any size.
        train_loaders: name -> what it learns from, as for `SpectrogramTrainer`.
        val_loaders: the same names -> the data of the validation, or None.
        tfr_weights: name -> weight; None: all alike. In turns they are whole numbers.
        optimizer: as for `CNNTrainer`.
        criterion: as for `CNNTrainer`.
        mode: "together" or "turns".
        use_specaugment: whether to mask, as `SpectrogramTrainer`.
        time_mask_param: widest time mask, in frames.
        freq_mask_param: widest frequency mask, in bins.
        num_time_masks: time masks per spectrogram.
        num_freq_masks: frequency masks per spectrogram.
        settings: fields of `TrainerSettings`, and options of `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings or mode, no representation, names that differ, or
            weights that are not above 0.
    """

    def __init__(
        self,
        model: Any,
        train_loaders: Mapping[str, Any],
        val_loaders: Mapping[str, Any] | None = None,
        tfr_weights: Mapping[str, float] | None = None,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        criterion: Criterion | None = None,
        *,
        mode: Mode | str = "together",
        use_specaugment: bool = True,
        time_mask_param: int = 40,
        freq_mask_param: int = 20,
        num_time_masks: int = 2,
        num_freq_masks: int = 2,
        **settings: Any,
    ):
        if mode not in get_args(Mode):
            raise et.ConfigurationError(
                f"{_OWNER}: mode is 'together' or 'turns'; got {mode!r}. "
                f"{suggest(mode, get_args(Mode))}"
            )
        self.names, self.mode = tuple(train_loaders), mode
        self.weights = _weights(self.names, tfr_weights, mode)
        if not self.names or (val_loaders is not None and set(val_loaders) != set(self.names)):
            raise et.ConfigurationError(
                f"{_OWNER}: got train_loaders {list(self.names)} and val_loaders "
                f"{list(val_loaders or ())}; expected one or more, of the same names."
            )
        self.settings = TrainerSettings.of(_OWNER, settings).knowing(model)
        self.masks = (
            SpecAugment(time_mask_param, freq_mask_param, num_time_masks, num_freq_masks)
            if use_specaugment
            else None
        )
        self.model, self.train_loaders, self.val_loaders = model, train_loaders, val_loaders
        self.optimizer, self.criterion = optimizer, criterion_of(criterion, model)
        loaders = [*train_loaders.values(), *(val_loaders or {}).values()]
        check_labels(_OWNER, model, self.criterion, *loaders)

    def phases(self, num_epochs: int = 10) -> list[et.Phase]:
        """The one phase of `trainer`, for an `etude.Trainer` of your own."""
        sources = self._sources(self.train_loaders)
        if self.mode == "turns":
            data = et.Turns(sources, {name: int(self.weights[name]) for name in self.names})
        else:
            data = et.Together(sources)
        validation = []
        if self.val_loaders is not None:
            each = Each(self._sources(self.val_loaders, capped=True))
            validation.append(et.Validation(each, self._measured))
        return [
            self.settings.phase(
                _OWNER,
                "fit",
                self._in_turns() if self.mode == "turns" else self._together,
                data,
                num_epochs,
                optimizer=self.optimizer,
                validation=validation,
                augment=None if self.masks is None else self._masked,
                inputs=lambda batch: [read_batch(_OWNER, one).signals for one in batch.values()],
            )
        ]

    def trainer(self, num_epochs: int = 10) -> et.Trainer:
        """The `etude.Trainer` of that many epochs, to `fit`, `resume` or `load` from."""
        return self.settings.trainer(self.model, self.phases(num_epochs))

    def train(self, num_epochs: int = 10) -> et.Result:
        """Trains from the beginning."""
        return self.trainer(num_epochs).fit()

    @property
    def shares(self) -> dict[str, float]:
        """The weights, which add up to 1."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items()}

    def _sources(self, loaders: Mapping[str, Any], *, capped: bool = False) -> dict[str, et.Source]:
        source = self.settings.source
        return {name: source(_OWNER, loaders[name], capped=capped) for name in self.names}

    def _in_turns(self) -> Loss:
        loss = classification(_OWNER, self.criterion, self.settings.metadata_keys)

        def in_turns(
            model: Any, batch: Mapping[str, Any], context: et.Context
        ) -> tuple[Array, dict[str, Any], Any]:
            (one,) = batch.values()
            return loss(model, one, context)

        return in_turns

    def _together(
        self, model: Any, batch: Mapping[str, Any], context: et.Context
    ) -> tuple[Array, dict[str, Any], Any]:
        terms, metrics = [], {}
        for number, (name, share) in enumerate(self.shares.items()):
            sample = read_batch(_OWNER, batch[name], self.settings.metadata_keys)
            key = jax.random.fold_in(context.key, number)
            # The statistics of the network have seen one representation after the other.
            logits, model = forward(model, sample, key)
            metrics[f"loss_{name}"] = et.widened(self.criterion(logits, sample.targets))
            metrics[f"accuracy_{name}"] = accuracy(model, logits, sample.targets)
            terms.append(share * metrics[f"loss_{name}"])
        return sum(terms[1:], terms[0]), metrics, model

    def _measured(
        self, model: Any, batch: Mapping[str, Any], context: et.Context
    ) -> dict[str, Any]:
        ((name, one),) = batch.items()
        sample = read_batch(_OWNER, one, self.settings.metadata_keys)
        logits, _ = forward(model, sample, context.key)
        found = {
            "loss": self.criterion(logits, sample.targets),
            "accuracy": accuracy(model, logits, sample.targets),
        }
        metrics: dict[str, Any] = {}
        for metric, value in found.items():
            means = Means.of(self.names, name, value, len(sample.targets))
            metrics[metric] = WeightedMean(means, tuple(self.shares.values()))
            metrics[f"{metric}_of"] = means
        return metrics

    def _masked(self, batch: Mapping[str, Any], key: Key[Array, ""]) -> dict[str, Any]:
        assert self.masks is not None
        keys = dict(zip(self.names, jax.random.split(key, len(self.names)), strict=True))
        return {name: self.masks.batch(one, keys[name]) for name, one in batch.items()}


def _weights(
    names: tuple[str, ...], given: Mapping[str, float] | None, mode: str
) -> dict[str, float]:
    if given is None:
        return dict.fromkeys(names, 1.0)
    whole = mode == "together" or all(float(weight).is_integer() for weight in given.values())
    if set(given) != set(names) or not min(given.values(), default=0) > 0 or not whole:
        kind = "whole numbers from 1, turns," if mode == "turns" else "numbers above 0"
        raise et.ConfigurationError(
            f"{_OWNER}: got tfr_weights={dict(given)}; expected {kind} of {list(names)}."
        )
    return {name: float(given[name]) for name in names}
