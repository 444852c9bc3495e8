"""Signals that ask for an orderly end; the loop looks here between chunks."""

import signal
import sys
import threading
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, such as Ctrl-C; the message says how to go on."""


#: Sent by a scheduler, by Ctrl-C, and by a terminal that is closed, which Windows does not tell.
NUMBERS = (
    signal.SIGTERM,
    signal.SIGINT,
    *((signal.SIGHUP,) if sys.platform != "win32" else ()),
)


class Signals:
    """While entered, notes `NUMBERS` instead of dying; a second SIGINT interrupts hard.

    One that is ignored stays ignored: shells start background jobs so, and `nohup` does. Outside
    the main thread, where Python delivers no signals, it notes nothing.

    >>> with Signals() as signals:
    ...     signals.name is None
    True
    """

    def __init__(self) -> None:
        #: the signal received, such as "SIGTERM"
        self.name: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                if signal.getsignal(number) is not signal.SIG_IGN:
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
