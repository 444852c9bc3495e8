"""What a logger is: scalars written somewhere, in a thread, whose failure harms nothing."""

import importlib.util
import sys
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import UInt8

from etude.callbacks.base import Callback, Event, Reason, Request, StepMetrics
from etude.callbacks.watching import Reported
from etude.callbacks.writer import Picture, Scalars, Writer
from etude.engine.numbers import is_count
from etude.errors import ConfigurationError
from etude.kinds import is_dict
from etude.yaml_reader import read_yaml

#: In the configuration of what cannot take back: the step from which a run of a store goes on.
FROM = "etude/from_step"


class Logger(Callback, ABC):
    """Writes metrics somewhere else than the history; a final class says where.

    `open`, `write` and `close` run in a thread of their own, in this order. A logger that fails
    there, or that is slower than the training, warns once; the training neither stops nor waits.
    The x axis is the global step, for training and validation alike; the names are those of the
    history, `train/loss` and `valid/accuracy`, and beside them the phase.

    Args:
        every: steps of a phase between records; the first step of each group is written. Every
            validation is.

    Raises `ConfigurationError` if `every` is not positive.

    >>> class Print(Logger):
    ...     def open(self, event): pass
    ...     def write(self, scalars): print(scalars.phase, scalars.names, scalars.steps)
    ...     def close(self, failed): pass
    >>> Print(every=10).every
    10
    """

    #: the package it needs, and the extra of Étude that installs it
    package: ClassVar[str | None] = None
    extra: ClassVar[str | None] = None

    def __init__(self, every: int = 50):
        if not is_count(every):
            name = type(self).__name__
            raise ConfigurationError(f"{name}: every is a whole number from 1; got {every!r}.")
        self.every = int(every)
        #: of a training: one and the same before and after a resume; empty before it begins
        self.identity = ""
        #: of what is written without a break: another one after a resume or a roll-back
        self.sitting = ""
        #: roll-backs so far, whose abandoned steps a store may be unable to take back
        self.branch = 0
        #: numbers handed over up to the last resume or roll-back; zero in a training that is new
        self.written = 0
        self._offered = 0
        self._writer: Writer | None = None
        self._warned = False

    @abstractmethod
    def open(self, event: Event) -> None:
        """Training begins, or goes on after `written` numbers."""

    @abstractmethod
    def write(self, scalars: Scalars) -> None:
        """Writes a block so that it would outlive the process."""

    def show(self, picture: Picture) -> None:
        """Writes a picture, as `write` does; a store without pictures leaves them out."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """Training has ended; by an exception if `failed`, or this logger has failed, perhaps in
        `open`."""

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        name = self.package
        if name is None or name in sys.modules or importlib.util.find_spec(name) is not None:
            return []
        return [
            f"{type(self).__name__} needs the package {name}, which is not installed. "
            f"Install it with: pip install 'etude[{self.extra}]'"
        ]

    def on_train_begin(self, event: Event) -> Request:
        self._warned = False
        return None

    def on_phase_begin(self, event: Event) -> Request:
        # Not at the beginning of the training, because a roll-back closes it.
        if self._writer is None:
            first = not self.identity
            self.identity = self.identity or _unique(8)
            self.sitting = self.identity if first else f"{self.identity}-{_unique(4)}"
            self._writer = Writer(lambda: self.open(event), self.write, self.close, self.show)
        return None

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        rows = metrics.rows[(1 - metrics.first) % self.every :: self.every]
        if rows.size:
            # A copy: a view would keep the whole chunk in memory.
            steps = np.arange(metrics.first, metrics.first + len(metrics.rows))
            steps = steps[(1 - metrics.first) % self.every :: self.every]
            origin = event.global_step - event.step
            names = tuple(f"train/{name}" for name in metrics.names)
            self._offer(Scalars(event.phase, event.visit, names, steps + origin, rows.copy()))
        return None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        scalars = {name: float(v) for name, v in metrics.items() if np.ndim(v) == 0}
        if scalars:
            row = np.array([list(scalars.values())])
            step = np.array([event.global_step])
            self._offer(Scalars(event.phase, event.visit, tuple(scalars), step, row))
        return None

    def on_picture(self, event: Event, name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> Request:
        if self._writer is not None:
            self._writer.show(Picture(f"{event.phase}/{name}", event.global_step, pixels))
        return None

    def on_checkpoint(self, event: Event, name: str) -> Request:
        # A resume goes on after the numbers that the checkpoint counts: they should be written.
        if self._writer is not None:
            self._writer.flush()
        return None

    def on_phase_end(self, event: Event, reason: Reason) -> Request:
        if self._writer is not None:
            self._writer.flush()
        return None

    def on_train_end(self, event: Event) -> Request:
        self._end(failed=False)
        return None

    def on_exception(self, event: Event, error: BaseException) -> Request:
        self._end(failed=True)
        return None

    def state(self) -> dict[str, Any]:
        return {"identity": self.identity, "written": self._offered, "branch": self.branch}

    def restore(self, state: dict[str, Any]) -> None:
        rolled_back = self._writer is not None
        self._end(failed=False)  # it is opened again at the step gone back to
        self.identity, self.written = state["identity"], state["written"]
        self.branch = self.branch + 1 if rolled_back else state["branch"]
        self._offered = self.written

    def with_members(self) -> Literal["all"]:
        return "all"

    def _offer(self, block: Scalars) -> None:
        writer = self._writer
        if writer is None:
            return
        if writer.offer(block):  # else a resume would look for numbers that were never written
            self._offered += block.values.size
        self._report(writer)

    def _end(self, *, failed: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if not writer.close(failed=failed):
            self._warn("is not done yet, and is left behind; what it has not written is lost")
        self._report(writer)

    def _report(self, writer: Writer) -> None:
        if writer.failure is not None:
            kind = type(writer.failure).__name__
            self._warn(f"failed and writes no more ({kind}: {writer.failure})")
        elif writer.dropped:
            self._warn(
                f"is slower than the training, and left out {writer.dropped} steps so far; "
                f"pass a larger every than {self.every}"
            )

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            text = f"{type(self).__name__} {what}. Training and its history go on unharmed."
            warnings.warn(text, stacklevel=2)


def _unique(length: int) -> str:
    return uuid.uuid4().hex[:length]


def absolute(path: str | Path | None) -> Path | None:
    """A path from where the training is made: a callback may change the working directory."""
    return None if path is None else Path(path).absolute()


def place(folder: Path | None, event: Event, name: str) -> Path:
    """Where a logger writes: what it was told, or `name` in the run folder or, without, here."""
    return folder or (event.folder or Path()) / name


def run_config(event: Event) -> dict[str, Any]:
    """The configuration of the run, flat: `{"optimizer.name": "adam"}`; empty without a run."""
    if event.folder is None:
        return {}
    text = (event.folder / "config.yaml").read_text(encoding="utf-8")
    return dict(_flat(read_yaml(text) or {}, ""))


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    if not is_dict(value):
        return [(name, value)]
    prefix = f"{name}." if name else ""
    return [pair for key, inner in value.items() for pair in _flat(inner, f"{prefix}{key}")]
