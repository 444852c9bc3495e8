"""`SpectrogramTrainer`: a classifier of spectrograms, which are masked while it learns."""

from typing import Any, final

import optax
from jaxtyping import Array, Inexact, Key

import etude as et
from etude.optim import OptimizerConfig
from etude.systems.machinery.training.masking import SpecAugment
from etude.systems.machinery.training.objective import (
    Criterion,
    check_labels,
    criterion_of,
)
from etude.systems.machinery.training.settings import TrainerSettings


@final
class SpectrogramTrainer:
    """Trains as `CNNTrainer`, on spectrograms with masks that are drawn anew in each step.

    Args:
        model: as for `CNNTrainer`; `SpectrogramCNN` is made for it.
        train_loader: as for `CNNTrainer`, with spectrograms `(batch, freq, time)` or
            `(batch, channels, freq, time)`, normalised to mean 0, for the masks are 0.
        val_loader: the same for the validation, which is not masked, or None.
        optimizer: as for `CNNTrainer`.
        criterion: as for `CNNTrainer`.
        use_specaugment: whether to mask at all.
        time_mask_param: widest time mask, in frames.
        freq_mask_param: widest frequency mask, in bins.
        num_time_masks: time masks per spectrogram.
        num_freq_masks: frequency masks per spectrogram.
        settings: fields of `TrainerSettings`, and options of `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings, some that contradict each other, or masks that are
            negative or nothing.
        DataError: labels that the network has no class for.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.machinery import SpectrogramCNN
    >>> network = SpectrogramCNN(2, (4,), key=jax.random.key(0))
    >>> data = jax.random.normal(jax.random.key(1), (8, 16, 20)), jnp.arange(8) % 2
    >>> trainer = SpectrogramTrainer(network, data, time_mask_param=5, freq_mask_param=4)
    >>> trainer.apply_specaugment(data[0], jax.random.key(2)).shape
    (8, 16, 20)
    """

    def __init__(
        self,
        model: Any,
        train_loader: Any,
        val_loader: Any = None,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        criterion: Criterion | None = None,
        *,
        use_specaugment: bool = True,
        time_mask_param: int = 40,
        freq_mask_param: int = 20,
        num_time_masks: int = 2,
        num_freq_masks: int = 2,
        **settings: Any,
    ):
        self.settings = TrainerSettings.of("SpectrogramTrainer", settings).knowing(model)
        self.masks = (
            SpecAugment(time_mask_param, freq_mask_param, num_time_masks, num_freq_masks)
            if use_specaugment
            else None
        )
        self.model, self.train_loader, self.val_loader = model, train_loader, val_loader
        self.optimizer, self.criterion = optimizer, criterion_of(criterion, model)
        check_labels("SpectrogramTrainer", model, self.criterion, train_loader, val_loader)

    def apply_specaugment(
        self, spectrograms: Inexact[Array, "*axes"], key: Key[Array, ""]
    ) -> Inexact[Array, "*axes"]:
        """Spectrograms as a step of training sees them, under a random key."""
        return spectrograms if self.masks is None else self.masks(spectrograms, key)

    def phases(self, num_epochs: int = 10) -> list[et.Phase]:
        """The one phase of `trainer`, for an `etude.Trainer` of your own."""
        return [
            self.settings.classifier(
                "SpectrogramTrainer",
                self.criterion,
                self.train_loader,
                self.val_loader,
                num_epochs,
                optimizer=self.optimizer,
                augment=None if self.masks is None else self.masks.batch,
            )
        ]

    def trainer(self, num_epochs: int = 10) -> et.Trainer:
        """The `etude.Trainer` of that many epochs, to `fit`, `resume` or `load` from."""
        return self.settings.trainer(self.model, self.phases(num_epochs))

    def train(self, num_epochs: int = 10) -> et.Result:
        """Trains from the beginning."""
        return self.trainer(num_epochs).fit()
