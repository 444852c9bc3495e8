"""`--coordinator`, `--num-processes`, `--process-id`: one training by several processes.

Heavy modules load inside.
"""

import re
import signal
import sys
import threading

from pydantic import Field

from etude.config import Config
from etude.errors import ProcessLostError, UsageError
from etude.training.signals import NUMBERS

#: Seconds without a sign of life after which a process is held to be dead, and ends the others.
HEARTBEAT = 10

#: Seconds that the end of a process waits for the others, and its beginning for the first.
SHUTDOWN, START = 30, 300

#: Seconds of waiting after which it says so.
NOTICE = 10

#: That the cluster knows the processes, as SLURM does.
AUTO = "auto"


class ProcessOptions(Config, frozen=True):
    """What joins several processes into one training."""

    coordinator: str | None = Field(
        None,
        min_length=1,
        description=f"HOST:PORT of the first of several processes; {AUTO}: as the cluster says",
    )
    num_processes: int | None = Field(None, ge=1, description="how many processes there are")
    process_id: int | None = Field(None, ge=0, description="which of them this is, from 0")


def join(options: ProcessOptions) -> None:
    """Joins this process with the others, if it is told of any; before JAX is used.

    Raises `UsageError` for options that do not fit together, `ProcessLostError` if the others
    cannot be reached.
    """
    if problems := _problems(options):
        raise UsageError(problems)
    if options.coordinator is None:
        return
    import jax

    # Nothing is there to be saved: a signal ends the wait, and the process, at once.
    heeded = [one for one in NUMBERS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in heeded}
    waiting = threading.Timer(NOTICE, _say, [f"Waiting for all processes at {options.coordinator}"])
    waiting.daemon = True
    waiting.start()
    address = None if options.coordinator == AUTO else options.coordinator
    try:
        jax.distributed.initialize(
            address,
            options.num_processes,
            options.process_id,
            cluster_detection_method=None if address is None else "deactivate",
            initialization_timeout=START,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=SHUTDOWN,
        )
    except ValueError as error:
        raise UsageError(
            [
                f"--coordinator {AUTO}: jax.distributed finds no cluster here ({error}) Give "
                "--coordinator HOST:PORT, --num-processes and --process-id."
            ]
        ) from None
    except RuntimeError as error:  # of the service, or of JAX that was used before
        line = str(error).splitlines()[0][:200]
        raise ProcessLostError(
            f"The processes cannot be joined at {options.coordinator}: {line}. Expected "
            f"{options.num_processes or 'all'} processes, each with its own --process-id, and a "
            f"free port that all can reach on the host of process 0, within {START} s."
        ) from None
    finally:
        waiting.cancel()
        for number, handler in before.items():
            if number != signal.SIGTERM:  # which JAX takes, if it has begun
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _say(text: str) -> None:
    print(f"etude: {text} (for at most {START} s)", file=sys.stderr)


def speaks() -> bool:
    """Whether this process speaks for all of its training; JAX is asked only where it is used."""
    if "jax" not in sys.modules:
        return True
    from etude.engine.processes import processes

    return processes().is_first


def _problems(options: ProcessOptions) -> list[str]:
    coordinator, count, number = options.coordinator, options.num_processes, options.process_id
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("num_processes", "process_id")
        if getattr(options, name) is not None
    ]
    if coordinator is None:
        return [f"{one} needs --coordinator HOST:PORT." for one in given]
    if coordinator == AUTO:
        return [f"{one}: the cluster says it, with --coordinator {AUTO}." for one in given]
    problems = []
    if not re.fullmatch(r"(\[[0-9a-fA-F:.%]+\]|[^\s:/]+):\d{1,5}", coordinator):
        problems.append(f"--coordinator is HOST:PORT or {AUTO}; got {coordinator!r}.")
    if count is None or number is None:
        missing = "--num-processes" if count is None else "--process-id"
        problems.append(f"--coordinator {coordinator} needs {missing} as well.")
    elif number >= count:
        problems.append(
            f"--process-id counts from 0 to {count - 1}, for --num-processes {count}; got {number}."
        )
    return problems
