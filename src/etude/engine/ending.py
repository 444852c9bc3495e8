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

from etude.engine.processes import Client, Processes
from etude.errors import ConfigurationError, RunError, UsageError

#: Milliseconds that a process which fails gives the others to fail as well, before it ends them;
#: and seconds between looks at whether one has failed.
GRACE, WATCH = 5000, 0.5

#: Where it is told.
KEY = "etude/failed"


@contextmanager
def bound(together: Processes) -> Generator[None, None, None]:
    """Within, an exception in one process alone ends the others, with its words and exit code."""
    client = together.client
    if client is None:
        yield
        return
    training, ended = together.next_training(), threading.Event()
    watch = threading.Thread(target=_watch, args=(together.number, client, ended), daemon=True)
    watch.start()
    try:
        yield
    except BaseException as error:
        if not _all_fail(together, client, training):
            _end_others(together.number, client, error)
        raise
    finally:
        ended.set()


def _all_fail(together: Processes, client: Client, training: int) -> bool:
    """Whether the other processes come to the same end soon."""
    client.key_value_set(f"{KEY}/{training}/{together.number}", "")
    last = time.monotonic() + GRACE / 1000
    for number in range(together.count):
        left = max(1, int(1000 * (last - time.monotonic())))
        try:
            client.blocking_key_value_get(f"{KEY}/{training}/{number}", left)
        except RuntimeError:
            return False
    return True


def _end_others(number: int, client: Client, error: BaseException) -> None:
    code = 2 if isinstance(error, ConfigurationError | UsageError | RunError) else 1
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
            print(f"etude: process {failed} has failed, and ends all. {text}", file=sys.stderr)
            _leave(code)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
