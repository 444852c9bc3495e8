"""Jobs in a thread of their own, one after the other, of which at most one waits.

>>> done = []
>>> background = Background()
>>> background.start(Job(lambda: done.append("first"), lambda: None))
>>> background.join()
>>> done
['first']
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """Something to do, which raises nothing.

    Attributes:
        run: does it.
        withdraw: called instead, if a newer job takes its place.
    """

    run: Callable[[], None]
    withdraw: Callable[[], None]


class Background:
    """A thread that lives as long as there is something to do; one other thread gives it jobs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running = False
        self._waiting: Job | None = None

    def withdraw(self) -> None:
        """Forget the job that waits, if one does."""
        with self._lock:
            job, self._waiting = self._waiting, None
        if job is not None:
            job.withdraw()

    def start(self, job: Job) -> None:
        """Do a job as soon as the one before is done; one that waits is withdrawn."""
        self.withdraw()
        with self._lock:
            if self._running:
                self._waiting = job
                return
            self._running = True
        self._thread = threading.Thread(target=self._run, args=(job,), name="etude-checkpoint")
        self._thread.start()

    def join(self) -> None:
        """Return when everything is done, the job that waits too."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, job: Job | None) -> None:
        while job is not None:
            job.run()
            with self._lock:
                job, self._waiting = self._waiting, None
                self._running = job is not None
