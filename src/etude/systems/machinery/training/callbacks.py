"""Callbacks by the names and the metrics of those who come from the seed.

>>> EarlyStopping("val_acc", patience=3, mode="max").monitor
'valid/accuracy'
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, final, overload

import etude as et

_METRICS = {
    "val_loss": "valid/loss",
    "val_acc": "valid/accuracy",
    "val_accuracy": "valid/accuracy",
}


def metric_name(metric: str) -> str:
    """A metric of a validation by our name: `val_loss` is `valid/loss`, `val_acc` its accuracy.

    Any other name that begins with `val_` is that metric of the validation; ours stay as they are.

    >>> metric_name("val_loss"), metric_name("val_freq"), metric_name("valid/loss")
    ('valid/loss', 'valid/freq', 'valid/loss')
    """
    if metric in _METRICS:
        return _METRICS[metric]
    return f"valid/{metric.removeprefix('val_')}" if metric.startswith("val_") else metric


def EarlyStopping(  # noqa: N802
    monitor: str = "val_loss",
    patience: int = 10,
    mode: Literal["min", "max"] | None = None,
    min_delta: float = 0.0,
) -> et.EarlyStopping:
    """An `etude.EarlyStopping`, which may be told a metric by the seed's name; see `metric_name`.

    Args:
        monitor: the metric.
        patience: validations without improvement before the training ends.
        mode: whether small or large values are better; None is enough for a loss.
        min_delta: amount by which the metric must beat its best.
    """
    return et.EarlyStopping(metric_name(monitor), patience, mode, min_delta)


def ModelCheckpoint(  # noqa: N802
    monitor: str = "val_loss",
    mode: Literal["min", "max"] | None = None,
    save_top_k: int = 3,
    every: et.Steps | et.Epochs | et.Seconds | None = None,
) -> et.ModelCheckpoint:
    """An `etude.ModelCheckpoint`, which may be told a metric by the seed's name.

    Checkpoints hold the whole state, and lie in the folder of the run.

    Args:
        monitor: the metric whose best are kept beside the last.
        mode: whether small or large values are better; None is enough for a loss.
        save_top_k: how many of the best to keep.
        every: how often to save; None: after each epoch.

    >>> ModelCheckpoint("val_loss", save_top_k=2).monitor
    'valid/loss'
    """
    interval = et.Epochs(1) if every is None else every
    return et.ModelCheckpoint(interval, metric_name(monitor), mode, save_top_k)


@final
class CallbackList(Sequence[et.Callback]):
    """Callbacks one after the other, those of lists within in their place.

    >>> stopping, timing = EarlyStopping(), et.Timing()
    >>> len(CallbackList([stopping, CallbackList([timing])]))
    2

    Raises:
        ConfigurationError: what is no callback, such as a learning-rate schedule.
    """

    def __init__(self, callbacks: Iterable[Any] = ()):
        self._callbacks: list[et.Callback] = []
        for callback in callbacks:
            self.append(callback)

    def append(self, callback: Any) -> None:
        """Adds a callback, or those of a list, at the end."""
        if isinstance(callback, Sequence):
            for one in callback:
                self.append(one)
        elif isinstance(callback, et.Callback):
            self._callbacks.append(callback)
        else:
            raise et.ConfigurationError(
                f"CallbackList: got {type(callback).__name__}, which is no etude.Callback. "
                "A LearningRateScheduler goes into lr_scheduler of the trainer."
            )

    @overload
    def __getitem__(self, index: int) -> et.Callback: ...
    @overload
    def __getitem__(self, index: slice) -> list[et.Callback]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._callbacks[index]

    def __iter__(self) -> Iterator[et.Callback]:
        return iter(self._callbacks)

    def __len__(self) -> int:
        return len(self._callbacks)
