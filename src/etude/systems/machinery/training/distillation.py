"""`DistillationTrainer`: a small network learns what a large one thinks of the classes."""

from collections.abc import Mapping
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array

import etude as et
from etude.losses import DistillationLoss, cross_entropy
from etude.optim import OptimizerConfig
from etude.systems.machinery.training.batches import read_batch
from etude.systems.machinery.training.objective import (
    accuracy,
    check_labels,
    forward,
    has_many_labels,
)
from etude.systems.machinery.training.settings import TrainerSettings

_OWNER = "DistillationTrainer"


@final
class DistillationTrainer:
    """Trains a student by its labels and by the softened classes of a teacher.

    The model of the training is ``{"teacher": ..., "student": ...}``; no learner owns the teacher,
    which infers and comes out to the bit as it went in. The trained student is
    ``result.model["student"]``.

    Args:
        teacher_model: a trained network, as for `CNNTrainer`.
        student_model: the network that learns.
        criterion: the mixture of teacher and labels.
        optimizer: as for `CNNTrainer`.
        settings: fields of `TrainerSettings`, and options of `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings, or a network of several labels at once, for the
            softened classes are those of a softmax.

    >>> import jax
    >>> from etude.systems.machinery import CNN1D
    >>> big = CNN1D(2, (8,), kernels=5, strides=4, dropout=0.0, key=jax.random.key(0))
    >>> small = CNN1D(2, (2,), kernels=5, strides=4, dropout=0.0, key=jax.random.key(1))
    >>> data = jax.random.normal(jax.random.key(2), (8, 64)), jnp.arange(8) % 2
    >>> trainer = DistillationTrainer(big, small, progress=False)
    >>> sorted(trainer.train(data, data, epochs=2).metrics)
    ['valid/accuracy', 'valid/agreement', 'valid/loss']
    """

    def __init__(
        self,
        teacher_model: Any,
        student_model: Any,
        criterion: DistillationLoss | None = None,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        **settings: Any,
    ):
        if has_many_labels(teacher_model) or has_many_labels(student_model):
            raise et.ConfigurationError(
                f"{_OWNER}: a softened softmax is of one class for each signal, and a network here "
                "gives several labels. Make both without multi_label."
            )
        self.teacher_model, self.student_model = teacher_model, student_model
        self.criterion = DistillationLoss() if criterion is None else criterion
        self.optimizer = optimizer
        self.settings = TrainerSettings.of(_OWNER, settings).knowing(teacher_model, student_model)

    def phases(self, train_loader: Any, val_loader: Any = None, epochs: int = 10) -> list[et.Phase]:
        """The one phase of `trainer`, for an `etude.Trainer` of your own."""
        if isinstance(self.criterion, DistillationLoss):  # it has a cross-entropy as a part
            check_labels(_OWNER, self.student_model, cross_entropy, train_loader, val_loader)
        validation = self.settings.validation(_OWNER, train_loader, val_loader)
        return [
            self.settings.phase(
                _OWNER,
                "distil",
                self._loss,
                self.settings.source(_OWNER, train_loader),
                epochs,
                optimizer=self.optimizer,
                validation=validation,
                where=lambda model: model["student"],
            )
        ]

    def trainer(self, train_loader: Any, val_loader: Any = None, epochs: int = 10) -> et.Trainer:
        """The `etude.Trainer` of teacher and student, to `fit`, `resume` or `load` from."""
        # In inference mode for good: training leaves a model in the mode that it was given in.
        teacher = eqx.nn.inference_mode(self.teacher_model)
        model = {"teacher": teacher, "student": self.student_model}
        return self.settings.trainer(model, self.phases(train_loader, val_loader, epochs))

    def train(self, train_loader: Any, val_loader: Any = None, epochs: int = 10) -> et.Result:
        """Trains from the beginning.

        Args:
            train_loader: as for `CNNTrainer`.
            val_loader: the same for the validation after each epoch, or None.
            epochs: how many.
        """
        return self.trainer(train_loader, val_loader, epochs).fit()

    def evaluate(self, student_model: Any, val_loader: Any) -> dict[str, float]:
        """Loss, accuracy, and agreement with the teacher, of a student on other data."""
        teacher = eqx.nn.inference_mode(self.teacher_model)
        model = {"teacher": teacher, "student": student_model}
        return et.evaluate(model, self.settings.source(_OWNER, val_loader), self._loss)

    def _loss(
        self, model: Mapping[str, Any], batch: Any, context: et.Context
    ) -> tuple[Array, dict[str, Any], Any]:
        sample = read_batch(_OWNER, batch, self.settings.metadata_keys)
        meant, _ = forward(model["teacher"], sample, context.key)
        said, student = forward(model["student"], sample, context.key)
        value = self.criterion(said, meant, sample.targets)
        metrics = {
            "accuracy": accuracy(student, said, sample.targets),
            "agreement": et.widened(jnp.mean(said.argmax(-1) == meant.argmax(-1))),
        }
        return value, metrics, {**model, "student": student}
