"""`Trainer`: a face on the engine that keeps its place, for those who come from the seed."""

import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

import etude as et
from etude.optim import OptimizerConfig, SchedulerConfig
from etude.systems.machinery.training.batches import read_batch
from etude.systems.machinery.training.objective import (
    Criterion,
    check_labels,
    classification,
    criterion_of,
)
from etude.systems.machinery.training.rates import LearningRateScheduler
from etude.systems.machinery.training.settings import TrainerSettings
from etude.systems.machinery.training.state import TrainingState

_OWNER = "Trainer"


@final
class Trainer:
    """Trains a network a few epochs at a time, each call going on where the last one ended.

    Every call resumes one run of `etude.Trainer`, whose phase has become longer: optimizer, order
    of the data, randomness and callbacks go on as if the training had never been interrupted, to
    the same bits. New programs should use `CNNTrainer`, which has no state and hands back the best.

    Args:
        model: as for `CNNTrainer`; it stays as it is.
        train_loader: as for `CNNTrainer`.
        val_loader: as for `CNNTrainer`.
        optimizer: as for `CNNTrainer`.
        criterion: as for `CNNTrainer`.
        settings: fields of `TrainerSettings` but `keep`, and options of `etude.Trainer`. Without
            `checkpoint_dir` the run is in a folder that goes with the trainer.

    Attributes:
        model: the network as it is now.
        state: where the training stands.

    Raises:
        ConfigurationError: unknown settings, some that contradict each other, or a schedule that
            needs to know how long the training will be.
        DataError: labels that the network has no class for.

    >>> import jax
    >>> from etude.systems.machinery import CNN1D
    >>> network = CNN1D(2, (4,), kernels=5, strides=4, dropout=0.0, key=jax.random.key(0))
    >>> data = jax.random.normal(jax.random.key(1), (8, 64)), jnp.arange(8) % 2
    >>> trainer = Trainer(network, data, data, batch_size=4, progress=False)
    >>> first = trainer.train_epoch()
    >>> sorted(first), sorted(trainer.validate_epoch()), trainer.state.epoch
    (['accuracy', 'loss'], ['accuracy', 'loss'], 1)
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
        if settings.get("keep") is not None:
            raise et.ConfigurationError(
                f"{_OWNER}: it goes on from the last weights, so there is no keep. CNNTrainer "
                "hands back the best."
            )
        given = TrainerSettings.of(_OWNER, {**settings, "keep": "last"}).knowing(model)
        schedule = given.lr_scheduler
        inner = schedule.scheduler if isinstance(schedule, LearningRateScheduler) else schedule
        if isinstance(inner, SchedulerConfig):
            raise et.ConfigurationError(
                f"{_OWNER}: how long it will train is not known, which a SchedulerConfig needs. "
                "Build it: lr_scheduler=config.build(learning_rate, total_steps)."
            )
        self.model, self.state = model, TrainingState()
        chosen = criterion_of(criterion, model)
        check_labels(_OWNER, model, chosen, train_loader, val_loader)
        self._initial, self._loss = model, _with_size(chosen, given)
        self._validation = given.validation(_OWNER, train_loader, val_loader, self._loss)
        data = given.source(_OWNER, train_loader)
        self._phase = given.phase(_OWNER, "fit", self._loss, data, 1, optimizer=optimizer)
        if given.checkpoint_dir is None and "run" not in given.options:
            folder = tempfile.mkdtemp(prefix="etude-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            given = replace(given, checkpoint_dir=Path(folder) / "run")
        self._settings = given

    def fit(self, num_epochs: int) -> et.Result:
        """Trains for that many epochs more, with a validation after each.

        The result is that of the whole training so far.
        """
        return self._advance(num_epochs, self._validation)

    def train_epoch(self) -> dict[str, float]:
        """Trains for one epoch, without validation: its mean loss and accuracy."""
        before = self.state.global_step
        history = self._advance(1, []).history
        columns = {name: history[f"train/{name}"] for name in ("loss", "accuracy", "samples")}
        fresh = columns["samples"].step > before
        sizes = columns["samples"].value[fresh]
        return {
            name: float(np.average(columns[name].value[fresh], weights=sizes))
            for name in ("loss", "accuracy")
        }

    def validate_epoch(self) -> dict[str, float]:
        """Loss and accuracy of the network as it is now, on the data of the validation.

        Raises ConfigurationError if there are none.
        """
        if not self._validation:
            raise et.ConfigurationError(f"{_OWNER}: there is no val_loader to validate on.")
        (validation,) = self._validation
        found = et.evaluate(self.model, validation.data, self._loss)
        return {name: found[name] for name in ("loss", "accuracy")}

    def _advance(self, num_epochs: int, validation: list[et.Validation]) -> et.Result:
        epochs = et.Epochs(self.state.epoch + num_epochs)
        phase = replace(self._phase, length=epochs, validation=tuple(validation))
        trainer = self._settings.trainer(self._initial, [phase])
        # What has changed is the length, and whether there is a validation.
        result = trainer.resume(changes="allow") if self.state.epoch else trainer.fit()
        self.model, self.state = result.model, TrainingState.of(result)
        return result


def _with_size(criterion: Criterion, settings: TrainerSettings) -> Any:
    """The loss of a classifier, which reports the size of the batch as well."""
    loss = classification(_OWNER, criterion, settings.metadata_keys)

    def sized(model: Any, batch: Any, context: et.Context) -> tuple[Array, dict[str, Any], Any]:
        value, metrics, moved = loss(model, batch, context)
        count = len(read_batch(_OWNER, batch).targets)
        return value, {**metrics, "samples": jnp.array(float(count))}, moved

    return sized
