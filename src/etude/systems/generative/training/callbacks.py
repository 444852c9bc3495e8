"""The seed's callbacks, which get the trainer, and how the engine calls them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import etude as et

Logs = dict[str, float]


@runtime_checkable
class MetricsLogger(Protocol):
    """What a trainer hands its metrics to, every `log_frequency` steps and at each validation."""

    def log_metrics(self, metrics: Logs, step: int) -> None:
        """Metrics of a step."""
        ...


@runtime_checkable
class Logger(Protocol):
    """What a trainer writes lines to, as `logging.Logger` is one."""

    def info(self, message: str) -> Any:
        """One line."""
        ...


class BaseCallback:
    """Hooks that get the trainer; override those you need.

    `on_batch_end` and `on_batch_begin` make every chunk of the compiled loop one step long, which
    is slow. Callbacks of the engine (`etude.Callback`) may be passed beside these.

    >>> class Print(BaseCallback):
    ...     def on_epoch_end(self, trainer, epoch, logs=None):
    ...         print(trainer.global_step, logs)
    """

    def on_train_begin(self, trainer: Any) -> None:
        """`fit` or `train` begins."""

    def on_train_end(self, trainer: Any) -> None:
        """It has ended."""

    def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
        """A pass over the data begins; passes count from 0."""

    def on_epoch_end(self, trainer: Any, epoch: int, logs: Logs | None = None) -> None:
        """A pass is complete; `logs` are its mean metrics."""

    def on_batch_begin(self, trainer: Any, batch: Any) -> None:
        """One step will be made."""

    def on_batch_end(self, trainer: Any, batch: Any, logs: Logs | None = None) -> None:
        """One step was made on this batch."""

    def on_validation_end(self, trainer: Any, logs: Logs | None = None) -> None:
        """A validation was made."""


def overridden(callback: BaseCallback, hook: str) -> bool:
    """Whether a callback has its own version of a hook."""
    return getattr(type(callback), hook) is not getattr(BaseCallback, hook)


@dataclass(frozen=True)
class WandbLoggerConfig:
    """Where Weights & Biases writes.

    Attributes:
        project: its project.
        name: of the run; None: one that W&B makes up.
        every: steps between records.
    """

    project: str = "etude"
    name: str | None = None
    every: int = 50


@dataclass(frozen=True)
class TensorBoardLoggerConfig:
    """Where TensorBoard's files go.

    Attributes:
        log_dir: their folder.
        every: steps between records.
    """

    log_dir: str | Path = "logs"
    every: int = 50


def WandbLoggerCallback(config: WandbLoggerConfig) -> et.WandbLogger:  # noqa: N802
    """An `etude.WandbLogger`."""
    return et.WandbLogger(config.project, config.name, every=config.every)


def TensorBoardLoggerCallback(config: TensorBoardLoggerConfig) -> et.TensorBoardLogger:  # noqa: N802
    """An `etude.TensorBoardLogger`."""
    return et.TensorBoardLogger(config.log_dir, every=config.every)


def ProgressBarCallback() -> et.Progress:  # noqa: N802
    """An `etude.Progress`, on standard error."""
    return et.Progress()
