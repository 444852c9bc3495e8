"""Signals that ask for an orderly end; the loop looks here between chunks."""

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from etude.engine.processes import joined, processes


class Interrupted(KeyboardInterrupt):
    """Training was interrupted by a signal, such as Ctrl-C; the message says how to go on."""


#: Sent by a scheduler, by Ctrl-C, and by a terminal that is closed, which Windows does not tell.
NUMBERS = (
    signal.SIGTERM,
    signal.SIGINT,
    *((signal.SIGHUP,) if sys.platform != "win32" else ()),
)

#: Seconds within which a second SIGINT is the first once more: a terminal sends it to all processes
#: of a command, and what started this one may pass it on.
MOMENT = 0.5


class Signals:
    """While entered, notes `NUMBERS` instead of dying; a later SIGINT interrupts hard.

    One that is ignored stays ignored: shells start background jobs so, and `nohup` does. Outside
    the main thread, where Python delivers no signals, it notes nothing.

    Of several processes, all notice a signal to one at the same look: the service of
    `jax.distributed` takes the first SIGTERM and agrees when. Until then its handler is left in
    place, and the other signals are passed on to it.

    >>> with Signals() as signals:
    ...     signals.name is None
    True
    """

    def __init__(self) -> None:
        #: the signal received, such as "SIGTERM"; of several processes, by any of them
        self.name: str | None = None
        self._together = processes()
        self._noted: str | None = None
        self._when = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                taken = number == signal.SIGTERM and joined().takes_notice
                if not taken and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            # None: installed by something else than Python, which cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def noticed(self) -> bool:
        """Whether a signal was received; of several processes, all look equally often."""
        self.name = self.name or self._together.interrupted(self._noted)
        return self.name is not None

    def poll(self) -> None:
        """Raises `Interrupted` if a signal was received."""
        if self.noticed():
            assert self.name is not None
            raise Interrupted(self.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted is not None and number == signal.SIGINT:
            if time.monotonic() - self._when > MOMENT:
                raise KeyboardInterrupt
            return
        self._noted, self._when = signal.Signals(number).name, time.monotonic()
        if self._together.alone:
            self.name = self._noted
        elif self._together.takes_notice:
            os.kill(os.getpid(), signal.SIGTERM)
