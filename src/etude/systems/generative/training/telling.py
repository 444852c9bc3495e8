"""What a trainer writes down, and how the callbacks of the seed hear of a training."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from jaxtyping import Array, Key, PyTree

import etude as et
from etude.callbacks import Event, Request, StepMetrics
from etude.engine.source import Resident
from etude.systems.generative.training.callbacks import (
    BaseCallback,
    Logger,
    MetricsLogger,
    overridden,
)
from etude.systems.generative.training.loading import HostedPart, batches_of


@final
class Records:
    """Where metrics go."""

    def __init__(
        self,
        metrics_logger: MetricsLogger | None,
        logger: Logger | None,
        log_callback: Any,
        workdir: str | Path | None,
    ):
        self._metrics_logger, self._logger, self._log_callback = (
            metrics_logger,
            logger,
            log_callback,
        )
        self._file = None if workdir is None else Path(workdir) / "metrics.jsonl"

    def write(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of a step, or of a validation at it."""
        prefix = "" if split == "train" else "val_"
        named = {prefix + name: value for name, value in metrics.items()}
        if self._metrics_logger is not None:
            self._metrics_logger.log_metrics(named, step)
        if self._log_callback is not None:
            self._log_callback(step, named)
        self.say(f"step {step}: " + ", ".join(f"{name} {v:.5g}" for name, v in named.items()))
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **named}) + "\n")

    def say(self, line: str) -> None:
        """A line for the logger."""
        if self._logger is not None:
            self._logger.info(line)


@runtime_checkable
class Told(Protocol):
    """Who hears of a training: the trainer."""

    @property
    def epoch(self) -> int: ...

    def _begun(self, event: Event) -> None: ...
    def _noted(self, step: int, metrics: dict[str, float]) -> None: ...
    def _validated(self, metrics: dict[str, float]) -> None: ...
    def _passed(self, event: Event, *, whole: bool) -> None: ...
    def save_checkpoint(self) -> None: ...


@final
class Telling(et.Callback):
    """Through which a trainer, and the seed's callbacks, hear of a training of the engine.

    Args:
        trainer: who hears.
        callbacks: the seed's.
        start: steps before this training.
        log_every: steps between records.
        save_every: steps between checkpoints; None: there are none.

    Attributes:
        means: of the metrics over the batches of the last epoch.
    """

    def __init__(
        self,
        trainer: Told,
        callbacks: Sequence[BaseCallback],
        start: int,
        log_every: int,
        save_every: int | None,
    ):
        self.means: dict[str, float] = {}
        self._trainer, self._callbacks, self._start = trainer, callbacks, start
        self._log_every, self._save_every = log_every, save_every
        self._sums, self._count = np.zeros(0), 0

    def next_step(self, event: Event) -> int | None:
        if self._save_every is None:
            return None
        done = self._start + event.global_step
        return event.step + self._save_every - done % self._save_every

    def on_train_begin(self, event: Event) -> Request:
        self._trainer._begun(event)
        for one in self._callbacks:
            one.on_train_begin(self._trainer)

    def on_train_end(self, event: Event) -> Request:
        for one in self._callbacks:
            one.on_train_end(self._trainer)

    def on_phase_begin(self, event: Event) -> Request:
        self._sums, self._count = np.zeros(0), 0
        self._trainer._begun(event)
        for one in self._callbacks:
            one.on_epoch_begin(self._trainer, self._trainer.epoch)

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        self._trainer._begun(event)
        rows, done = metrics.rows, self._start + event.global_step
        self._sums = rows.sum(0) if not self._count else self._sums + rows.sum(0)
        self._count += len(rows)
        self.means = dict(zip(metrics.names, (self._sums / self._count).tolist(), strict=True))
        for row, step in zip(rows, range(done - len(rows) + 1, done + 1), strict=True):
            if step % self._log_every == 0:
                self._trainer._noted(step, dict(zip(metrics.names, row.tolist(), strict=True)))
        if self._save_every is not None and done % self._save_every == 0:
            self._trainer.save_checkpoint()

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        self._trainer._begun(event)
        found = {name.removeprefix("valid/"): float(value) for name, value in metrics.items()}
        self._trainer._validated(found)
        for one in self._callbacks:
            one.on_validation_end(self._trainer, found)

    def on_phase_end(self, event: Event, reason: et.Reason) -> Request:
        self._trainer._begun(event)
        epoch = self._trainer.epoch
        self._trainer._passed(event, whole=True)
        for one in self._callbacks:
            one.on_epoch_end(self._trainer, epoch, self.means)

    def on_exception(self, event: Event, error: BaseException) -> Request:
        # After anything else the state is not to be trusted; the last whole epoch is.
        if isinstance(error, et.Interrupted):
            self._trainer._passed(event, whole=False)


@final
class EveryBatch(et.Callback):
    """Shows every batch to the seed's callbacks; it makes every chunk one step long.

    Args:
        trainer: what the callbacks get.
        callbacks: the seed's.
        phases: one for each epoch.
        order: from a phase to the key of its order.
    """

    def __init__(
        self,
        trainer: Told,
        callbacks: Sequence[BaseCallback],
        phases: Sequence[et.Phase],
        order: Callable[[et.Phase], Key[Array, ""]],
    ):
        self._trainer, self._callbacks, self._order = trainer, callbacks, order
        self._phases = {phase.name: phase for phase in phases}
        self._batches: Iterator[PyTree] = iter(())
        self._batch: PyTree = None
        for phase in phases:
            if isinstance(phase.source, HostedPart):
                phase.source.remembers = True

    def on_phase_begin(self, event: Event) -> Request:
        phase = self._phases[event.phase]
        if isinstance(phase.source, HostedPart):
            # Read ahead by the engine, taken in the same order.
            self._batches = iter(phase.source.seen.popleft, object())
        else:
            assert isinstance(phase.source, Resident)
            self._batches = batches_of(phase.source, self._order(phase))

    def on_batch_begin(self, event: Event) -> Request:
        self._trainer._begun(event)
        if any(overridden(one, "on_batch_begin") for one in self._callbacks):
            self._batch = self._next()
            for one in self._callbacks:
                one.on_batch_begin(self._trainer, self._batch)

    def on_batch_end(self, event: Event, metrics: Mapping[str, float]) -> Request:
        self._trainer._begun(event)
        batch = self._next() if self._batch is None else self._batch
        self._batch = None
        for one in self._callbacks:
            one.on_batch_end(self._trainer, batch, dict(metrics))

    def _next(self) -> PyTree:
        return next(self._batches)
