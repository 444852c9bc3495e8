"""What all trainers of this system are set by, and how it becomes learners, phases, a trainer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal, get_args

import optax

import etude as et
from etude.errors import suggest
from etude.optim import OptimizerConfig
from etude.systems.machinery.records import Windows
from etude.systems.machinery.training.batches import (
    check_alike,
    read_batch,
    size_of,
    source_of,
)
from etude.systems.machinery.training.callbacks import CallbackList, metric_name
from etude.systems.machinery.training.objective import Criterion, Loss, classification, keys_of
from etude.systems.machinery.training.rates import Scheduled, optimizer_of

#: What `etude.Trainer` takes besides what a trainer here gives it.
OPTIONS = tuple(
    name
    for name in signature(et.Trainer).parameters
    if name not in ("model", "phases", "callbacks")
)
_ELSEWHERE = {
    "device": "JAX chooses the device; the variable JAX_PLATFORMS overrules it.",
    "num_workers": "Arrays need none; for data on disk pass et.AccessData(..., workers=...).",
    "scheduler": "Write lr_scheduler.",
    "epochs": "Pass the number of epochs to train().",
}


@dataclass(frozen=True)
class TrainerSettings:
    """TrainerSettings that all trainers here share.

    Attributes:
        callbacks: of `etude`, or those of `etude.systems.machinery`, which know `val_loss`.
        lr_scheduler: the rate: `LearningRateScheduler` by epochs or steps; a bare schedule or
            `SchedulerConfig` counts steps.
        gradient_accumulation_steps: parts of a batch that are computed one after the other.
        max_grad_norm: largest norm of the gradient; None or 0 for none.
        mixed_precision: True or "bfloat16", or "float16", whose loss is scaled by itself.
        checkpoint_dir: folder of the run, with checkpoints after each epoch; nothing is written if
            None.
        keep: what is handed back: "last", or a `Best`, whose metric may have the seed's name;
            None: the best `valid/loss` where there is a validation.
        batch_size: of windows and arrays; None: 64.
        metadata_keys: metadata to be used; None: those that the network and the terms of the
            physics need, or all in a batch where none are needed.
        options: of `etude.Trainer`: `seed`, `progress`, `run`, `nonfinite` and so on.
    """

    callbacks: Sequence[Any] | None = ()
    lr_scheduler: Scheduled | None = None
    gradient_accumulation_steps: int = 1
    max_grad_norm: float | None = 1.0
    mixed_precision: bool | et.Precision = False
    checkpoint_dir: str | Path | None = None
    keep: Literal["last"] | et.Best | None = None
    batch_size: int | None = None
    metadata_keys: Sequence[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, owner: str, given: Mapping[str, Any]) -> "TrainerSettings":
        """TrainerSettings and options by name.

        Raises ConfigurationError for unknown names, all in one message, and for two folders.
        """
        own = [one.name for one in fields(cls) if one.name != "options"]
        known = [*own, *OPTIONS]
        problems = [
            f"{owner}: there is no {name}. {_ELSEWHERE.get(name) or suggest(name, known)}"
            for name in given
            if name not in known
        ]
        if given.get("checkpoint_dir") is not None and given.get("run") is not None:
            problems.append(f"{owner}: checkpoint_dir and run are the same folder. Give one.")
        if not isinstance(precision := given.get("mixed_precision", False), bool) and (
            precision not in get_args(et.Precision)
        ):
            problems.append(
                f"{owner}: mixed_precision is True, False or one of {get_args(et.Precision)}; got "
                f"{precision!r}."
            )
        if problems:
            raise et.ConfigurationError("\n".join(problems))
        chosen = {name: given[name] for name in own if name in given}
        options = {name: given[name] for name in OPTIONS if name in given}
        return cls(**chosen, options=options)

    @property
    def precision(self) -> et.Precision:
        """The precision of the forward and backward pass."""
        if isinstance(self.mixed_precision, bool):
            return "bfloat16" if self.mixed_precision else "float32"
        return self.mixed_precision

    def knowing(self, *models: Any, needed: Sequence[str] = ()) -> "TrainerSettings":
        """The same, with the metadata that are needed, or that hybrid networks see.

        Where some were asked for, these are all.
        """
        if self.metadata_keys is not None:
            return self
        names = [*(keys_of(*models) or ()), *needed]
        return replace(self, metadata_keys=list(dict.fromkeys(names)) or None)

    def sized(self, batch_size: int | None) -> "TrainerSettings":
        """The same with another batch size."""
        return replace(self, batch_size=batch_size)

    def source(self, owner: str, loader: Any, *, capped: bool = False) -> et.Source:
        """The source of a loader; see `source_of`."""
        return source_of(owner, loader, self.batch_size, self.metadata_keys, capped=capped)

    def indexed(self, owner: str, dataset: Any, *, capped: bool = False) -> et.Source:
        """The source of windows, of arrays, or of a data set that gives a sample by its number."""
        if isinstance(dataset, Windows | tuple | Mapping):
            return self.source(owner, dataset, capped=capped)
        return et.AccessData(dataset, size_of(self.batch_size, len(dataset), capped=capped))

    def validation(
        self,
        owner: str,
        train_loader: Any,
        val_loader: Any,
        measure: Callable[..., Any] | None = None,
    ) -> list[et.Validation]:
        """The validation on `val_loader`, if there is one; by the loss of the learner, if by None.

        Raises ConfigurationError for windows that differ; see `check_alike`.
        """
        if val_loader is None:
            return []
        check_alike(owner, train_loader, val_loader)
        return [et.Validation(self.source(owner, val_loader, capped=True), measure)]

    def kept(self, validated: bool) -> Literal["last"] | et.Best:
        """What a phase hands on."""
        if self.keep is None:
            return et.Best("valid/loss") if validated else "last"
        if isinstance(self.keep, et.Best):
            return replace(self.keep, metric=metric_name(self.keep.metric))
        return self.keep

    def phase(
        self,
        owner: str,
        name: str,
        loss: Loss,
        data: et.Source,
        epochs: int,
        *,
        optimizer: OptimizerConfig | optax.GradientTransformation | None,
        validation: Sequence[et.Validation] = (),
        where: Callable[[Any], Any] | None = None,
        augment: Callable[[Any, Any], Any] | None = None,
        inputs: Callable[[Any], Any] | None = None,
    ) -> et.Phase:
        """A phase that descends a loss.

        `inputs` is what half precision is for, of a batch; None: its signals.
        """
        chain = optimizer_of(
            owner,
            optimizer,
            self.lr_scheduler,
            steps_per_epoch=data.steps_per_epoch,
            epochs=epochs,
        )
        learner = et.Learner(
            et.Gradient(loss),
            chain,
            where=where,
            accumulate=self.gradient_accumulation_steps,
            clip_norm=self.max_grad_norm or None,
            precision=self.precision,
            inputs=inputs or (lambda batch: read_batch(owner, batch).signals),
        )
        return et.Phase(
            name,
            learner,
            data,
            et.Epochs(epochs),
            validation=tuple(validation),
            augment=augment,
            keep=self.kept(bool(validation)),
        )

    def classifier(
        self,
        owner: str,
        criterion: Criterion,
        train_loader: Any,
        val_loader: Any,
        epochs: int,
        *,
        optimizer: OptimizerConfig | optax.GradientTransformation | None,
        augment: Callable[[Any, Any], Any] | None = None,
    ) -> et.Phase:
        """The phase "fit" of a classifier, validated by the same criterion."""
        return self.phase(
            owner,
            "fit",
            classification(owner, criterion, self.metadata_keys),
            self.source(owner, train_loader),
            epochs,
            optimizer=optimizer,
            validation=self.validation(owner, train_loader, val_loader),
            augment=augment,
        )

    def trainer(self, model: Any, phases: Sequence[et.Phase]) -> et.Trainer:
        """The trainer of the phases."""
        callbacks, options = CallbackList(self.callbacks or ()), dict(self.options)
        if self.checkpoint_dir is not None:
            options["run"] = self.checkpoint_dir
            if not any(isinstance(callback, et.ModelCheckpoint) for callback in callbacks):
                monitored = all(phase.validations for phase in phases)
                monitor = "valid/loss" if monitored else None
                callbacks.append(et.ModelCheckpoint(et.Epochs(1), monitor))
        return et.Trainer(model, list(phases), callbacks=list(callbacks), **options)
