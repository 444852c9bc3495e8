"""`CNNTrainer`: a classifier of signals, or of anything that its network takes."""

from typing import Any, final

import optax

import etude as et
from etude.optim import OptimizerConfig
from etude.systems.machinery.training.objective import (
    Criterion,
    check_labels,
    criterion_of,
)
from etude.systems.machinery.training.settings import TrainerSettings


@final
class CNNTrainer:
    """Trains a network as a classifier, and hands back the weights of its best validation.

    Nothing here changes by training: the trained network is in the result. `trainer(epochs)` is the
    `etude.Trainer`, whose `resume` goes on with an interrupted run to the same bits, and whose
    `load` gives the network of a checkpoint.

    Args:
        model: a network of `etude.systems.machinery`, or any model that is called with a batch of
            signals and gives logits.
        train_loader: what it learns from: a source of ours, `Windows`, arrays `(signals, labels)`
            or a dictionary of them, a torch `DataLoader`, or any other iterable of batches.
        val_loader: the same for the validation after each epoch, or None.
        optimizer: an `OptimizerConfig`, or a transformation of optax; None: AdamW.
        criterion: loss of logits and targets; None: the cross-entropy, or that of each class by
            itself where the network gives several labels.
        settings: fields of `TrainerSettings`, and options of `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings, or some that contradict each other.
        DataError: labels that the network has no class for.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.machinery import CNN1D
    >>> network = CNN1D(2, (4,), kernels=5, strides=4, dropout=0.0, key=jax.random.key(0))
    >>> x, y = jax.random.normal(jax.random.key(1), (8, 64)), jnp.arange(8) % 2
    >>> trainer = CNNTrainer(network, (x, y), (x, y), batch_size=4, progress=False)
    >>> sorted(trainer.train(num_epochs=2).metrics)
    ['valid/accuracy', 'valid/loss']
    """

    def __init__(
        self,
        model: Any,
        train_loader: Any,
        val_loader: Any = None,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        criterion: Criterion | None = None,
        **settings: Any,
    ):
        self.settings = TrainerSettings.of("CNNTrainer", settings).knowing(model)
        self.model, self.train_loader, self.val_loader = model, train_loader, val_loader
        self.optimizer, self.criterion = optimizer, criterion_of(criterion, model)
        check_labels("CNNTrainer", model, self.criterion, train_loader, val_loader)

    def phases(self, num_epochs: int = 10) -> list[et.Phase]:
        """The one phase of `trainer`, for an `etude.Trainer` of your own."""
        return [
            self.settings.classifier(
                "CNNTrainer",
                self.criterion,
                self.train_loader,
                self.val_loader,
                num_epochs,
                optimizer=self.optimizer,
            )
        ]

    def trainer(self, num_epochs: int = 10) -> et.Trainer:
        """The `etude.Trainer` of that many epochs, to `fit`, `resume` or `load` from."""
        return self.settings.trainer(self.model, self.phases(num_epochs))

    def train(self, num_epochs: int = 10) -> et.Result:
        """Trains from the beginning."""
        return self.trainer(num_epochs).fit()
