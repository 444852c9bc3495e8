"""A process that fails where the others of its training do not ends them as well.

They would wait for it in a computation that no signal interrupts, and JAX, at the end of a process,
for them. It is told through the coordination service, which each looks at while it trains.

>>> from etude.engine.processes import processes
>>> with bound(processes()):  # this process is alone
...     pass
"""

import atexit
import json
import os
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

from etude.engine.processes import PATIENCE, Client, Processes
from etude.errors import ConfigurationError, ResumeError, RunError, UsageError

#: Seconds between looks at whether a process has failed.
WATCH = 0.5

#: Milliseconds that a process which fails gives the others to fail as well, before it ends them:
#: the first, which others wait for, because callbacks and files keep it busy, has longer.
GRACE, GRACE_OF_FIRST = 5000, 30_000

#: What ends a process with exit code 2; anything else ends it with 1.
BAD_USE = ConfigurationError | ResumeError | RunError | UsageError

#: Where it is told.
KEY = "etude/failed"


@contextmanager
def bound(together: Processes) -> Generator[None, None, None]:
    """Within, an exception in one process alone ends the others, with its words and exit code.

    One that comes in all of them leaves in all, once the first process is done with what it saves:
    those that end earlier would wait for it for a limited time, and then end it.
    """
    client = together.client
    if client is None:
        yield
        return
    with together.training() as training:
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(together.number, client, ended), daemon=True)
        watch.start()
        try:
            yield
        except BaseException as error:
            fails(together)
            if _all_fail(together, client, training, error):
                _wait_for_first(together, client, training)
            else:
                _end_others(together.number, client, error)
            raise
        finally:
            ended.set()
            watch.join(2 * WATCH)  # not longer: the service that it asks may be gone


def fails(together: Processes) -> None:
    """Tells the others that this process fails, before it saves what can be saved, which may take
    long."""
    if together.client is not None and together.trainings:
        with suppress(RuntimeError):  # told already, or there is no service any more
            together.client.key_value_set(_failing(together.trainings[-1], together.number), "")


def _failing(training: int, number: int) -> str:
    return f"{KEY}/{training}/{number}"


def _all_fail(together: Processes, client: Client, training: int, error: BaseException) -> bool:
    """Whether the other processes come to the same end soon; an interruption is agreed upon."""
    agreed = together.interrupting and isinstance(error, KeyboardInterrupt)
    began = time.monotonic()
    for number in range(together.count):
        grace = PATIENCE if agreed else GRACE if number else GRACE_OF_FIRST
        left = max(1, grace - int(1000 * (time.monotonic() - began)))
        try:
            client.blocking_key_value_get(_failing(training, number), left)
        except RuntimeError:
            return False
    return True


def _wait_for_first(together: Processes, client: Client, training: int) -> None:
    key = f"{KEY}/{training}/over"
    with suppress(RuntimeError):  # it has died
        if together.is_first:
            client.key_value_set(key, "")
        else:
            client.blocking_key_value_get(key, PATIENCE)


def _end_others(number: int, client: Client, error: BaseException) -> None:
    code = 2 if isinstance(error, BAD_USE) else 1
    text = f"{type(error).__name__}: {error}"
    with suppress(RuntimeError):  # where the service is gone, they end without being told
        client.key_value_set(KEY, json.dumps([number, code, text]))
        time.sleep(2 * WATCH)  # the service, which they read it from, may end with this process
    # JAX would wait for the others before it lets this process end.
    atexit.register(_leave, code)


def _watch(number: int, client: Client, ended: threading.Event) -> None:
    """Ends this process where another says that it has failed alone."""
    while not ended.wait(WATCH):
        try:
            failed, code, text = json.loads(client.key_value_try_get(KEY))
        except RuntimeError:  # nobody has
            continue
        if failed != number:
            _leave(code, f"etude: process {failed} has failed, and ends all. {text}")


def _leave(code: int, said: str = "") -> None:
    """Ends this process at once, also where nobody reads what it says."""
    try:
        sys.stdout.flush()
        print(said, end="\n" if said else "", file=sys.stderr, flush=True)
    finally:
        os._exit(code)
