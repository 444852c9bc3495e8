"""Progress: a live line on a terminal, plain lines elsewhere."""

import math
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal

from etude.callbacks.base import Callback, Event, Reason, Request, StepMetrics
from etude.callbacks.members import base
from etude.callbacks.unfailing import Unfailing

#: Seconds between updates: on a terminal, and in a file or pipe.
LIVE, PLAIN = 0.2, 10.0


class Progress(Callback):
    """Shows phase, epoch, steps per second, latest metrics and remaining time.

    It never ends a training: where it cannot write, it goes silent.

    Args:
        stream: a text file to write to; standard error, if None.

    >>> import io
    >>> Progress(stream=io.StringIO()).live
    False
    """

    def __init__(self, stream: Any = None):
        self.stream = Unfailing(sys.stderr if stream is None else stream)
        self.live = self.stream.isatty()
        self._bar: Any = None
        self._task: Any = None
        self._validation: dict[str, float] = {}
        self._began = self._shown = time.monotonic()
        self._from = 0

    def on_phase_begin(self, event: Event) -> Request:
        self._began = self._shown = time.monotonic()
        self._from, self._validation = event.step, {}
        begins = "begins" if event.step == 0 else f"goes on at step {event.step}"
        self._say(event, f"{begins}, {event.teams}" if event.members else begins)
        if self.live:
            self._open(event)
        return None

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        now = time.monotonic()
        if now - self._shown < (LIVE if self.live else PLAIN):
            return None
        self._shown = now
        rate = (event.step - self._from) / max(now - self._began, 1e-9)
        numbers = _numbers({**metrics.last(), **self._validation}, event)
        if self._bar is not None:
            text = f"{_epoch(event)}{rate:,.0f} steps/s  {numbers}"
            self._bar.update(self._task, completed=event.step, text=text)
        else:
            place, left = _position(event), _left(event, rate)
            self._say(event, f"{place}  {rate:,.0f} steps/s{left}  {numbers}")
        return None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        self._validation = {k: v for k, v in metrics.items() if isinstance(v, float)}
        return None

    def on_phase_end(self, event: Event, reason: Reason) -> Request:
        self._close()
        seconds = time.monotonic() - self._began
        numbers = _numbers(self._validation, event)
        self._say(event, f"ends at step {event.step} after {seconds:.1f} s. {reason.value}")
        if numbers:
            self._say(event, numbers)
        return None

    def on_member_end(self, event: Event, member: int, reason: Reason, detail: str) -> Request:
        if reason is not Reason.LENGTH:
            told = f" {detail}" if detail else ""
            self._say(event, f"member {member} ends at step {event.step}. {reason.value}{told}")
        return None

    def on_exception(self, event: Event, error: BaseException) -> Request:
        self._close()
        return None

    def with_members(self) -> Literal["all"]:
        return "all"

    def _open(self, event: Event) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

        self._close()
        stream: Any = self.stream  # as much of a text file as rich needs
        # No markup: a metric may be called "accuracy[dog]".
        self._bar = Bar(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(file=stream),
            refresh_per_second=4,
            transient=True,
        )
        total = event.total_steps
        self._task = self._bar.add_task(event.phase, total=total, completed=event.step, text="")
        self._bar.start()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, event: Event, text: str) -> None:
        again = f" ({event.visit + 1})" if event.visit else ""
        self.stream.line(f"{event.phase}{again}: {text}")


def _numbers(metrics: Mapping[str, float], event: Event) -> str:
    if event.members:
        return _spread(metrics)
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _spread(metrics: Mapping[str, float]) -> str:
    """Each metric over the members: the median, the lowest and the highest, without NaN."""
    found: dict[str, list[float]] = {}
    for name, value in metrics.items():
        if not math.isnan(value):
            found.setdefault(base(name), []).append(value)
    return "  ".join(
        f"{name} {statistics.median(one):.4g} ({min(one):.4g} to {max(one):.4g})"
        for name, one in found.items()
    )


def _epoch(event: Event) -> str:
    if not event.steps_per_epoch or event.total_steps is None:
        return ""
    epochs = -(-event.total_steps // event.steps_per_epoch)
    return f"epoch {min(event.epoch + 1, epochs)}/{epochs}  "


def _position(event: Event) -> str:
    total = "" if event.total_steps is None else f"/{event.total_steps}"
    return f"{_epoch(event)}step {event.step}{total}"


def _left(event: Event, rate: float) -> str:
    if event.total_steps is None:
        return ""
    seconds = (event.total_steps - event.step) / max(rate, 1e-9)
    return f"  {seconds:,.0f} s left"
