"""SIGTERM and Ctrl-C ask for an orderly end; the loop looks here between chunks."""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by SIGTERM or Ctrl-C; the message says how to go on."""


class Signals:
    """While entered, notes SIGTERM and SIGINT instead of dying; a second SIGINT interrupts hard.

    Outside the main thread, where Python delivers no signals, it notes nothing.

    >>> with Signals() as signals:
    ...     signals.name is None
    True
    """

    def __init__(self) -> None:
        #: the signal received, "SIGTERM" or "SIGINT"
        self.name: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            # None: installed by something else than Python, which cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def poll(self) -> None:
        """Raises `Interrupted` if a signal was received."""
        if self.name is not None:
            raise Interrupted(self.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
