"""Several workers of a search: processes, each replaced if it dies."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from etude import errors
from etude.errors import ConfigurationError, EtudeError
from etude.search.backend import quiet
from etude.search.ledger import DEATHS
from etude.search.plan import Plan
from etude.search.worker import Say, undisturbed, work
from etude.training.signals import NUMBERS, Signals

#: Seconds between two looks at what the workers have done.
LOOK = 0.5
#: Errors that a worker's are raised again as.
RAISED = (
    errors.ConfigurationError,
    errors.RunError,
    errors.RunLostError,
    errors.LockedError,
    errors.CheckpointError,
)


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    #: what it has said last: "ready", "done", "interrupted", or the name of an error
    last: str = ""
    text: str = ""
    #: whether it was asked to end
    asked: bool = False


@dataclass
class Workers:
    """The processes that work on a plan, `count` at a time, until there are `trials` trials."""

    plan: Plan
    trials: int | None
    count: int
    say: Say
    #: deaths since a trial was finished last
    deaths: int = 0
    _workers: list[_Worker] = field(default_factory=list[_Worker])

    def run(self, tell: Callable[[], bool]) -> None:
        """Waits for all of them; `tell` says what is new, and whether anything was.

        Raises `KeyboardInterrupt` after a signal, when they have saved their trials, and what one
        of them has raised.
        """
        with Signals() as signals:
            try:
                # The first looks whether a trial can work at all, before there are more.
                self._start(check=True)
                while self._workers:
                    connection.wait([one.process.sentinel for one in self._workers], LOOK)
                    self._listen()
                    if tell():
                        self.deaths = 0
                    self._mend(stopping=signals.name is not None)
                    while self._ready() and len(self._workers) < self.count and not signals.name:
                        self._start()
                    if signals.name is not None:
                        self._stop()
            except KeyboardInterrupt:  # a second Ctrl-C
                for one in self._workers:
                    one.process.kill()
                raise
            finally:
                self._stop()
                for one in self._workers:
                    one.process.join()
        if signals.name is not None:
            raise KeyboardInterrupt(signals.name)

    def _start(self, *, check: bool = False) -> None:
        context = get_context("spawn")  # JAX cannot be forked
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(self.plan, self.trials, self.count, check, theirs)
        )
        # A signal that comes while it imports waits until it can be handled.
        resource_tracker.ensure_running()  # else it would take them off the mask
        with undisturbed():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _ready(self) -> bool:
        """Whether more may be started: one works, and none has found that there is no more."""
        return bool(self._workers) and all(one.last == "ready" for one in self._workers)

    def _listen(self) -> None:
        for one in self._workers:
            with contextlib.suppress(EOFError, OSError):
                while one.pipe.poll():
                    one.last, one.text = one.pipe.recv()

    def _mend(self, *, stopping: bool) -> None:
        """Looks after those that have ended."""
        for one in [one for one in self._workers if not one.process.is_alive()]:
            self._listen()  # what it has said at last
            self._workers.remove(one)
            code = one.process.exitcode
            if one.last == "done":
                self.count = min(self.count, len(self._workers))  # no trial is left
            elif one.last == "interrupted":
                if not stopping:  # it alone was, by somebody
                    self._start()
            elif one.last not in ("", "ready"):
                raise _error(one.last, one.text)
            elif not stopping:
                self._replace(code)

    def _replace(self, code: int | None) -> None:
        self.deaths += 1
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        if self.deaths > DEATHS + self.count:
            raise ConfigurationError(
                f"The workers of the search die ({how}), {self.deaths} in a row. Is there too "
                "little memory? Give fewer workers, and the same command goes on."
            )
        self.say(f"A worker died ({how}); its trial goes on in another.")
        self._start()

    def _stop(self) -> None:
        """Asks each, once, to save its trial and end."""
        for one in self._workers:
            if not one.asked:
                one.process.terminate()
                one.asked = True


def _error(name: str, text: str) -> Exception:
    kinds = {kind.__name__: kind for kind in RAISED}
    if name in kinds:
        return kinds[name](text)
    return OSError(text) if name == "OSError" else RuntimeError(text)


def _work(plan: Plan, trials: int | None, count: int, check: bool, pipe: Connection) -> None:
    """What a worker's process does."""

    handled = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]

    def leave_alone() -> None:
        """It ends, and is not disturbed in that."""
        for number in handled:
            signal.signal(number, lambda number, frame: None)

    def interrupt(number: int, frame: Any) -> None:
        leave_alone()
        raise KeyboardInterrupt

    def go_on() -> None:
        parent = parent_process()
        if parent is not None and not parent.is_alive():  # killed: nobody would end us either
            raise KeyboardInterrupt

    for number in handled:
        signal.signal(number, interrupt)
    # Of a GPU each process would take three quarters.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / count:.2f}")
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
        if check:
            plan.target.check()
        pipe.send(("ready", ""))
        with quiet():
            work(plan, plan.ledger(), trials, go_on)
        leave_alone()
        said = ("done", "")
    except KeyboardInterrupt:
        leave_alone()  # the signal may have gone to the trainer, and another comes
        said = ("interrupted", "")
    except EtudeError as error:
        kind = next((kind for kind in RAISED if isinstance(error, kind)), ConfigurationError)
        said = (kind.__name__, str(error))
    except OSError as error:
        said = ("OSError", str(error))
    except Exception as error:
        said = (type(error).__name__, f"{type(error).__name__}: {error}")
    with contextlib.suppress(OSError):  # the parent is gone
        pipe.send(said)
    sys.exit(0)
